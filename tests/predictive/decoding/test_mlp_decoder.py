"""The perceptron, and what it has in common with the affine decoder."""

import math

import pytest
import torch

from predictive.decoding.fit import fit_linear, fit_mlp
from tests.support.predictive.series import close, normal, r2


def test_the_perceptron_decodes_what_no_affine_map_can():
    x = normal(800, 3)
    y = torch.cat([x[:, :1] ** 2, x[:, 1:2] * x[:, 2:]], dim=1) * 50.0 + 1000.0
    linear, mlp = fit_linear(x[:500], y[:500]), fit_mlp(x[:500], y[:500], max_epochs=25)
    assert r2(y[500:], linear.predict(x[500:])) < 0.1
    assert r2(y[500:], mlp.predict(x[500:])) > 0.7


def test_the_perceptron_is_the_same_for_the_same_seed_and_not_for_another():
    x, y = normal(200, 3), normal(200, 1)
    first, again, other = (fit_mlp(x, y, seed=seed, max_epochs=3) for seed in (0, 0, 1))
    assert torch.equal(first.predict(x), again.predict(x))
    assert not torch.equal(first.predict(x), other.predict(x))


def test_the_perceptron_keeps_the_weights_that_were_best_on_bins_it_was_not_fitted_on():
    x, y = normal(300, 30), normal(300, 1)
    decoder = fit_mlp(x, y, max_epochs=60)
    assert decoder.num_epochs < 30
    assert r2(y[120:150], decoder.predict(x[120:150])) > -0.2  # the bins in the middle


def test_a_feature_that_was_all_but_silent_when_fitted_does_no_harm_later():
    x = normal(600, 4)
    y = x[:, :1].clone()
    x[:, 3] = 0.0
    x[0, 3] = 1e-18
    test, target = x.clone(), y.clone()
    test[:, 3] = 1.0
    for decoder in (fit_linear(x, y), fit_mlp(x, y, max_epochs=10)):
        assert r2(target, decoder.predict(test)) > 0.9


@pytest.mark.parametrize("fit", [fit_linear, fit_mlp])
def test_bins_without_a_target_are_ignored(fit):
    x, y = normal(100, 3), normal(100, 2)
    keep = torch.arange(100) % 4 != 0
    gaps = y.clone()
    gaps[~keep, 1] = math.nan
    close(fit(x, gaps).predict(x), fit(x[keep], y[keep]).predict(x))
    assert r2(gaps, x[:, :2]) == r2(y[keep], x[keep, :2])


@pytest.mark.parametrize("fit", [fit_linear, fit_mlp])
def test_samples_of_features_are_decoded_as_each_by_itself(fit):
    decoder = fit(normal(100, 3), normal(100, 2))
    samples = normal(7, 11, 3)
    assert decoder.predict(samples).shape == (7, 11, 2)
    close(decoder.predict(samples)[4], decoder.predict(samples[4]), atol=1e-6)


@pytest.mark.parametrize("fit", [fit_linear, fit_mlp])
@pytest.mark.parametrize(
    ("features", "targets", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, 1), "at least 20 bins with a known target .* got 0"),
        (torch.zeros(30, 3), torch.full((30, 1), math.nan), "got 0 of 30"),
        (torch.zeros(30, 3), torch.zeros(29, 1), "over the same bins"),
        (torch.zeros(30, 3), torch.zeros(30), "over the same bins"),
        (torch.full((30, 3), math.nan), torch.zeros(30, 1), "features: expected finite ones"),
    ],
)
def test_too_little_to_fit_gives_one_line(fit, features, targets, message):
    with pytest.raises(ValueError, match=message) as caught:
        fit(features, targets)
    assert "\n" not in str(caught.value)


def test_settings_out_of_range_are_refused():
    x, y = normal(30, 2), normal(30, 1)
    with pytest.raises(ValueError, match="penalty: expected a number from 0"):
        fit_linear(x, y, -1.0)
    with pytest.raises(ValueError, match="hidden: expected a list of whole numbers from 1"):
        fit_mlp(x, y, hidden=(0,))
    with pytest.raises(ValueError, match="groups: expected shape"):
        fit_linear(x, y, groups=torch.zeros(3))
