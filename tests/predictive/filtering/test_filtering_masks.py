"""Samples of equal masks are filtered together: the numbers are those of each sample by itself."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from predictive.filtering import (
    inference,
    kalman_filter,
    kalman_smoother,
    log_likelihood,
    predict_observations,
)
from tests.support.predictive.filtering_models import STATES, close, random_model

SAMPLES, STEPS, LATENTS = 7, 6, 2
FUNCTIONS = (kalman_filter, kalman_smoother, predict_observations, log_likelihood)


@pytest.fixture(autouse=True)
def _small_models_are_worth_a_call(monkeypatch):
    monkeypatch.setattr("predictive.filtering.masks._WORTH_A_CALL", STATES**2)


@pytest.fixture
def groups(monkeypatch):
    """Return a list of how many recursions of covariances each pass of a filter has."""
    found, original = [], inference.filter_pass

    def counted(recursion, *arguments):
        found.append(len(recursion.initial))
        return original(recursion, *arguments)

    monkeypatch.setattr(inference, "filter_pass", counted)
    return found


def mixed_mask(by_dimension=False):
    """Return a mask of three samples where all is seen, two padded alike, and two of their own."""
    mask = torch.ones(SAMPLES, STEPS, LATENTS, dtype=torch.bool)
    mask[1, 2], mask[[2, 5], 4:], mask[6, 3, 0] = False, False, False
    return mask if by_dimension else mask[..., 0]


def tensors(found, samples=SAMPLES):
    """Return the tensors of a result, each over all samples."""
    if isinstance(found, torch.Tensor):
        return [found.expand(samples, *found.shape[1:])]
    return [x for field in fields(found) for x in tensors(getattr(found, field.name), samples)]


@pytest.mark.parametrize("by_dimension", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_results_and_gradients_are_those_of_each_sample_by_itself(function, by_dimension):
    torch.manual_seed(0)
    mask = mixed_mask(by_dimension)
    model = random_model(steps=STEPS)
    given = torch.randn(SAMPLES, STEPS, LATENTS, dtype=torch.float64)
    given[~mask] = torch.nan

    def outcome(filtered):
        leaf, z = model.transition.clone().requires_grad_(), given.clone().requires_grad_()
        found = filtered(replace(model, transition=leaf), z)
        weights = [torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view(x.shape) for x in found]
        value = sum((x * w).sum() for x, w in zip(found, weights, strict=True))
        return [*found, *torch.autograd.grad(value, (leaf, z))]

    def alone(one, z):
        rows = [slice(i, i + 1) for i in range(SAMPLES)]
        each = [tensors(function(one, z[i], mask[i]), 1) for i in rows]
        return [torch.cat(x) for x in zip(*each, strict=True)]

    together = outcome(lambda one, z: tensors(function(one, z, mask)))
    for value, expected in zip(together, outcome(alone), strict=True):
        close(value, expected)


def test_one_missing_bin_leaves_the_covariances_of_other_samples_common(groups):
    model, z = random_model(steps=STEPS), torch.zeros(SAMPLES, STEPS, LATENTS).double()
    mask = torch.ones(SAMPLES, STEPS, dtype=torch.bool)
    mask[3, 2] = False
    kalman_filter(model, z, mask)
    assert groups == [1, 1]
    groups.clear()
    kalman_filter(model, z, mixed_mask())
    assert groups == [1, 1, 2]  # all seen, padded alike, and those of their own


def test_samples_of_one_mask_have_covariances_in_common():
    model, z = random_model(steps=STEPS), torch.zeros(SAMPLES, STEPS, LATENTS).double()
    mask = torch.ones(SAMPLES, STEPS, dtype=torch.bool)
    mask[:, 4] = False
    found, expected = kalman_filter(model, z, mask), kalman_filter(model, z, mask[:1])
    assert found.states.factor.shape[0] == 1
    close(found.states.factor, expected.states.factor)


def test_few_samples_of_few_states_are_not_worth_a_filter_of_their_own(groups, monkeypatch):
    monkeypatch.setattr("predictive.filtering.masks._WORTH_A_CALL", 3 * STATES**2)
    model, z = random_model(steps=STEPS), torch.zeros(SAMPLES, STEPS, LATENTS).double()
    kalman_filter(model, z, mixed_mask())
    # Noise of each sample's own separates the covariances in any case.
    noise = torch.ones(SAMPLES, STEPS, LATENTS).double()
    monkeypatch.setattr("predictive.filtering.masks._WORTH_A_CALL", 0)
    kalman_filter(replace(model, observation_noise=noise), z, mixed_mask())
    assert groups == [SAMPLES, SAMPLES]


@pytest.mark.parametrize("shape", [(), (SAMPLES,), (SAMPLES, STEPS + 1), (SAMPLES, STEPS, 5)])
def test_a_mask_of_another_shape_is_refused_for_all_samples(shape):
    model, z = random_model(steps=STEPS), torch.zeros(SAMPLES, STEPS, LATENTS).double()
    with pytest.raises(ValueError, match=rf"mask: expected booleans \({SAMPLES}, {STEPS}\)"):
        kalman_filter(model, z, torch.ones(shape, dtype=torch.bool))
