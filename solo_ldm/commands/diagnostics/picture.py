"""A picture of what is in the features: spectra, Jacobian, a coordinate, a map, and shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import norm

from solo_ldm.commands.diagnostics.measures import Measured
from solo_ldm.plotting.embedding import MAX_NAMED_CLASSES, draw_classes
from solo_ldm.plotting.page import REPORT, Panel, write_page
from solo_ldm.plotting.scores import Bar, draw_scores
from solo_ldm.plotting.style import BLUE, INK, MUTED, ORANGE, heading, write_instead

# By space and network.
Found = Mapping[str, Mapping[str, Measured]]

_COLOURS = {"features": BLUE, "latents": ORANGE}
# Eigenvalues below this share of the largest are rounding, and would fill most of the panel.
_LOWEST = 1e-10


def write_diagnostics(
    path: str | Path, title: str, note: str, found: Found, classes: Sequence[str]
) -> Path:
    """Draw the picture and write it; see `write_page`.

    Args:
        path: of the PNG.
        title: what was diagnosed, in a line.
        note: on which images, in a line.
        found: by "features" and "latents", and in them by "trained" and "untrained".
        classes: names of the classes.
    """
    rows = [
        [
            Panel("spectra", lambda axes: _draw_spectra(axes[0], found)),
            Panel("jacobian", lambda axes: _draw_jacobian(axes[0], found)),
            Panel("coordinate", lambda axes: _draw_coordinate(axes[0], found)),
        ],
        [
            Panel("map", lambda axes: _draw_map(axes[0], found, classes), 1.6, right=1.0),
            Panel("shares", lambda axes: _draw_shares(axes[0], found)),
        ],
    ]
    return write_page(path, rows, title=title, note=note, **REPORT)


def _lines(found: Found) -> Iterator[tuple[str, dict[str, Any], Measured]]:
    """Yield the name of each space of each network, its look, and its measures."""
    for space, networks in found.items():
        for network, measured in networks.items():
            untrained = network == "untrained"
            colour = MUTED if untrained and space == "features" else _COLOURS[space]
            look = {"color": colour, "linestyle": "--" if untrained else "-", "linewidth": 2}
            yield f"{space}, {network}", look, measured


def _draw_spectra(axes: Axes, found: Found) -> None:
    cutoffs = False
    for name, look, measured in _lines(found):
        values = measured.spectrum / max(measured.spectrum[:1].sum(), 1e-300)
        values = values[values > _LOWEST]
        law = measured.values.get("spectrum") or {}
        known = law.get("exponent") is not None
        exponent = f": α {law['exponent']:.2f} to {law['cutoff']}" if known else ""
        axes.loglog(np.arange(1, len(values) + 1), values, label=f"{name}{exponent}", **look)
        if known:
            ranks = np.array([law["first"], law["last"]], dtype=float)
            fit = law["scale"] * ranks ** -law["exponent"] / measured.spectrum[0]
            axes.loglog(ranks, fit, color=INK, linewidth=1, linestyle=":", zorder=4)
            axes.loglog(ranks[1], fit[1], "o", color=look["color"], markersize=5, zorder=5)
            cutoffs = True
    if not axes.lines:
        write_instead(axes, "No spectrum was measured.")
    else:
        axes.set(xlabel="rank", ylabel="eigenvalue, of the largest")
        axes.legend(loc="lower left", fontsize=9, handlelength=2.4)
    note = "dotted: power law k^(−α) to the cut-off" if cutoffs else "too few ranks for a power law"
    heading(axes, "Spectrum of the covariance", note)


def _draw_jacobian(axes: Axes, found: Found) -> None:
    number = 0
    for name, look, measured in _lines(found):
        values, about = measured.singular_values, measured.values.get("jacobian")
        if not about or not values[:1].sum() > 0:
            continue
        number = about["num_images"]
        values = values / values[0]
        values = values[values > np.sqrt(_LOWEST)]
        rank, share = (about[key]["mean"] for key in ("numerical", "participation"))
        label = f"{name}: rank {rank:.0f}, participation {share:.1f}"
        axes.loglog(np.arange(1, len(values) + 1), values, label=label, **look)
    if not axes.lines:
        write_instead(axes, "No Jacobian was taken.")
    else:
        axes.set(xlabel="rank", ylabel="singular value, of the largest")
        axes.legend(loc="lower left", fontsize=9, handlelength=2.4)
    heading(
        axes,
        "Jacobian with regard to the pixels",
        f"mean over {number} images" if number > 1 else "of one image",
    )


def _draw_coordinate(axes: Axes, found: Found) -> None:
    bins = np.linspace(-4.0, 4.0, 25).tolist()
    for name, look, measured in _lines(found):
        about = measured.values.get("gaussianity")
        if about is None or name == "latents, untrained":  # one line too many
            continue
        label = f"{name}: A² {about['anderson_darling']:.2g}"
        values = np.clip(measured.coordinate, -4.0, 4.0)
        axes.hist(values, bins=bins, density=True, histtype="step", label=label, **look)
    if not axes.patches:
        write_instead(axes, "All samples are equal.")
    else:
        grid = np.linspace(-4.0, 4.0, 200)
        axes.plot(grid, norm.pdf(grid), color=INK, linewidth=1, linestyle=":", label="N(0, 1)")
        axes.set(xlabel="standard deviations from the mean", ylabel="density", xlim=(-4, 4))
        axes.set_ylim(top=1.45 * axes.get_ylim()[1])
        axes.legend(loc="upper right", fontsize=9)
    heading(axes, "A coordinate", "that of median normality (A²); a Gaussian has about 0.34")


def _draw_map(axes: Axes, found: Found, classes: Sequence[str]) -> None:
    network = "trained" if "trained" in found["features"] else "untrained"
    measured = found["features"][network]
    if measured.plane is None:
        write_instead(axes, "There is no map of these features.")
        heading(axes, "Features")
        return
    points, labels, method = measured.plane
    value = measured.values["embedding"]["trustworthiness"]
    count = max(len(classes), int(labels.max()) + 1)
    note = f"{method} of {len(points)} held-out images, trustworthiness {value:.3f}"
    note += f"; {count} classes" if count > MAX_NAMED_CLASSES else ""
    heading(axes, f"Features of the {network} network", note)
    draw_classes(axes, points, labels, count, classes)


def _draw_shares(axes: Axes, found: Found) -> None:
    bars = []
    for network, measured in found["features"].items():
        values = measured.values
        shares = {
            "class separation": values["class_separation"],
            "linear-features, top-1": (values["linear_features"] or {}).get("top1"),
            "coordinates that pass as normal": (values["gaussianity"] or {}).get(
                "normal_coordinates"
            ),
            **{f"AUROC, {name}": areas["neighbour"] for name, areas in values["outside"].items()},
        }
        bars += [Bar(group, network, value) for group, value in shares.items() if value is not None]
    draw_scores(axes, bars, "Shares", "of the features; AUROC by the nearest neighbours")
