"""What predicted Gaussians are worth: coverage, likelihood, ranks, strength of views."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from solo_ldm.data.augment.strength import at_strength
from solo_ldm.data.config import parse_augmentations
from solo_ldm.evaluation.uncertainty import (
    LEVELS,
    auroc,
    calibration,
    mean_variance,
    rank_correlation,
    score_pairs,
)
from solo_ldm.latents import ConditionalGaussian

DIM, MANY = 6, 20000


def predicted(covariance: str, count: int = MANY):
    model = ConditionalGaussian(covariance, covariance_rank=2)  # pyright: ignore
    model.at(1.0)
    h = torch.randn(1, model.prediction_dim(DIM)).expand(count, -1)
    return model.gaussian(h, DIM)


def sampled(gaussian, size: float = 1.0):
    """Draw from the Gaussians themselves, with deviations times `size`."""
    return gaussian.mean + size * (gaussian.sample() - gaussian.mean)


@pytest.mark.parametrize("covariance", ["diagonal", "low_rank", "full"])
def test_coverage_is_nominal_for_samples_of_the_model_itself(covariance):
    gaussian = predicted(covariance)
    found = calibration(score_pairs(gaussian, sampled(gaussian)))
    # Four standard errors of a share at 20,000 samples.
    assert found.ellipsoids == pytest.approx(LEVELS, abs=0.015)
    assert found.intervals == pytest.approx(LEVELS, abs=0.015)
    assert found.distance_ratio == pytest.approx(1.0, abs=0.02)
    entropy = gaussian.entropy()[0].item() / DIM
    assert found.negative_log_likelihood == pytest.approx(entropy, abs=0.02)
    assert (found.num_pairs, found.dim) == (MANY, DIM)


def test_a_covariance_that_is_too_small_covers_too_little_and_costs_likelihood():
    gaussian = predicted("diagonal")
    right = calibration(score_pairs(gaussian, sampled(gaussian)))
    wrong = calibration(score_pairs(gaussian, sampled(gaussian, 1.5)))
    assert all(a < b for a, b in zip(wrong.ellipsoids, right.ellipsoids, strict=True))
    assert wrong.distance_ratio == pytest.approx(2.25, rel=0.03)
    # ½ (2.25 − 1 − log 2.25) nats a dimension are lost against the best constant covariance.
    lost = wrong.negative_log_likelihood - wrong.constant_negative_log_likelihood
    assert lost == pytest.approx(0.5 * (1.25 - math.log(2.25)), abs=0.02)


def test_a_level_is_the_chi_squared_quantile_of_the_distance():
    gaussian = predicted("full", 50)
    pairs = score_pairs(gaussian, sampled(gaussian, 1.3))
    expected = stats.chi2(DIM).cdf(pairs.distance.numpy())
    torch.testing.assert_close(pairs.ellipsoid, torch.from_numpy(expected), atol=1e-10, rtol=0)
    sides = stats.norm.cdf((pairs.error / gaussian.stddev).abs().numpy()) * 2 - 1
    torch.testing.assert_close(pairs.interval, torch.from_numpy(sides), atol=1e-10, rtol=0)


def test_the_mean_variance_is_the_trace_by_the_dimension():
    gaussian = predicted("full", 3)
    trace = gaussian.covariance_matrix.diagonal(dim1=1, dim2=2).sum(dim=1)
    torch.testing.assert_close(mean_variance(gaussian), trace / DIM)


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_is_scikit_learns(ties):
    inside, outside = torch.randn(300), torch.randn(200) + 0.5
    if ties:
        inside, outside = inside.round(), outside.round()
    truth = torch.cat([torch.zeros(300), torch.ones(200)])
    expected = roc_auc_score(truth.numpy(), torch.cat([inside, outside]).numpy())
    assert auroc(inside, outside) == pytest.approx(expected, abs=1e-12)
    assert auroc(outside, inside) == pytest.approx(1 - expected, abs=1e-12)
    assert auroc(inside, inside) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_the_rank_correlation_is_scipys(ties):
    x = torch.randn(200)
    y = x + torch.randn(200)
    if ties:
        x, y = x.round(), y.round()
    expected = stats.spearmanr(x.numpy(), y.numpy())[0]
    assert rank_correlation(x, y) == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(x, x.exp()) == pytest.approx(1.0, abs=1e-12)
    assert rank_correlation(x, torch.ones(200)) == 0.0


VIEW = {
    "crop_size": 16,
    "num_crops": 2,
    "rrc": {"enabled": True, "crop_min_scale": 0.6, "crop_max_scale": 1.0},
    "affine": {"prob": 1.0, "degrees": 10, "translate": 0.1, "scale_min": 0.8, "scale_max": 1.25},
    "color_jitter": {"prob": 0.8, "brightness": 0.4, "hue": 0.3},
    "gaussian_blur": {"prob": 0.5},
    "grayscale": {"prob": 0.4},
    "horizontal_flip": {"prob": 0.5},
}


def test_strength_one_is_the_view_and_zero_changes_nothing():
    (view,) = parse_augmentations([VIEW])
    same = at_strength(view, 1.0)
    assert same.num_crops == 1
    assert (same.affine, same.color_jitter, same.gaussian_blur) == (
        view.affine,
        view.color_jitter,
        view.gaussian_blur,
    )
    assert same.rrc.crop_min_scale == pytest.approx(0.6)
    none = at_strength(view, 0.0)
    assert (none.rrc.crop_min_scale, none.rrc.min_aspect_ratio) == (1.0, 1.0)
    assert (none.affine.degrees, none.affine.scale_min, none.affine.scale_max) == (0.0, 1.0, 1.0)
    assert (none.color_jitter.brightness, none.gaussian_blur.sigma_max) == (0.0, 0.0)
    assert (none.grayscale.prob, none.horizontal_flip.prob) == (0.0, 0.0)


def test_twice_the_strength_is_twice_the_range_within_what_there_is():
    (view,) = parse_augmentations([VIEW])
    twice = at_strength(view, 2.0)
    assert (twice.affine.degrees, twice.affine.translate) == (20.0, 0.2)
    assert twice.affine.scale_max == pytest.approx(1.25**2)
    assert twice.rrc.crop_min_scale == pytest.approx(0.2)
    assert (twice.color_jitter.hue, twice.grayscale.prob) == (0.5, 0.8)
    assert twice.horizontal_flip.prob == 0.5
    assert at_strength(view, 9.0).rrc.crop_min_scale > 0


def test_wrong_use_is_one_clear_line():
    gaussian = predicted("diagonal", 4)
    (view,) = parse_augmentations([VIEW])
    cases = [
        (lambda: score_pairs(gaussian, torch.zeros(4, 3)), "one for each prediction"),
        (lambda: score_pairs(predicted("full", 0), torch.zeros(0, DIM)), "at least one"),
        (lambda: calibration(score_pairs(gaussian, gaussian.mean), [1.0]), "between 0 and 1"),
        (lambda: auroc(torch.zeros(0), torch.zeros(3)), "got 0 and 3"),
        (lambda: rank_correlation(torch.zeros(1), torch.zeros(1)), "at least two"),
        (lambda: at_strength(view, -1.0), "at least 0"),
    ]
    for case, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            case()
        assert "\n" not in str(caught.value)
