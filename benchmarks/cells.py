"""Write the table of the twelve cells, from a comparison's finished runs.

    python benchmarks/cells.py [--comparison cells] [--train] [--write] [key=value ...]

Comparisons are those of scripts/compare: cifar10_jpeg, whose table, above that of the masked
methods, is that of docs/cells.md (and a few rows of it of README.md), and cells, on digits, whose
table is that of docs/digits/cells.md.
Runs are found in the comparison's records; --train trains those that are missing, and continues
after an interruption. --write puts the table into its page, and the pictures beside it.
"""

from __future__ import annotations

import statistics
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common import ROOT, Figures, parser, publish, wide_console
from hydra import compose, initialize_config_dir
from rich.console import Console

from solo_ldm.commands.compare import compare
from solo_ldm.commands.compare.contrasts import contrasts_of, grid_text, verdicts
from solo_ldm.commands.compare.ranking import NOTHING, Standing, spread_text, untrained_spreads
from solo_ldm.commands.compare.run import CELLS, CONTRASTS
from solo_ldm.commands.compare.table import Comparison, agreed, marks

SCRIPTS = ROOT / "scripts" / "compare"

# Of each comparison: the page, the folder of the pictures, and overrides.
PAGES = {
    "cifar10_jpeg": ("docs/cells.md", "docs/cifar10-jpeg", []),
    "cells": ("docs/digits/cells.md", "docs/digits", ["checkpoint.dir=trained_models/cells"]),
}
# Those with other networks whose rows follow, and their folders.
_OTHERS = {"cifar10_jpeg": {"cifar10_jpeg_masked": "docs/cifar10-jpeg-masked"}}
_CELLS = ("gaussprob", "sphereprob")
_SHORT = {"cifar10_jpeg": "README.md"}
_KNOWN = ("simclr", "byol")  # of the README's rows, beside the best cells and the bounds
_HEADS = ("method", "latent", "entropy", "over")


def table(comparison: Comparison, *others: Comparison) -> Figures:
    """Return the table: the cells, the bounds, and the other methods in rank order.

    Args:
        comparison: the content.
        others: with other networks, whose rows follow, each with a column for its network.
    """
    heads = [*_HEADS, *comparison.protocols, "seeds", "gain", "minutes"]
    if not others:
        return Figures(heads, rows_of(comparison), about([comparison]))
    several = [one for one in (comparison, *others) if one.finished]
    rows = [
        [*row[: len(_HEADS)], _agreed(one, "backbone"), *row[len(_HEADS) :]]
        for one in several
        for row in rows_of(one)
    ]
    return Figures([*_HEADS, "network", *heads[len(_HEADS) :]], rows, about(several))


def rows_of(comparison: Comparison) -> list[list[str]]:
    """Return the rows of a comparison."""
    protocols, rank_by = comparison.protocols, comparison.rank_by
    trained = [one for one in comparison.standings if one.scores]
    order = {label: number for number, label in enumerate(comparison.cells)}

    def is_cell(one: Standing) -> bool:
        return comparison.configs[one.label][0] in _CELLS

    def row(one: Standing) -> list[str]:
        found = one.finished[0].results
        name = comparison.configs[one.label][0] if is_cell(one) else one.label
        name = f"{name} {marks(comparison, one)}".rstrip()
        axes = [str(found.get(axis) or NOTHING) for axis in _HEADS[1:]]
        scores = [spread_text(one.scores[protocol]) for protocol in protocols]
        gains = [run.top1(rank_by) - (run.untrained_top1(rank_by) or 0.0) for run in one.finished]
        gain = f"+{100 * statistics.fmean(gains):.1f}".replace("+-", "−")
        minutes = f"{(one.seconds or 0.0) / 60:.1f}"
        return [name, *axes, *scores, str(len(one.finished)), gain, minutes]

    bases = [untrained_spreads(trained, protocol) for protocol in protocols]
    spreads = [next(iter(one.values()), None) for one in bases]
    untrained = ["untrained", *[NOTHING] * 3, *map(spread_text, spreads)]
    seeds = len(spreads[-1].values) if spreads[-1] else 0
    rows = [row(one) for one in sorted(filter(is_cell, trained), key=lambda o: order[o.label])]
    rows.append([*untrained, str(seeds), NOTHING, NOTHING])
    rows += [row(one) for one in trained if one.is_bound]
    rows += [row(one) for one in trained if not one.is_bound and not is_cell(one)]
    return rows


