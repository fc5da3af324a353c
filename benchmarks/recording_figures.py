"""Tables and picture of benchmarks/recordings.py, from the results of all folds and seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import Figures, spread
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from recording_folds import ALL, PAST
from recording_rows import FILTER, SMOOTHER, WIDTHS

from predictive.decoding.score import NUM_SHIFTS
from solo_ldm.plotting.page import new_figure, save
from solo_ldm.plotting.style import BLUE, INK, LIGHT, MUTED, ORANGE, name_rows, styled

DECODERS = ("linear", "mlp")
OURS = {PAST: FILTER, ALL: SMOOTHER}
# A tenth smaller: the largest ratio of unexplained parts that is called so.
_SMALLER = 0.9

Run = tuple[int, int]  # fold, seed


@dataclass
class Line:
    """One row with one decoder.

    Args:
        row: its name.
        time: PAST or ALL.
        supervised: whether it uses positions.
        width: of the average, with the best R² over all folds; 0 without one.
        tried: widths.
        squares: summed squared errors of each fold and seed.
        seconds: of each, to fit and compute the features.
        nulls: of each fold, summed squared errors of each shift.
        null_r2: what R² stays below in 95 % of cases without a relation.
        r2: of each seed, pooled over folds.
        fold_r2: of each fold and seed.
    """

    row: str
    time: str
    supervised: bool
    width: float = 0.0
    tried: int = 1
    squares: dict[Run, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    nulls: list[list[float]] = field(default_factory=list)
    null_r2: float = math.nan
    r2: list[float] = field(default_factory=list)
    fold_r2: list[float] = field(default_factory=list)

    def ratios(self, other: Line) -> list[float]:
        """Return 1 − R² of this row over that of another one, for each fold and seed.

        What has no seed is the same for all.
        """
        theirs = other.squares
        return [
            squares / (theirs[fold, seed] if (fold, seed) in theirs else theirs[fold, 0])
            for (fold, seed), squares in self.squares.items()
        ]


def lines(
    results: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> dict[str, dict[tuple[str, str, str], Line]]:
    """Return the lines by data set, in the order of the names, and by row, time and decoder."""
    gathered: dict[str, dict[tuple[str, str, str], dict[float, Line]]] = {}
    for one in sorted(results, key=lambda one: (one["seed"], one["fold"])):
        own = gathered.setdefault(one["data"], {})
        for found in one["scores"]:
            key = (found["row"], found["time"])
            for decoder in DECODERS if found["supervised"] else (found["decoder"],):
                line = own.setdefault((*key, decoder), {}).setdefault(
                    found["width"], Line(*key, found["supervised"], found["width"])
                )
                line.squares[one["fold"], one["seed"]] = sum(found["squares"])
                line.seconds.append(found["seconds"])
                if "nulls" in found and one["seed"] == 0:
                    line.nulls.append(found["nulls"])
    best = {}
    for name in (one for one in names if one in gathered):
        rows = gathered[name]
        totals, whole = _totals([one for one in results if one["data"] == name])
        best[name] = {}
        for key, by_width in rows.items():
            line = min(by_width.values(), key=lambda line: sum(line.squares.values()))
            line.tried = len(by_width)
            seeds = sorted({seed for _, seed in line.squares})
            line.r2 = [
                1.0 - sum(x for (_, s), x in line.squares.items() if s == seed) / whole
                for seed in seeds
            ]
            line.fold_r2 = [1.0 - x / totals[fold] for (fold, _), x in line.squares.items()]
            if line.nulls:
                pooled = sorted(1.0 - sum(one) / whole for one in zip(*line.nulls, strict=True))
                rank = min(len(pooled), math.ceil(0.95 * (len(pooled) + 1)))
                line.null_r2 = pooled[rank - 1]
            best[name][key] = line
    return best


def _totals(results: Iterable[Mapping[str, Any]]) -> tuple[dict[int, float], float]:
    """Return the squared deviations of each fold's targets from their mean, and of all together."""
    folds = {one["fold"]: one for one in results}
    count = sum(one["bins"] for one in folds.values())
    whole = 0.0
    for dim in range(len(next(iter(folds.values()))["mean"])):
        mean = sum(one["bins"] * one["mean"][dim] for one in folds.values()) / count
        for one in folds.values():
            whole += one["total"][dim] + one["bins"] * (one["mean"][dim] - mean) ** 2
    return {fold: sum(one["total"]) for fold, one in folds.items()}, whole


