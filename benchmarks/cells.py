"""Write the table of the twelve cells, from a comparison's finished runs.

    python benchmarks/cells.py [--comparison cells] [--train] [--write] [key=value ...]

Comparisons are those of scripts/compare: cifar10_jpeg, whose table is that of docs/cells.md (and a
few rows of it of README.md), and cells, on digits, whose table is that of docs/digits/cells.md.
Runs are found in the comparison's records; --train trains those that are missing, and continues
after an interruption. --write puts the table into its page, and the pictures beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, Figures, parser, publish, wide_console
from hydra import compose, initialize_config_dir

from solo_ldm.commands.compare import compare
from solo_ldm.commands.compare.contrasts import contrasts_of, grid_text, verdicts
from solo_ldm.commands.compare.ranking import NOTHING, Standing, spread_text, untrained_spreads
from solo_ldm.commands.compare.run import CELLS, CONTRASTS
from solo_ldm.commands.compare.table import Comparison, agreed

SCRIPTS = ROOT / "scripts" / "compare"

# Of each comparison: the page, the folder of the pictures, and overrides.
PAGES = {
    "cifar10_jpeg": ("docs/cells.md", "docs/cifar10-jpeg", []),
    "cells": ("docs/digits/cells.md", "docs/digits", ["checkpoint.dir=trained_models/cells"]),
}
_CELLS = ("gaussprob", "sphereprob")
_SHORT = {"cifar10_jpeg": "README.md"}
_KNOWN = ("simclr", "byol")  # of the README's rows, beside the best cells and the bounds


def table(comparison: Comparison) -> Figures:
    """Return the table: the cells, the bounds, and the other methods in rank order."""
    protocols, rank_by = comparison.protocols, comparison.rank_by
    trained = [one for one in comparison.standings if one.scores]
    order = {label: number for number, label in enumerate(comparison.cells)}

    def is_cell(one: Standing) -> bool:
        return comparison.configs[one.label][0] in _CELLS

    def row(one: Standing) -> list[str]:
        found = one.finished[0].results
        name = comparison.configs[one.label][0] if is_cell(one) else one.label
        axes = [str(found.get(axis) or NOTHING) for axis in ("latent", "entropy", "over")]
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
    heads = ["method", "latent", "entropy", "over", *protocols, "seeds", "gain", "minutes"]
    return Figures(heads, rows, about(comparison))


def short(comparison: Comparison) -> Figures:
    """Return the README's rows: the best cell of each latent space, known methods, the bounds."""
    whole = table(comparison)
    best: dict[str, tuple[str, ...]] = {}  # the cell's place, by its latent space; in rank order
    for one in comparison.standings:
        if one.scores and comparison.configs[one.label][0] in _CELLS:
            found = one.finished[0].results
            best.setdefault(found["latent"], (found["latent"], found["entropy"], found["over"]))
    shown = (*_KNOWN, "supervised", "untrained")
    rows = [
        row
        for row in whole.rows
        if row[0] in shown or (row[0] in _CELLS and tuple(row[1:4]) in best.values())
    ]
    about = f"The best cell of each latent space, {', '.join(_KNOWN)} and the bounds. {whole.about}"
    return Figures(whole.heads, rows, about)


def about(comparison: Comparison) -> str:
    """Return the protocol of the table."""
    runs = comparison.finished
    made = agreed(
        runs,
        lambda run: (
            f"{run['num_val_images']} test images of {run['dataset']}, mean ± standard deviation "
            f"over the seeds (one: no ±); {run['backbone']}, {run['epochs']} epochs, batch "
            f"{run['batch_size']}, {run['precision']}, {run['hardware']}, solo_ldm "
            f"{run['versions']['solo_ldm']}, torch {run['versions']['torch']}"
        ),
    )
    days = sorted({run.results["finished"][:10] for run in runs})
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    return (
        f"Top-1 in percent on {made}, {when}. Gain: over the same network untrained, in points of "
        f"{comparison.rank_by}. Minutes: of training, with what else ran on the cores."
    )


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
    own = [*own, f"train={str(args.train).lower()}", "hydra.searchpath=[pkg://solo_ldm.configs]"]
    with initialize_config_dir(str(SCRIPTS), version_base="1.3"):
        cfg = compose(args.comparison, overrides=own)
    cfg.overrides += args.overrides
    cfg.copy_to = str(ROOT / folder) if args.write else None
    comparison = compare(cfg, console)
    if comparison.failed:
        raise SystemExit(1)
    beside = Path(ROOT / folder).relative_to(page.parent).as_posix()
    tables = [table(comparison), *claims(comparison, beside)]
    publish(tables, page, "cells", "cells.py", args, console)
    if args.comparison in _SHORT:
        args.csv = None
        readme = ROOT / _SHORT[args.comparison]
        publish([short(comparison)], readme, "cells", "cells.py", args, console)


if __name__ == "__main__":
    main()
