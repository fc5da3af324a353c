"""Tables of benchmarks/recordings.py, from the results of all folds and seeds."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common import Figures, spread

from positions.folds import ALL, PAST
from positions.rows import FILTER, SMOOTHER, WIDTHS
from predictive.decoding.score import NUM_SHIFTS

DECODERS = ("linear", "mlp")
TRAINED = ("ours", "CEBRA")  # methods that are trained anew for each seed
_CEBRA = "CEBRA-Time"
_CEBRA_MEAN = f"Gaussian mean of {_CEBRA}"
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
        trained: whether there is one of each seed.
        width: of the average, with the best R² over all folds; 0 without one.
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
    trained: bool
    width: float = 0.0
    squares: dict[Run, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    nulls: list[list[float]] = field(default_factory=list)
    null_r2: float = math.nan
    r2: list[float] = field(default_factory=list)
    fold_r2: list[float] = field(default_factory=list)

    def ratios(self, other: Line) -> list[float]:
        """Return 1 − R² of this row over that of another one, for each fold and seed.

        What is not trained is the same for all seeds.
        """
        pairs = [
            ((fold, seed), (fold, seed if other.trained else 0)) for fold, seed in self.squares
        ]
        theirs = other.squares
        return [self.squares[one] / theirs[two] for one, two in pairs if two in theirs]


def lines(
    results: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> dict[str, dict[tuple[str, str, str], Line]]:
    """Return the lines by data set, in the order of the names, and by row, time and decoder.

    Seeds of which a fold is missing are left out.
    """
    gathered: dict[str, dict[tuple[str, str, str], dict[float, Line]]] = {}
    for one in sorted(results, key=lambda one: (one["seed"], one["fold"])):
        own = gathered.setdefault(one["data"], {})
        for found in one["scores"]:
            averaged = found["row"] == _CEBRA and found["width"] > 0.0
            key = (_CEBRA_MEAN if averaged else found["row"], found["time"])
            kind = (found["supervised"], one["method"] in TRAINED, found["width"])
            for decoder in DECODERS if found["supervised"] else (found["decoder"],):
                by_width = own.setdefault((*key, decoder), {})
                line = by_width.setdefault(found["width"], Line(*key, *kind))
                line.squares[one["fold"], one["seed"]] = sum(found["squares"])
                line.seconds.append(found["seconds"])
                if "nulls" in found and one["seed"] == 0:
                    line.nulls.append(found["nulls"])
    best = {}
    for name in (one for one in names if one in gathered):
        own = [one for one in results if one["data"] == name]
        totals, whole = _totals(own)
        folds = own[0]["key"]["data"]["folds"]
        rows = {
            key: _best(by_width.values(), folds, totals, whole)
            for key, by_width in gathered[name].items()
        }
        if all(rows.get((mine, when, one)) for when, mine in OURS.items() for one in DECODERS):
            best[name] = {key: line for key, line in rows.items() if line is not None}
    return best


def _best(
    widths: Collection[Line], folds: int, totals: Mapping[int, float], whole: float
) -> Line | None:
    """Return the line of the width with the best R², pooled; None where none has all folds."""
    for line in widths:
        count = Counter(seed for _, seed in line.squares)
        line.squares = {run: x for run, x in line.squares.items() if count[run[1]] == folds}
    complete = [line for line in widths if line.squares]
    if not complete:
        return None
    line = min(complete, key=lambda line: statistics.mean(line.squares.values()))
    line.r2 = [
        1.0 - sum(x for (_, seed), x in line.squares.items() if seed == one) / whole
        for one in sorted({seed for _, seed in line.squares})
    ]
    line.fold_r2 = [1.0 - x / totals[fold] for (fold, _), x in line.squares.items()]
    if line.nulls:
        pooled = sorted(1.0 - sum(one) / whole for one in zip(*line.nulls, strict=True))
        rank = min(len(pooled), math.ceil(0.95 * (len(pooled) + 1)))
        line.null_r2 = pooled[rank - 1]
    return line


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
    """Return the table of all rows and that of what follows for ours.

    Raises:
        ValueError: in one line: no data set with a result of ours for each fold.
    """
    found = lines(results, names)
    if not found:
        raise ValueError("records: expected ours on all folds of a data set; run without --kept")
    return [_rows_table(found, results, names), _verdicts(found, results, names)]


def summary(results: Sequence[Mapping[str, Any]], names: Mapping[str, str], page: str) -> Figures:
    """Return the short table: ours, the best others that use as much time, CEBRA-Time.

    Args:
        results: of folds and seeds.
        names: of the data sets to show.
        page: where docs/recordings.md is from the page of the table.
    """
    heads = ["data", "decoded from", "uses", "linear", "mlp", "in the 95 % interval"]
    rows = []
    for name, own in lines(results, names).items():
        others = [key for key in ordered(own) if not own[(*key, "mlp")].supervised]
        for time, mine in OURS.items():
            alike = [row for row, when in others if when == time]
            best = [row for row in alike if row not in (mine, _CEBRA, _CEBRA_MEAN)][-1]
            for row in (one for one in alike if one in (best, _CEBRA, _CEBRA_MEAN, mine)):
                both = [own[row, time, decoder] for decoder in DECODERS]
                cells = [_pm(line.r2, line.fold_r2) for line in both]
                covered = _covered(results, name) if row == FILTER else ""
                bold = "**" if row == mine else ""
                rows.append([names[name], f"{bold}{row}{bold}", time, *cells, covered])
    about = (
        "R² of position on held-out time, five folds of 20 s blocks, ± standard deviation over "
        "folds and seeds; each other row is the best of its kind, at the best of six widths. "
        f"[recordings.md]({page}) has all rows, ratios, nulls and what was tried."
    )
    return Figures(heads, rows, about)


def ordered(own: Mapping[tuple[str, str, str], Line]) -> list[tuple[str, str]]:
    """Return rows and times: the past first, then by R² of the multi-layer decoder."""
    keys = dict.fromkeys((row, time) for row, time, _ in own)
    return sorted(keys, key=lambda key: (key[1] != PAST, statistics.mean(own[(*key, "mlp")].r2)))


def _rows_table(
    found: Mapping[str, Mapping[tuple[str, str, str], Line]],
    results: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
) -> Figures:
    heads = ["data", "decoded from", "uses", "linear", "mlp", "ratio, linear", "ratio, mlp"]
    heads += ["null at most", "seconds"]
    rows = []
    for name, own in found.items():
        for row, time in ordered(own):
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
    falls = [each["losses"][0] - each["losses"][1] for each in results if "losses" in each]
    converged = (
        f"CEBRA's loss falls by {statistics.mean(falls):.3f} nats from the ninth to the last tenth "
        "of its iterations. "
        if falls
        else ""
    )
    trained = dict.fromkeys((each["data"], each["method"]) for each in results)
    seeds = ", ".join(
        f"{names[data]}, {method}: "
        f"{len({r['seed'] for r in results if (r['data'], r['method']) == (data, method)})}"
        for data, method in trained
        if method in TRAINED
    )
    first = [each for each in results if each["fold"] == 0]
    abouts = "; ".join(
        dict.fromkeys(
            f"{names[each['data']]}: {each['about'].partition(', fold')[0]}" for each in first
        )
    )
    about = (
        f"R² of position on held-out time, pooled over {len({each['fold'] for each in results})} "
        f"folds, mean over seeds where a network is trained ({seeds}); ± is the standard deviation "
        "over folds and seeds. Features are fitted on a fold's training time without positions, "
        "decoders likewise with them; the Bayesian decoder uses positions and is its own decoder. "
        f"Of averages and what is made of them the best of {len(WIDTHS)} widths "
        f"({', '.join(f'{width:g}' for width in WIDTHS)} s; time constants, or σ of Gaussians) is "
        "shown, in brackets, chosen by the held-out R² of that row and decoder itself: more than "
        f"they would get in use. {converged}Ratios are 1 − R² of ours over that of the row, "
        "the filter's for what uses the past, the smoother's for what uses all time, in pairs of "
        "fold and seed; below 1 ours leaves less unexplained. The null shifts training positions "
        f"in time ({NUM_SHIFTS['linear']} shifts, linear decoder). Seconds are those to fit and "
        "compute the features of a fold, one thread, median. "
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
    heads = ["data", "ours", "decoder", "largest ratio", "to"]
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
        "width."
    )
    for name, own in found.items():
        if (_CEBRA, ALL, "mlp") not in own:
            about += f" {names[name]}: without CEBRA-Time."
    return Figures(heads, rows, about)


def _covered(results: Iterable[Mapping[str, Any]], name: str) -> str:
    """Return the share of held-out bins inside the filter's interval, over folds and seeds."""
    pairs = [one["coverage"] for one in results if one["data"] == name and "coverage" in one]
    bins = sum(count for _, count in pairs)
    return f"{100 * sum(share * count for share, count in pairs) / bins:.1f} %" if bins else ""
