"""Smoothing that never looks ahead."""

import math

import pytest
import torch

from predictive.decoding.smoothing import smooth_causally
from tests.support.predictive.series import close, normal


def test_smoothing_is_the_weighted_mean_of_the_past():
    counts = torch.poisson(torch.full((2, 40, 3), 0.5))
    lengths = torch.tensor([40, 25])
    mask = torch.arange(40) < lengths[:, None]
    smooth = smooth_causally(counts, mask, 0.025, 0.1)
    for i, t in ((0, 0), (0, 17), (0, 39), (1, 24)):
        weights = torch.exp(-0.25 * torch.arange(t, -1, -1, dtype=torch.float64))
        close(smooth[i, t], weights @ counts[i, : t + 1].double() / weights.sum())
    assert (smooth[1, 25:] - smooth[1, 24]).abs().max() < 1e-9


def test_smoothing_never_uses_the_future_nor_another_sequence():
    counts = normal(3, 100, 2)
    mask = torch.ones(3, 100, dtype=torch.bool)
    before = smooth_causally(counts, mask, 0.025, 1.0)
    counts[1, 50] += 1e6
    after = smooth_causally(counts, mask, 0.025, 1.0)
    assert torch.equal(before[1, :50], after[1, :50])
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert (before[1, 50:] != after[1, 50:]).all()


def test_smoothing_leaves_a_constant_and_skips_masked_bins():
    counts = torch.full((1, 30, 1), 2.0)
    counts[0, 10:15] = math.nan
    mask = counts[:, :, 0].isfinite()
    smooth = smooth_causally(counts, mask, 1.0, 3.0)
    close(smooth[mask], torch.full((25, 1), 2.0, dtype=torch.float64))
    with pytest.raises(ValueError, match="expected a number above 0"):
        smooth_causally(counts, mask, 1.0, 0.0)
    with pytest.raises(ValueError, match="counts and mask"):
        smooth_causally(counts[0], mask, 1.0, 1.0)
