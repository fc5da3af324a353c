"""From recorded numbers to a verdict, by the rules in the registry alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scipy.stats import norm, spearmanr
from scipy.stats import t as student

from solo_ldm.commands.paper.entries import Claim, Measure, Registry, Test
from solo_ldm.commands.paper.records import Records

CONFIDENCE = 0.95

Outcome = Literal["held", "refuted", "open"]

HOLDS, IN_PART, FAILS, OPEN, MISSING = (
    "holds", "holds in part", "does not hold", "open", "not measured",
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Args:
        values: those it is of: one for each seed, or for each pair of cells.
        seeds: how many seeds they are of.
        mean: of the values, or a correlation.
        interval: its ends; None of a single value.
        points: of a correlation, what is correlated.
    """

    values: tuple[float, ...]
    seeds: int
    mean: float
    interval: tuple[float, float] | None
    points: tuple[tuple[float, float], ...] = ()

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation of the values; None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def mean_of(values: Iterable[float], seeds: int) -> Estimate:
    """Return the mean of independent values with Student's interval, ± t_{n−1} · s / √n."""
    values = tuple(values)
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return Estimate(values, seeds, mean, None)
    half = float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return Estimate(values, seeds, mean, (mean - half, mean + half))


def correlation_of(points: Sequence[tuple[float, float]], seeds: int) -> Estimate | None:
    """Return Spearman's rank correlation r, which no single outlier makes.

    Its interval is tanh(artanh r ± 1.96 √(1.06 / (n − 3))): Fieller, Hartley & Pearson 1957.

    Returns:
        None of fewer than four points, or where one of the two is the same at all of them.
    """
    first, second = zip(*points, strict=True)
    if len(points) < 4 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    found: Any = spearmanr(first, second)
    r = float(found.statistic)
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(1.06 / (len(points) - 3))
    middle = math.atanh(min(max(r, -1 + 1e-12), 1 - 1e-12))
    interval = math.tanh(middle - reach), math.tanh(middle + reach)
    return Estimate(first, seeds, r, interval, tuple(points))


@dataclass(frozen=True)
class Decision:
    """A test with what it found; no estimate where nothing is recorded."""

    test: Test
    estimate: Estimate | None
    outcome: Outcome


@dataclass(frozen=True)
class Judgement:
    """A claim with what was measured of it, what its tests found, and the verdict."""

    claim: Claim
    measures: Mapping[str, Estimate | None]
    decisions: tuple[Decision, ...]

    @property
    def verdict(self) -> str:
        """The verdict of all tests together, of which the first one is the claim itself.

        holds: all are held; does not hold: the first one is refuted, or some are and none is held;
        holds in part: some are held, others not; open: none is held or refuted; not measured:
        nothing is recorded.
        """
        outcomes = [one.outcome for one in self.decisions]
        if all(one.estimate is None for one in self.decisions):
            return MISSING
        if all(outcome == "held" for outcome in outcomes):
            return HOLDS
        if outcomes[0] == "refuted":
            return FAILS
        if "held" in outcomes:
            return IN_PART
        return FAILS if "refuted" in outcomes else OPEN


def judge_all(registry: Registry, records: Records) -> list[Judgement]:
    """Return the verdicts on all claims but optional ones of which nothing is recorded."""
    found = [judge(claim, records) for claim in registry.claims.values()]
    return [one for one in found if not one.claim.optional or any(one.measures.values())]


def judge(claim: Claim, records: Records) -> Judgement:
    """Return the verdict on a claim from what is recorded."""
    measures = {name: estimate(one, records) for name, one in claim.measures.items()}
    decisions = []
    for test in claim.tests:
        found = _of_test(claim, test, records)
        decisions.append(Decision(test, found, decide(test, found)))
    return Judgement(claim, measures, tuple(decisions))


def estimate(measure: Measure, records: Records) -> Estimate | None:
    """Return a measure at every seed at which all of its runs are recorded, None without one."""
    found = _by_seed(measure, records, ())
    values = [value for one in found.values() for value in one.values()]
    return mean_of(values, len(found)) if values else None


def decide(test: Test, estimate: Estimate | None) -> Outcome:
    """Return what an estimate says of a rule: where its whole interval lies.

    Without an interval, or with one that reaches over the rule's number, it is open.
    """
    if estimate is None or estimate.interval is None:
        return "open"
    low, high = estimate.interval
    first, last = test.ends
    inside = first < low and high < last
    outside = high < first or low > last
    held, refuted = (outside, inside) if test.rule == "beyond" else (inside, outside)
    return "held" if held else "refuted" if refuted else "open"


def _of_test(claim: Claim, test: Test, records: Records) -> Estimate | None:
    of = _by_seed(claim.measures[test.of], records, test.across)
    other = of
    if not test.alone:
        other = _by_seed(claim.measures[test.minus or test.correlates], records, test.across)
    seeds = [seed for seed in of if seed in other and of[seed].keys() == other[seed].keys()]
    if not seeds:
        return None
    points = [(of[seed][level], other[seed][level]) for seed in seeds for level in of[seed]]
    if test.across:  # seeds of a pair are averaged, so that only pairs count as independent
        first, second = (
            {level: statistics.fmean(side[seed][level] for seed in seeds) for level in of[seeds[0]]}
            for side in (of, other)
        )
        points = [(first[level], second[level]) for level in first]
    if test.correlates:
        return correlation_of(points, len(seeds))
    values = (first - (0.0 if test.alone else second) for first, second in points)
    return mean_of(values, len(seeds))


def _by_seed(
    measure: Measure, records: Records, across: tuple[str, ...]
) -> dict[int, dict[tuple[str, ...], float]]:
    """Return, by seed, the mean over the grid for each combination of the levels of some axes.

    Seeds at which a run is lacking are left out, so that every mean is of the same runs.
    """
    run = records.registry.runs[measure.run]
    found = {}
    for seed in records.seeds(run):
        groups: dict[tuple[str, ...], list[float | None]] = {}
        for point in run.points(measure.where):
            levels = dict(point)
            key = tuple(levels[axis] for axis in across)
            groups.setdefault(key, []).append(records.value(measure, point, seed))
        if all(value is not None for values in groups.values() for value in values):
            found[seed] = {
                key: statistics.fmean(value for value in values if value is not None)
                for key, values in groups.items()
            }
    return found