def tables(results: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[Figures]:
    """Return the table of all rows and that of what follows for ours."""
    found = lines(results, names)
    return [_rows_table(found, results, names), _verdicts(found, results, names)]


def _ordered(own: Mapping[tuple[str, str, str], Line]) -> list[tuple[str, str]]:
    """Return rows and times: the past first, then by R² of the multi-layer decoder."""
    keys = dict.fromkeys((row, time) for row, time, _ in own)
    return sorted(keys, key=lambda key: (key[1] != PAST, statistics.mean(own[(*key, "mlp")].r2)))


def _rows_table(
    found: Mapping[str, Mapping[tuple[str, str, str], Line]],
    results: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
) -> Figures:
    heads = ["data", "decoded from", "uses", "linear", "mlp", "1 − R² of ours to its, linear"]
    heads += ["mlp", "null at most", "seconds"]
    rows = []
    for name, own in found.items():
        for row, time in _ordered(own):
            both = [own[row, time, decoder] for decoder in DECODERS]
            mine = OURS[time]
            cells, ratios = [], []
            for decoder, line in zip(DECODERS, both, strict=True):
                width = f" ({line.width:g} s)" if line.width else ""
                cells.append(f"{_pm(line.r2, line.fold_r2)}{width}")
                ratio = own[mine, time, decoder].ratios(line)
                ratios.append("" if row == mine else spread(ratio, 2))
            null = "" if math.isnan(both[0].null_r2) else f"{both[0].null_r2:.3f}"
            uses = f"{time}, positions" if both[0].supervised else time
            bold = "**" if row == mine else ""
            seconds = f"{statistics.median(both[0].seconds):.1f}"
            rows.append([names[name], f"{bold}{row}{bold}", uses, *cells, *ratios, null, seconds])
    one = results[0]
    seeds = len({each["seed"] for each in results})
    abouts = "; ".join(
        sorted(
            {f"{names[each['data']]}: {each['about'].partition(', fold')[0]}" for each in results}
        )
    )
    about = (
        f"R² of position on held-out time, pooled over {len({each['fold'] for each in results})} "
        f"folds, mean over {seeds} seeds where a network is trained; ± is the standard deviation "
        "over folds and seeds. Features are fitted on a fold's training time without positions, "
        "decoders likewise with them; the Bayesian decoder uses positions and is its own decoder. "
        f"Of averages and what is made of them the best of {len(WIDTHS)} widths "
        f"({', '.join(f'{width:g}' for width in WIDTHS)} s; time constants, or σ of Gaussians) is "
        "shown, in brackets, chosen by the held-out R² of that row and decoder itself: more than "
        "they would get in use. CEBRA's embedding is shown as it is or averaged, whichever is "
        "better. Ratios compare the filter's state with what uses the past, the smoother's with "
        "what uses all time, in pairs of fold and seed; below 1 ours leaves less unexplained. The "
        f"null shifts training positions in time ({NUM_SHIFTS['linear']} shifts, linear decoder). "
        "Seconds are those to fit and compute the features of a fold, one thread, median. "
        f"{abouts}. {one['hardware']}, solo_ldm {one['versions']['solo_ldm']}, torch "
        f"{one['versions']['torch']}, {max(each['finished'] for each in results)[:10]}."
    )
    return Figures(heads, rows, about)


def _pm(r2: Sequence[float], folds: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(folds):.3f}" if len(folds) > 1 else ""
    return f"{statistics.mean(r2):.3f}{deviation}"


def _verdicts(
    found: Mapping[str, Mapping[tuple[str, str, str], Line]],
    results: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
) -> Figures:
    heads = ["data", "ours", "decoder", "1 − R² to that of the best other", "which is"]
    heads += ["a tenth smaller than all", "in the 95 % interval"]
    rows = []
    for name, own in found.items():
        for time, mine in OURS.items():
            for decoder in DECODERS:
                line = own[mine, time, decoder]
                others = {
                    row: line.ratios(other)
                    for (row, when, kind), other in own.items()
                    if (when, kind) == (time, decoder) and row != mine and not other.supervised
                }
                means = {row: statistics.mean(ratios) for row, ratios in others.items()}
                nearest = max(means, key=means.__getitem__)
                smaller = sum(mean <= _SMALLER for mean in means.values())
                holds = "yes" if smaller == len(means) else f"{smaller} of {len(means)}"
                covered = _covered(results, name) if (time, decoder) == (PAST, "mlp") else ""
                ratio = spread(others[nearest], 2)
                rows.append([names[name], mine, decoder, ratio, nearest, holds, covered])
    about = (
        f"A tenth smaller: the mean over folds and seeds of the paired ratios is at most "
        f"{_SMALLER:g}, against every unsupervised row that uses as much time, each at its best "
        "width. The best other is the one with the largest mean ratio."
    )
    return Figures(heads, rows, about)


def _covered(results: Iterable[Mapping[str, Any]], name: str) -> str:
    """Return the share of held-out bins inside the filter's interval, over folds and seeds."""
    pairs = [one["coverage"] for one in results if one["data"] == name and "coverage" in one]
    bins = sum(count for _, count in pairs)
    return f"{100 * sum(share * count for share, count in pairs) / bins:.1f} %" if bins else ""


@styled
def draw(results: Sequence[Mapping[str, Any]], names: Mapping[str, str], path: Path) -> None:
    """Draw 1 − R² of every row, a dot for each fold and seed, for both decoders."""
    found = lines(results, names)
    ranks: dict[tuple[str, str], list[float]] = {}
    for own in found.values():
        order = _ordered(own)
        for place, key in enumerate(order):
            ranks.setdefault(key, []).append(place / len(order))
    keys = sorted(ranks, key=lambda key: (key[1] != PAST, statistics.mean(ranks[key])))
    title = "What of position stays unexplained"
    width, height = 3.4 + 3.3 * len(found), 1.9 + 0.34 * len(keys)
    figure = new_figure(width, height, 110, title)
    for number, (name, own) in enumerate(found.items()):
        left = (3.3 + 3.3 * number) / width
        axes = figure.add_axes((left, 0.62 / height, 3.0 / width, 1.0 - 1.77 / height))
        _draw_rows(axes, keys, own)
        if number:
            axes.tick_params(labelleft=False)
        axes.set_title(names[name])
        axes.set_xlabel("1 − R² on held-out time")
    figure.text(0.02, 1.0 - 0.35 / height, title, size=15, weight="bold", color=INK)
    note = (
        "hollow: linear decoder, filled: multi-layer; points: folds and seeds, strokes: all folds "
        "together\norange: ours; grey: uses positions"
    )
    figure.text(0.02, 1.0 - 0.76 / height, note, size=10, color=MUTED)
    save(path, figure)


def _draw_rows(
    axes: Axes, keys: Sequence[tuple[str, str]], own: Mapping[tuple[str, str, str], Line]
) -> None:
    """Draw the rows of a data set, each at the place of its key."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    for place, key in enumerate(keys):
        for decoder, offset in (("linear", -0.17), ("mlp", 0.17)):
            line = own.get((*key, decoder))
            if line is None or (line.supervised and decoder == "linear"):
                continue
            offset = 0.0 if line.supervised else offset
            colour = ORANGE if key[0] in OURS.values() else MUTED if line.supervised else BLUE
            values = [1.0 - r2 for r2 in line.fold_r2]
            face = "white" if decoder == "linear" else colour
            at = [place + offset] * len(values)
            axes.scatter(values, at, s=16, facecolor=face, edgecolor=colour, lw=0.9, alpha=0.8)
            pooled, middle = 1.0 - statistics.mean(line.r2), place + offset
            axes.plot([pooled] * 2, [middle - 0.15, middle + 0.15], color=INK, lw=1.4)
    name_rows(axes, [f"{row} ({time})" for row, time in keys])
    axes.axhline(sum(time == PAST for _, time in keys) - 0.5, color=LIGHT, lw=0.8)
