"""What diagnostics report: results.json, spectrum.csv, and the table on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from solo_ldm.commands.diagnostics.measures import Measured
from solo_ldm.commands.diagnostics.subject import Subject
from solo_ldm.files import write_csv
from solo_ldm.run.record import print_summary

# Fewer samples a dimension bend the spectrum.
_SAMPLES_A_DIMENSION = 10

Found = Mapping[str, Mapping[str, Measured]]


def name_of(subject: Subject) -> str:
    """Name the weights, for a title."""
    source = subject.work.pretrained.source
    return source if ":" in source else Path(source).resolve().name


def num_images(found: Found) -> int:
    """Return the number of held-out images that were measured on."""
    return next(iter(found["features"].values())).values["num_samples"]


def notices_of(found: Found) -> list[str]:
    """Return a line for what these features have not, and for what too few images blur."""
    lines = []
    for space, networks in found.items():
        for network, measured in networks.items():
            lines += [f"{space}, {network}: {line}" for line in measured.lines]
        about = next(iter(networks.values())).values
        count, dims = about["num_samples"], about["num_dims"]
        if count < _SAMPLES_A_DIMENSION * dims:
            lines.append(
                f"{space}: {count} images in {dims} dimensions: the spectrum falls too steeply at "
                "high ranks; compare exponents, cut-offs and ranks of as many images alone"
            )
    return lines


def content_of(subject: Subject, found: Found, notices: list[str]) -> dict[str, Any]:
    """Return the content of results.json but for its time."""
    work = subject.work
    return {
        **work.origin(),
        "method": work.pretrained.method,
        **work.record,
        "measures": {
            space: {network: measured.values for network, measured in networks.items()}
            for space, networks in found.items()
        },
        "notices": notices,
        "num_train_images": work.data.num_train_images,
        "seed": work.cfg.seed,
    }


def write_spectra(path: Path, found: Found) -> None:
    """Write eigenvalues of the covariance and the Jacobian's mean singular values by rank."""
    columns: dict[str, np.ndarray] = {}
    for space, networks in found.items():
        for network, measured in networks.items():
            columns[f"{space}_{network}"] = measured.spectrum
            columns[f"jacobian_{space}_{network}"] = measured.singular_values
    columns = {name: values for name, values in columns.items() if len(values)}
    rows = zip_longest(*(values.tolist() for values in columns.values()), fillvalue="")
    write_csv(path, ["rank", *columns], ([rank, *row] for rank, row in enumerate(rows, start=1)))


def print_report(subject: Subject, found: Found, notices: list[str], console: Console) -> None:
    """Print the measures, a column a network and space, the files, and what to do next."""
    for line in notices:
        console.print(line, style="yellow", soft_wrap=True)
    columns = {
        f"{space}\n{network}": measured.values
        for space, networks in found.items()
        for network, measured in networks.items()
    }
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    outside = next(iter(columns.values()))["outside"]
    for label, cell in _cells(list(outside)):
        cells = [_shown(cell, values) for values in columns.values()]
        if any(cells):
            table.add_row(label, *cells)
    console.print(table)
    work = subject.work
    rows = [
        ("images", f"{num_images(found)} {work.data.scored_on}"),
        ("files", "results.json, spectrum.csv, diagnostics.png"),
    ]
    title = f"diagnostics of {name_of(subject)}"
    print_summary(
        console, title, rows, work.folder.path, [f"solo-ldm linear {work.pretrained.source}"]
    )


def _shown(cell: Callable[[Any], str], values: Mapping[str, Any]) -> str:
    """Return the text of a cell, nothing where the measure is absent."""
    try:
        return cell(values)
    except (KeyError, TypeError):  # it is left out, or None
        return ""


def _cells(outside: list[str]) -> Iterator[tuple[str, Callable[[Any], str]]]:
    """Yield the rows of the table: a label, and the text of the measures of a column."""
    yield "dimensions", lambda m: str(m["num_dims"])
    yield "power law: exponent", lambda m: "{exponent:.2f}".format(**m["spectrum"])
    yield "  R², cut-off", lambda m: "{r_squared:.3f}, {cutoff}".format(**m["spectrum"])
    yield "effective rank", lambda m: "{effective_rank:.1f}".format(**m["spectrum"])
    yield "RankMe", lambda m: f"{m['rankme']:.1f}"
    yield "LiDAR", lambda m: f"{m['lidar']:.1f}"
    for key, label in (("numerical", "rank"), ("participation", "participation")):
        yield (
            f"Jacobian: {label}",
            lambda m, key=key: "{mean:.1f} ± {std:.1f}".format(**m["jacobian"][key]),
        )
    for key, label in (
        ("norm_variation", "variation of norm"),
        ("normal_coordinates", "normal coordinates"),
        ("sliced", "sliced test"),
    ):
        yield label, lambda m, key=key: f"{m['gaussianity'][key]:.3f}"
        yield "  of a Gaussian", lambda m, key=key: f"{m['gaussianity_null'][key]:.3f}"
    yield "alignment", lambda m: f"{m['alignment']:.3f}"
    yield "uniformity", lambda m: f"{m['uniformity']:.3f}"
    yield "class separation", lambda m: f"{m['class_separation']:.3f}"
    for key, label in (("top1", "top-1"), ("ece", "ECE")):
        yield f"linear-features {label}", lambda m, key=key: f"{m['linear_features'][key]:.4f}"
    for name in outside:
        yield f"AUROC, {name}", lambda m, name=name: f"{m['outside'][name]['neighbour']:.3f}"
        yield (
            "  by Mahalanobis",
            lambda m, name=name: f"{m['outside'][name]['mahalanobis']:.3f}",
        )
    yield "trustworthiness", lambda m: f"{m['embedding']['trustworthiness']:.3f}"
