"""A verdict is where the whole t-interval lies, and nothing else."""

from __future__ import annotations

import math
from typing import Any

import pytest
from scipy import stats

from solo_ldm.commands.paper.entries import Test as Rule
from solo_ldm.commands.paper.reading import load_registry
from solo_ldm.commands.paper.records import Records
from solo_ldm.commands.paper.verdicts import correlation_of, decide, judge, mean_of
from tests.solo_ldm.commands.paper.conftest import CLAIMS, RUNS


def test_interval_is_students():
    found = mean_of((1.0, 2.0, 4.0), 3)
    ends = stats.t.interval(0.95, 2, loc=7 / 3, scale=stats.sem([1.0, 2.0, 4.0]))
    assert found.mean == pytest.approx(7 / 3)
    assert found.interval == pytest.approx(ends)
    assert mean_of((1.0,), 1).interval is None


def test_a_correlation_is_of_ranks_and_its_interval_is_fiellers():
    x, y = (1.0, 2.0, 3.0, 4.0, 50.0), (1.0, 3.0, 2.0, 500.0, 4.0)
    found = correlation_of(list(zip(x, y, strict=True)), 1)
    assert found is not None
    assert found.mean == pytest.approx(0.8)
    half = 1.959964 * math.sqrt(1.06 / (5 - 3))
    ends = [math.tanh(math.atanh(0.8) + sign * half) for sign in (-1, 1)]
    assert found.interval == pytest.approx(ends, abs=1e-6)
    assert correlation_of([(1.0, 2.0)] * 3, 1) is None
    assert correlation_of([(1.0, y) for y in range(5)], 1) is None  # constant


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
        ({"between": (0.7, 1.3)}, "held"),
        ({"between": (0.8, 1.3)}, "open"),
        ({"between": (1.3, 1.5)}, "refuted"),
        ({"beyond": 0.7}, "held"),
        ({"beyond": 0.8}, "open"),
        ({"beyond": 1.3}, "refuted"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_rules(rule: Any, outcome: str, sign: int):
    kind = next(iter(rule))
    if sign < 0 and kind == "between":
        rule = {kind: (-rule[kind][1], -rule[kind][0])}
    if sign < 0 and kind in ("above", "below"):
        rule = {"below" if kind == "above" else "above": -rule[kind]}
    values = tuple(sign * value for value in (0.9, 1.0, 1.1))
    assert decide(Rule("x", **rule), mean_of(values, 3)) == outcome


def test_one_run_decides_nothing():
    assert decide(Rule("x", above=0.0), mean_of((1.0,), 1)) == "open"
    assert decide(Rule("x", above=0.0), None) == "open"


def record(records, kind, seed, score, run="first"):
    results = {"score": score, "scores": [{"name": "x", "value": score}]}
    data = {"images": "0123"}
    assert not records.keep(records.registry.runs[run], (("kind", kind),), seed, results, 1.0, data)


def test_differences_are_paired_by_seed(registry, tmp_path):
    # A seed's own level is ten times the difference: only pairs tell it.
    records = Records(tmp_path, registry)
    for seed, level in enumerate((0.1, 0.2, 0.3)):
        record(records, "a", seed, level + 0.1 + 0.001 * seed)
        record(records, "b", seed, level)
    found = judge(registry.claims["differs"], records)
    difference, alone = found.decisions
    assert difference.estimate is not None
    assert difference.outcome == "held"
    assert difference.estimate.values == pytest.approx((10.0, 10.1, 10.2))
    assert alone.outcome == "held"  # 20 ± 24.8 is below 50
    assert found.verdict == "holds"


def test_a_seed_that_lacks_a_run_is_left_out(registry, tmp_path):
    records = Records(tmp_path, registry)
    for seed in range(2):
        record(records, "a", seed, 0.5)
    record(records, "b", 1, 0.4)
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
        ((0.2, 0.9, 0.6), (0.3, 0.9, 0.1), "open"),
    ],
)
def test_verdict_of_several_tests(registry, tmp_path, a, b, verdict):
    records = Records(tmp_path, registry)
    for kind, scores in (("a", a), ("b", b)):
        for seed, score in enumerate(scores):
            record(records, kind, seed, score)
    assert judge(registry.claims["differs"], records).verdict == verdict


def test_nothing_recorded(registry, tmp_path):
    assert judge(registry.claims["follows"], Records(tmp_path, registry)).verdict == "not measured"


def test_mean_over_the_grid(registry, tmp_path):
    records = Records(tmp_path, registry)
    for kind, number in (("a", 1.0), ("b", 3.0)):
        record(records, kind, 0, number, "second")
    found = judge(registry.claims["follows"], records)
    assert found.measures["both"] == mean_of((2.0,), 1)
    assert found.decisions[0].estimate == mean_of((2.0,), 1)


def test_pairs_are_averaged_over_seeds(tmp_path):
    registry = load_registry(
        RUNS.replace("grid: {kind: [a, b]}", "grid: {kind: [a, b], size: [s, l]}", 1),
        CLAIMS.replace("minus: b, above", "minus: b, across: [size], above"),
    )
    records, run = Records(tmp_path, registry), registry.runs["first"]
    for point in run.points():
        levels = dict(point)
        for seed, more in enumerate((0.0, 0.2)):
            score = {"a": 0.4, "b": 0.1}[levels["kind"]] + {"s": 0.0, "l": 0.1}[levels["size"]]
            score += more if levels["kind"] == "a" else 0.0
            assert not records.keep(run, point, seed, {"score": score}, 1.0)
    estimate = judge(registry.claims["differs"], records).decisions[0].estimate
    assert estimate is not None
    assert estimate.values == pytest.approx((40.0, 40.0))  # of s and of l
    assert estimate.seeds == 2


@pytest.mark.parametrize(
    ("kind", "sizes", "outcome"),
    [("within", (0.1, 0.2, 0.3), "held"), ("beyond", (0.1, 0.2, 0.3), "refuted")],
)
def test_a_difference_that_is_too_small_to_matter(kind, sizes, outcome):
    rule: Any = {kind: 1.0}
    assert decide(Rule("x", **rule), mean_of(sizes, 3)) == outcome


def test_a_claim_fails_with_its_first_test(registry, tmp_path):
    # a − b is refuted, b below 50 is held.
    records = Records(tmp_path, registry)
    for seed in range(3):
        for kind in "ab":
            record(records, kind, seed, 0.2 + 0.001 * seed)
    found = judge(registry.claims["differs"], records)
    assert [one.outcome for one in found.decisions] == ["refuted", "held"]
    assert found.verdict == "does not hold"
