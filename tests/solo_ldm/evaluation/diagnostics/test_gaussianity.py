"""Gaussianity of Gaussians, of uniforms and of mixtures."""

from __future__ import annotations

import pytest
import torch
from scipy.special import ndtr
from scipy.stats import kurtosis

from solo_ldm.evaluation.diagnostics.gaussianity import gaussian_like, gaussianity

COUNT, DIM = 2000, 40


def test_a_standard_gaussian_has_the_values_of_one():
    found = gaussianity(torch.randn(COUNT, DIM))
    assert found.isotropic_norm_variation == pytest.approx(80**-0.5)
    assert found.norm_variation == pytest.approx(80**-0.5, rel=0.1)
    assert found.normal_coordinates > 0.8
    assert found.anderson_darling == pytest.approx(0.34, abs=0.12)
    assert abs(found.excess_kurtosis) < 0.1
    assert (found.num_directions, found.num_constant, found.num_samples) == (DIM, 0, COUNT)


@pytest.mark.parametrize(
    "features",
    [
        torch.rand(COUNT, 3),  # slices of more independent coordinates are nearly Gaussian
        torch.randn(COUNT, DIM) * torch.rand(COUNT, 1),
        torch.randn(COUNT, DIM).relu(),
    ],
    ids=["uniform", "mixture of scales", "rectified"],
)
def test_others_are_told_from_a_gaussian_of_their_covariance(features):
    found, null = gaussianity(features), gaussianity(gaussian_like(features))
    assert found.normal_coordinates < 0.05 < 0.6 < null.normal_coordinates
    assert found.anderson_darling > 3 * null.anderson_darling
    assert found.sliced > 1.3 * null.sliced


def test_norms_of_one_scale_in_twenty_vary_more():
    scales = torch.where(torch.arange(COUNT) % 20 == 0, 3.0, 1.0)[:, None]
    features = torch.randn(COUNT, DIM) * scales
    found, null = gaussianity(features), gaussianity(gaussian_like(features))
    assert found.norm_variation > 2 * null.norm_variation


def test_the_null_has_the_covariance_and_gaussian_measures_of_any_gaussian():
    mixing = torch.randn(DIM, DIM) * torch.logspace(0, -2, DIM)
    features = torch.randn(1500, DIM) @ mixing.T + 7
    drawn = gaussian_like(features, seed=3)
    expected = torch.cov(features.T.double())
    scale = expected.diagonal().sqrt()
    assert ((torch.cov(drawn.T) - expected).abs() / (scale[:, None] * scale)).max() < 0.15
    assert ((drawn.mean(0) - features.mean(0)).abs() / scale).max() < 0.15
    torch.testing.assert_close(gaussian_like(features, seed=3), drawn)
    assert not torch.equal(gaussian_like(features, seed=4), drawn)
    found, null = gaussianity(features), gaussianity(drawn)
    assert found.norm_variation == pytest.approx(null.norm_variation, rel=0.1)
    assert found.sliced == pytest.approx(null.sliced, rel=0.2)


def test_coordinates_have_the_statistics_of_their_definitions():
    features = torch.rand(200, 1, dtype=torch.float64)
    x = features[:, 0].sort().values
    share = torch.from_numpy(ndtr(((x - x.mean()) / x.std()).numpy()))
    odd = torch.arange(1, 400, 2)
    statistic = -200 - (odd * (share.log() + (1 - share.flip(0)).log())).mean()
    found = gaussianity(features)
    assert found.anderson_darling == pytest.approx(
        statistic.item() * (1 + 0.75 / 200 + 2.25 / 200**2)
    )
    assert found.excess_kurtosis == pytest.approx(kurtosis(features.numpy()[:, 0]))


def test_a_change_of_units_changes_nothing_and_few_samples_whiten_few_directions():
    features = torch.rand(100, 300, dtype=torch.float64)
    found = gaussianity(features)
    assert found.num_directions == 10
    moved = gaussianity(1e-3 * features - 5e-3)
    assert moved == pytest.approx(tuple(found), rel=1e-6)


def test_dead_coordinates_are_counted_and_left_out():
    alive = torch.randn(500, 10)
    features = torch.cat([alive, torch.zeros(500, 3), torch.full((500, 2), 4.0)], dim=1)
    found = gaussianity(features)
    assert found.num_constant == 5
    assert found.normal_coordinates == gaussianity(alive).normal_coordinates
    assert found.num_directions == 10


def test_what_has_no_distribution_is_refused():
    for features, words in (
        (torch.ones(50, 3), "all equal"),
        (torch.zeros(50, 3), "all equal"),
        (torch.randn(19, 3), "at least 20"),
        (torch.full((50, 3), torch.inf), "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            gaussianity(features)
