"""Intervals of decoded targets, and how often they hold."""

import math

import pytest
import torch

from predictive.data.targets import kind_of
from predictive.decoding.fit import MLPDecoder, fit_linear
from predictive.decoding.intervals import (
    ResidualModel,
    coverage,
    decode_with_interval,
    fit_residual,
)
from tests.support.predictive.series import close, normal


def gaussian_world(bins, spread, residual=0.5):
    """Return posteriors of states (bins, 3) and targets that follow from the states exactly."""
    root = torch.tril(normal(bins, 3, 3)) * spread
    mean = normal(bins, 3) * 2.0
    states = mean + (root @ normal(bins, 3, 1))[..., 0]
    weight = torch.tensor([[1.0, 0.0], [0.5, -1.0], [0.0, 2.0]], dtype=torch.float64)
    return mean, root, states @ weight + residual * normal(bins, 2), states


def covered(mean, factor, targets, decoder, part=3000):
    def of(rows):
        return None if factor is None else (factor if len(factor) == 1 else factor[rows])

    kept, test = slice(part, 2 * part), slice(2 * part, None)
    residual = fit_residual(decoder, mean[kept], of(kept), targets[kept])
    interval = decode_with_interval(decoder, mean[test], of(test), residual)
    return residual, interval, coverage(targets[test], interval.low, interval.high)


@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_intervals_cover_95_percent_of_a_linear_gaussian_world(spread):
    mean, root, targets, states = gaussian_world(9000, spread)
    decoder = fit_linear(states[:3000], targets[:3000], penalty=0.0)
    residual, interval, found = covered(mean, root, targets, decoder)
    # The residual is what the decoder leaves; the rest is the posterior's, exact by bin.
    close(residual.variance, torch.full((2,), 0.25, dtype=torch.float64), atol=0.05 + 0.5 * spread)
    close(interval.mean, decoder.predict(mean[6000:]))
    projected = root[6000:].mT @ (decoder.weight / decoder.scale[:, None])
    expected = 2 * 1.96 * (projected.square().sum(dim=1) + residual.variance).sqrt()
    close((interval.high - interval.low) / expected, torch.ones_like(expected), atol=0.08)
    close(found.per_dim, torch.full((2,), 0.95, dtype=torch.float64), atol=0.015)
    assert found.low < found.fraction < found.high


def test_a_posterior_that_widens_in_some_bins_keeps_its_coverage_in_them():
    mean, root, targets, states = gaussian_world(9000, 1.0)
    decoder = fit_linear(states[:3000], targets[:3000], penalty=0.0)
    wide = root[6000:].square().sum(dim=(1, 2)) > 8.0
    for factor, calibrated in ((root, True), (None, False)):
        _, interval, _ = covered(mean, factor, targets, decoder)
        parts = [
            coverage(targets[6000:][rows], interval.low[rows], interval.high[rows]).fraction
            for rows in (wide, ~wide)
        ]
        assert (abs(parts[0] - parts[1]) < 0.03) == calibrated


@pytest.mark.parametrize("factor", [None, 0.7 * torch.eye(3, dtype=torch.float64)[None]])
def test_intervals_cover_95_percent_with_heavy_tails_and_skew(factor):
    mean = normal(9000, 3)
    states = mean if factor is None else mean + normal(9000, 3) @ factor[0].mT
    tail = torch.distributions.StudentT(torch.tensor(2.5)).sample((9000, 1)).double()
    targets = states[:, :1] + 0.3 * tail.clamp(min=-1.0)
    decoder = fit_linear(states[:3000], targets[:3000])
    _, interval, found = covered(mean, factor, targets, decoder)
    assert found.fraction == pytest.approx(0.95, abs=0.015)
    above = float((targets[6000:] > interval.high).double().mean())
    assert above == pytest.approx(0.025, abs=0.01)


@pytest.mark.parametrize("wrong", [0.2, 5.0])
def test_intervals_still_cover_when_the_posterior_is_too_narrow_or_too_wide(wrong):
    mean, root, targets, states = gaussian_world(9000, 1.0)
    decoder = fit_linear(states[:3000], targets[:3000])
    residual, _, found = covered(mean, wrong * root, targets, decoder)
    assert (residual.variance >= 0.0).all()
    assert found.fraction == pytest.approx(0.95, abs=0.015)


def test_intervals_of_a_perceptron_cover_too_whatever_the_size_of_chunks(monkeypatch):
    mean = normal(3000, 2)
    factor = 0.2 * torch.eye(2, dtype=torch.float64)[None]
    states = mean + 0.2 * normal(3000, 2)
    # Weights by chance: a fit would need torch's optimisers, whose first use takes seconds.
    layers = ((normal(32, 2).float(), normal(32).float()), (normal(1, 32).float(), torch.zeros(1)))
    standards = torch.zeros(2), torch.ones(2), torch.full((2,), -9.0), torch.full((2,), 9.0)
    decoder = MLPDecoder(*standards, layers, torch.zeros(1), torch.ones(1), num_epochs=1)
    targets = decoder.predict(states) + normal(3000, 1)
    _, interval, found = covered(mean, factor, targets, decoder, part=1000)
    assert found.fraction == pytest.approx(0.95, abs=0.025)
    monkeypatch.setattr("predictive.decoding.intervals._CHUNK_NUMBERS", 200 * 32 * 37)
    _, again, _ = covered(mean, factor, targets, decoder, part=1000)
    close(again.low, interval.low, atol=1e-5)


