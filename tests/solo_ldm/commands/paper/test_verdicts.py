"""A verdict is where the whole t-interval lies, and nothing else."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from solo_ldm.commands.paper.entries import Test as Rule
from solo_ldm.commands.paper.records import Records
from solo_ldm.commands.paper.verdicts import Estimate, decide, judge


def test_interval_is_students():
    found = Estimate((1.0, 2.0, 4.0), 3)
    low, high = stats.t.interval(0.95, 2, loc=7 / 3, scale=stats.sem([1.0, 2.0, 4.0]))
    assert found.mean == pytest.approx(7 / 3)
    assert found.half_width == pytest.approx((high - low) / 2)
    assert Estimate((1.0,), 1).half_width is None


# The interval of (0.9, 1.0, 1.1) is 1 ± 0.248.
@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ({"above": 0.7}, "held"),
        ({"above": 0.8}, "open"),
        ({"above": 1.3}, "refuted"),
        ({"below": 1.3}, "held"),
        ({"below": 1.2}, "open"),
        ({"below": 0.7}, "refuted"),
        ({"within": 1.3}, "held"),
        ({"within": 1.2}, "open"),
        ({"within": 0.7}, "refuted"),
        ({"beyond": 0.7}, "held"),
        ({"beyond": 0.8}, "open"),
        ({"beyond": 1.3}, "refuted"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_rules(rule, outcome, sign):
    kind = next(iter(rule))
    if sign < 0 and kind in ("above", "below"):
        rule = {"below" if kind == "above" else "above": -rule[kind]}
    values = tuple(sign * value for value in (0.9, 1.0, 1.1))
    assert decide(Rule("x", **rule), Estimate(values, 3)) == outcome


def test_one_run_decides_nothing():
    assert decide(Rule("x", above=0.0), Estimate((1.0,), 1)) == "open"
    assert decide(Rule("x", above=0.0), None) == "open"


def record(records, values, kind, seed, score):
    run = records.registry.runs["first"]
    values(records.path(run, (("kind", kind),), seed), {"score": score})


def test_differences_are_paired_by_seed(registry, tmp_path, values):
    # A seed's own level is ten times the difference: only pairs tell it.
    records = Records(tmp_path, registry)
    for seed, level in enumerate((0.1, 0.2, 0.3)):
        record(records, values, "a", seed, level + 0.1 + 0.001 * seed)
        record(records, values, "b", seed, level)
    found = judge(registry.claims["differs"], records)
    difference, alone = found.decisions
    assert difference.estimate is not None
    assert difference.outcome == "held"
    assert difference.estimate.values == pytest.approx((10.0, 10.1, 10.2))
    assert alone.outcome == "held"  # 20 ± 24.8 is below 50
    assert found.verdict == "holds"


def test_a_seed_that_lacks_a_run_is_left_out(registry, tmp_path, values):
    records = Records(tmp_path, registry)
    for seed in range(2):
        record(records, values, "a", seed, 0.5)
    record(records, values, "b", 1, 0.4)
    found = judge(registry.claims["differs"], records)
    estimate = found.decisions[0].estimate
    assert estimate is not None
    assert estimate.values == pytest.approx((10.0,))
    assert found.verdict == "open"


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ((0.60, 0.60, 0.61), (0.40, 0.40, 0.41), "holds"),
        ((0.80, 0.80, 0.81), (0.60, 0.60, 0.61), "holds in part"),
        ((0.60, 0.60, 0.61), (0.60, 0.60, 0.61), "does not hold"),
        ((0.2, 0.9, 0.6), (0.3, 0.9, 0.1), "open"),
    ],
)
def test_verdict_of_several_tests(registry, tmp_path, values, a, b, verdict):
    records = Records(tmp_path, registry)
    for kind, scores in (("a", a), ("b", b)):
        for seed, score in enumerate(scores):
            record(records, values, kind, seed, score)
    assert judge(registry.claims["differs"], records).verdict == verdict


def test_nothing_recorded(registry, tmp_path):
    assert judge(registry.claims["follows"], Records(tmp_path, registry)).verdict == "not measured"


def test_mean_over_the_grid_or_pair_by_pair(registry, tmp_path, values):
    records = Records(tmp_path, registry)
    run = registry.runs["second"]
    value = "scores[?name=='x'] | [0].value"
    for kind, number in (("a", 1.0), ("b", 3.0)):
        values(records.path(run, (("kind", kind),), 0), {value: number})
    found = judge(registry.claims["follows"], records)
    assert found.measures["both"] == Estimate((2.0,), 1)
    assert math.isclose(found.decisions[0].estimate.mean, 2.0)  # pyright: ignore