def short(comparison: Comparison) -> Figures:
    """Return the README's rows: the best cell of each latent space, known methods, the bounds."""
    best: dict[str, str] = {}  # the label by its latent space; in rank order
    for one in comparison.standings:
        if one.scores and comparison.configs[one.label][0] in _CELLS:
            best.setdefault(one.finished[0].results["latent"], one.label)
    kept = [
        one for one in comparison.standings if one.label in (*_KNOWN, "supervised", *best.values())
    ]
    few = table(replace(comparison, standings=tuple(kept)))
    about = f"The best cell of each latent space, {', '.join(_KNOWN)} and the bounds. {few.about}"
    return Figures(few.heads, few.rows, about)


def about(comparisons: Sequence[Comparison]) -> str:
    """Return the protocol of the table."""
    first = comparisons[0]
    runs = [run for one in comparisons for run in one.finished]
    days = sorted({run.results["finished"][:10] for run in runs})
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    budgets = "; ".join(
        f"{_agreed(one, 'backbone')}: {_agreed(one, 'epochs')} epochs, batch "
        f"{_agreed(one, 'batch_size')}, {_agreed(one, 'precision')}"
        for one in comparisons
    )
    notes = [
        f"† {label} ({_agreed(one, 'backbone')}): {line}."
        for one in comparisons
        for label, line in one.differences.items()
        if label in {run.label for run in one.finished}
    ]
    versions = (
        f"{name} {agreed(runs, lambda run, name=name: run['versions'][name])}"
        for name in ("solo_ldm", "torch")
    )
    protocol = (
        f"Top-1 in percent on {_agreed(first, 'num_val_images')} test images of "
        f"{_agreed(first, 'dataset')}, mean ± standard deviation over the seeds (one: no ±). "
        f"{budgets}; {agreed(runs, lambda run: run['hardware'])}, {', '.join(versions)}, {when}. "
        f"Gain: over the same network untrained, in points of {first.rank_by}. Minutes: of "
        "training, with what else ran on the cores."
    )
    return "\n\n".join([protocol, *notes])


def _agreed(comparison: Comparison, key: str) -> str:
    return agreed(comparison.finished, lambda run: run[key])


def claims(comparison: Comparison, folder: str) -> list[Figures]:
    """Return the table of what the paper claims, where the comparison holds its grid.

    Args:
        comparison: the content.
        folder: of its other files, from the page.
    """
    found = contrasts_of(comparison)
    if found is None:
        return []
    several = any(len(one.seeds) > 1 for one in found.axes)
    of = "mean and 95 % interval over seeds" if several else "of one seed"
    about = (
        f"In points, {of}, over the {len(found.cells)} cells {grid_text(found)}; "
        f"the rule of the verdicts and all differences are in [table.md]({folder}/table.md).\n\n"
        f"![Top-1 of every method]({folder}/{CELLS})\n\n"
        f"![Differences between cells]({folder}/{CONTRASTS})"
    )
    rows = verdicts(found, comparison.rank_by)
    return [Figures(["the paper says", f"by {comparison.rank_by}", "here"], rows, about)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables and, with --write, update the docs."""
    options = parser(__doc__)
    options.add_argument("--comparison", choices=PAGES, default="cifar10_jpeg")
    options.add_argument("--train", action="store_true", help="train the runs that are missing")
    options.add_argument("--write", action="store_true", help="update the page and its pictures")
    options.add_argument("overrides", nargs="*", help="key=value, for every run")
    args = options.parse_args(arguments)
    console = wide_console()
    name, folder, own = PAGES[args.comparison]
    page = ROOT / name
    comparison = comparison_of(args.comparison, folder, own, args, console)
    if comparison.failed:
        raise SystemExit(1)
    others = [
        comparison_of(other, place, [], args, console)
        for other, place in _OTHERS.get(args.comparison, {}).items()
    ]
    beside = Path(ROOT / folder).relative_to(page.parent).as_posix()
    tables = [table(comparison, *others), *claims(comparison, beside)]
    publish(tables, page, "cells", "cells.py", args, console)
    if args.comparison in _SHORT:
        args.csv = None
        readme = ROOT / _SHORT[args.comparison]
        publish([short(comparison)], readme, "cells", "cells.py", args, console)


def comparison_of(
    name: str, folder: str, own: list[str], args: Namespace, console: Console
) -> Comparison:
    """Return a comparison of scripts/compare from its records, and train what is missing if asked.

    Args:
        name: of its file.
        folder: of its pictures, which --write updates.
        own: overrides of the comparison.
        args: of the command line.
        console: for its progress.
    """
    own = [*own, f"train={str(args.train).lower()}", "hydra.searchpath=[pkg://solo_ldm.configs]"]
    with initialize_config_dir(str(SCRIPTS), version_base="1.3"):
        cfg = compose(name, overrides=own)
    cfg.overrides += args.overrides
    cfg.copy_to = str(ROOT / folder) if args.write else None
    return compare(cfg, console)


if __name__ == "__main__":
    main()