def test_a_higher_level_is_a_wider_interval():
    decoder = fit_linear(normal(50, 2), normal(50, 1))
    residual = fit_residual(decoder, normal(99, 2), None, normal(99, 1))
    widths = []
    for level in (0.5, 0.9, 0.95):
        interval = decode_with_interval(decoder, normal(4, 2), None, residual, level)
        widths.append(float((interval.high - interval.low)[0, 0]))
    assert widths == sorted(widths)


def test_the_ends_are_the_ranks_that_hold_the_level_with_few_calibration_bins():
    decoder = fit_linear(normal(50, 2), normal(50, 1))
    steps = torch.arange(1.0, 40.0, dtype=torch.float64)[:, None]
    residual = ResidualModel(torch.ones(1, dtype=torch.float64), steps)
    interval = decode_with_interval(decoder, normal(4, 2), None, residual)
    close(interval.low, interval.mean + 1.0)
    close(interval.high, interval.mean + 39.0)
    residual = ResidualModel(residual.variance, steps[1:])
    with pytest.raises(ValueError, match=r"at least 39 calibration bins for 0\.95, got 38"):
        decode_with_interval(decoder, normal(4, 2), None, residual)


def test_correlated_bins_make_the_coverage_less_sure():
    inside = torch.rand(4000, 1) < 0.9
    alone = coverage(torch.zeros(4000, 1), -inside.double(), inside.double() - 0.5)
    held = inside[:200].repeat_interleave(20, dim=0).double()
    together = coverage(torch.zeros(4000, 1), -held, held - 0.5)
    assert alone.num_effective == pytest.approx(4000, rel=0.3)
    assert together.num_effective == pytest.approx(200, rel=0.5)
    assert together.high - together.low > 2 * (alone.high - alone.low)
    reach = 1.96 * (0.09 / 4000) ** 0.5
    assert alone.high - alone.low == pytest.approx(2 * reach, rel=0.2)


def test_coverage_leaves_out_unknown_targets_and_may_be_all():
    targets = torch.zeros(50, 1)
    targets[:10] = math.nan
    found = coverage(targets, -torch.ones(50, 1), torch.ones(50, 1))
    assert (found.fraction, found.num_bins, found.high) == (1.0, 40, 1.0)
    assert found.low == pytest.approx(40 / (40 + 1.96**2), abs=1e-4)
    with pytest.raises(ValueError, match="expected a known one in some bin"):
        coverage(targets[:10], targets[:10], targets[:10])
    with pytest.raises(ValueError, match="the same shape"):
        coverage(targets, targets, targets[:4])


def test_intervals_that_cannot_be_computed_give_one_line():
    decoder = fit_linear(normal(50, 2), normal(50, 1))
    mean, targets = normal(60, 2), normal(60, 1)
    residual = fit_residual(decoder, mean, None, targets)
    eye = torch.eye(2)[None]
    cases = [
        (
            lambda: fit_residual(decoder, mean, None, targets * math.nan),
            "at least 2 calibration bins",
        ),
        (lambda: fit_residual(decoder, mean, None, targets[:3]), "over the same bins"),
        (lambda: decode_with_interval(decoder, mean, eye[0], residual), "factor: expected"),
        (
            lambda: decode_with_interval(decoder, mean, eye, residual, 1.0),
            "level: expected a number above 0 and below 1",
        ),
        (
            lambda: decode_with_interval(decoder, mean, eye, residual, 0.9, 3),
            "num_samples: expected an even number",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_intervals_of_an_angle_lie_on_the_circle_and_turn_with_it(spread):
    degrees = kind_of("", "degrees")
    angle = torch.rand(6000, 1, dtype=torch.float64) * 360
    around = torch.deg2rad(angle)
    states = torch.cat([around.cos(), around.sin()], dim=1) + 0.2 * normal(6000, 2)
    factor = (spread * torch.eye(2, dtype=torch.float64))[None]
    found = []
    for turn in (0.0, 90.0):
        columns = torch.tensor(degrees.encoded((angle + turn).numpy()))
        decoder = fit_linear(states[:2000], columns[:2000], penalty=0.0)
        kept, test = slice(2000, 4000), slice(4000, None)
        residual = fit_residual(decoder, states[kept], factor, columns[kept], target=degrees)
        interval = decode_with_interval(decoder, states[test], factor, residual, target=degrees)
        truth = degrees.near(columns[test], interval.mean)
        assert interval.mean.shape == truth.shape == (2000, 1)
        assert (truth - interval.mean).abs().max() <= 180.0
        inside = coverage(truth, interval.low, interval.high)
        assert inside.fraction == pytest.approx(0.95, abs=0.03)
        assert (interval.high - interval.low).median() < 90.0
        found.append(interval)
    apart = degrees.apart(found[1].mean - 90.0, found[0].mean)
    close(apart, torch.zeros_like(apart), atol=1e-6)
    close(found[1].high - found[1].low, found[0].high - found[0].low, atol=1e-6)
