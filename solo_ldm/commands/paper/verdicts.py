"""From recorded numbers to a verdict, by the rules in the registry alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scipy.stats import t as student

from solo_ldm.commands.paper.entries import Claim, Measure, Test
from solo_ldm.commands.paper.records import Records

CONFIDENCE = 0.95

Outcome = Literal["held", "refuted", "open"]

HOLDS, IN_PART, FAILS, OPEN, MISSING = (
    "holds", "holds in part", "does not hold", "open", "not measured",
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """Values of independent runs, and the 95 % t-interval of their mean.

    Args:
        values: one for each seed, or for each seed and pair of cells.
        seeds: how many seeds they are of.
    """

    values: tuple[float, ...]
    seeds: int

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation; None of a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, t_{n−1} · s / √n; None of a single value."""
        if self.deviation is None:
            return None
        n = len(self.values)
        return float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * self.deviation / math.sqrt(n)


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
        """The verdict of all tests together.

        holds: each is held; does not hold: some are refuted and none is held; holds in part: some
        are held, others not; open: none is held or refuted; not measured: nothing is recorded.
        """
        outcomes = {one.outcome for one in self.decisions}
        if all(one.estimate is None for one in self.decisions):
            return MISSING
        if outcomes == {"held"}:
            return HOLDS
        if "held" in outcomes:
            return IN_PART
        return FAILS if "refuted" in outcomes else OPEN


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
    found = [one for one in _by_seed(measure, records, ()).values() if one]
    values = tuple(value for one in found for value in one.values())
    return Estimate(values, len(found)) if values else None


def decide(test: Test, estimate: Estimate | None) -> Outcome:
    """Return what an estimate says of a rule: where its whole interval lies.

    Without an interval, or with one that reaches over the rule's number, it is open.
    """
    if estimate is None or estimate.half_width is None:
        return "open"
    rule, number = test.rule
    mean, half = estimate.mean, estimate.half_width
    if rule in ("within", "beyond"):
        inner, outer = max(abs(mean) - half, 0.0), abs(mean) + half
        near, far = outer < number, inner > number
        held, refuted = (near, far) if rule == "within" else (far, near)
    else:
        above, below = mean - half > number, mean + half < number
        held, refuted = (above, below) if rule == "above" else (below, above)
    return "held" if held else "refuted" if refuted else "open"


def _of_test(claim: Claim, test: Test, records: Records) -> Estimate | None:
    of = _by_seed(claim.measures[test.of], records, test.across)
    if test.minus:
        other = _by_seed(claim.measures[test.minus], records, test.across)
        of = {
            seed: {level: value - other[seed][level] for level, value in of[seed].items()}
            for seed in of.keys() & other.keys()
            if of[seed].keys() == other[seed].keys()
        }
    found = [one for one in of.values() if one]
    values = tuple(value for one in found for value in one.values())
    return Estimate(values, len(found)) if values else None


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
