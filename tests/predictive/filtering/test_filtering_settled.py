"""Covariances that have converged are taken for their limit: the numbers are those of a loop."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from predictive.filtering import (
    StateSpaceModel,
    kalman_filter,
    kalman_smoother,
    log_likelihood,
    predict_observations,
)
from predictive.filtering.covariances import Recursion, looped_covariances
from predictive.filtering.settled import constant_affine
from predictive.filtering.types import Method
from tests.support.predictive.filtering_models import close

STEPS = 300
MANY = 1100  # more than are waited for


def model_of(growth: float, dtype: torch.dtype, n: int = 4, m: int = 3) -> StateSpaceModel:
    """Return a model whose transition is a rotation times a factor."""
    random = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(n, n, generator=random, dtype=torch.float64)).Q
    parameters = {
        "initial_mean": torch.ones(n),
        "initial_covariance": 3.0 * torch.eye(n),
        "transition": growth * rotation,
        "offset": torch.linspace(-1, 1, n),
        "observation_matrix": torch.randn(m, n, generator=random),
        "process_noise": torch.linspace(0.1, 0.5, n),
        "observation_noise": torch.linspace(0.5, 2.0, m),
    }
    return StateSpaceModel(**{key: x.to(dtype) for key, x in parameters.items()})


def recursion_of(model: StateSpaceModel) -> Recursion:
    """Return the recursion of a model's covariances."""
    noises = (model.process_noise, model.observation_noise)
    q, r = (torch.as_tensor(x).double().diag()[None, None] for x in noises)
    a, d = (x.double()[None, None] for x in (model.transition, model.observation_matrix))
    return Recursion(a, q, d, r, model.initial_covariance.double()[None], None)


def outcome(model: StateSpaceModel, z: torch.Tensor, method: Method) -> dict[str, torch.Tensor]:
    """Return all results, and the gradients of a function of each."""
    names = ("transition", "offset", "observation_matrix", "process_noise", "observation_noise")
    leaves = {name: getattr(model, name).clone().requires_grad_() for name in names}
    leaves["observations"] = z.clone().requires_grad_()
    given = replace(model, **{name: leaves[name] for name in names})
    smoothed = kalman_smoother(given, leaves["observations"], method=method)
    filtered = smoothed.filtered
    found = {"log_likelihood": filtered.log_likelihood}
    for name, one in (
        ("states", filtered.states),
        ("predicted", filtered.predicted_states),
        ("predictions", filtered.predictions),
        ("smoothed", smoothed.states),
    ):
        found |= {f"{name} mean": one.mean, f"{name} factor": one.factor}
    parts = []
    for x in found.values():
        weights = torch.linspace(-1, 1, x.shape[1], dtype=x.dtype)
        parts.append((x.sin() * weights.view(1, -1, *(1,) * (x.ndim - 2))).sum())
    value = torch.stack(parts).sum()
    gradients = torch.autograd.grad(value, list(leaves.values()))
    return found | dict(zip(leaves, gradients, strict=True))


@pytest.mark.parametrize(("dtype", "share"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_results_and_gradients_are_those_of_a_loop(dtype, share):
    model = model_of(0.95, dtype)
    z = torch.randn(2, STEPS, 3, dtype=dtype)
    expected = outcome(model, z, "sequential")
    for name, value in outcome(model, z, "auto").items():
        reference = expected[name].expand_as(value)
        assert (value - reference).abs().max() <= share * reference.abs().max(), name


@pytest.mark.parametrize("after", [1, 2, 200])  # steps after covariances have converged
def test_predictions_without_means_of_states_are_those_of_a_loop(after):
    model = model_of(0.5, torch.float64)
    converged = looped_covariances(recursion_of(model), STEPS, 1e-13).filtered
    z = torch.randn(2, len(converged) + after, 3, dtype=torch.float64)
    found = {}
    for method in ("auto", "sequential"):
        leaves = model.transition.clone().requires_grad_(), z.clone().requires_grad_()
        given = replace(model, transition=leaves[0])
        predicted = predict_observations(given, leaves[1], method=method)
        value = log_likelihood(given, leaves[1], method=method).sum() + predicted.mean.sin().sum()
        found[method] = (value, predicted.mean, *torch.autograd.grad(value, leaves))
    for auto, expected in zip(*found.values(), strict=True):
        close(auto, expected)


def test_fewer_steps_are_computed_where_covariances_converge_and_all_where_they_do_not():
    steps = {}
    for growth in (0.5, 0.99):
        steps[growth] = len(
            looped_covariances(recursion_of(model_of(growth, torch.float64)), STEPS, 1e-9).filtered
        )
    assert steps[0.5] <= steps[0.99] < STEPS // 2
    # A state that grows and is not observed has no limit; neither has one that drifts.
    for growth in (1.0, 1.01):
        model = model_of(growth, torch.float64)
        unseen = replace(
            model,
            transition=growth * torch.eye(4, dtype=torch.float64),
            observation_matrix=torch.eye(3, 4, dtype=torch.float64),
        )
        found = looped_covariances(recursion_of(unseen), STEPS, 1e-9)
        assert len(found.filtered) == STEPS
        close(found.filtered, looped_covariances(recursion_of(unseen), STEPS).filtered)
        z = torch.randn(2, MANY, 3, dtype=torch.float64)
        expected = log_likelihood(unseen, z, method="sequential")
        torch.testing.assert_close(log_likelihood(unseen, z), expected, rtol=1e-9, atol=0)


def test_a_limit_that_is_approached_slowly_is_waited_for():
    # Little noise of a state that is hardly seen: changes of a step are tiny long before the limit.
    model = replace(
        model_of(0.9999, torch.float64),
        observation_noise=torch.full((3,), 1e4, dtype=torch.float64),
    )
    recursion = recursion_of(model)
    found, whole = looped_covariances(recursion, 20000, 1e-6), looped_covariances(recursion, 20000)
    assert len(found.filtered) < 20000
    difference = (found.filtered[-1] - whole.filtered[-1]).abs()
    assert difference.max() < 2e-6 * whole.filtered[-1].diagonal(dim1=-2, dim2=-1).max()


def test_what_varies_or_is_missing_has_no_limit():
    model = model_of(0.9, torch.float64)
    z = torch.randn(2, STEPS, 3, dtype=torch.float64)
    noises = torch.rand(STEPS, 3, dtype=torch.float64) + 0.5
    mask = torch.rand(2, STEPS) < 0.7
    for one, known in ((replace(model, observation_noise=noises), None), (model, mask)):
        expected = kalman_filter(one, z, known, method="sequential")
        close(kalman_filter(one, z, known).states.mean, expected.states.mean)
        close(kalman_filter(one, z, known).states.factor, expected.states.factor)
        predicted = predict_observations(one, z, known)
        close(predicted.mean, expected.predictions.mean)


@pytest.mark.parametrize("columns", [1, 400])  # in blocks, and step by step
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 129, 2100])
def test_a_constant_recursion_is_its_loop(columns, reverse, steps):
    f = model_of(0.97, torch.float64).transition
    given = torch.randn(steps + 1, columns, 4, dtype=torch.float64)
    order = given.flip(0) if reverse else given
    expected = [order[0]]
    for shift in order[1:]:
        expected.append(expected[-1] @ f.T + shift)
    constant_affine(f, given, reverse)
    close(given.flip(0) if reverse else given, torch.stack(expected))
