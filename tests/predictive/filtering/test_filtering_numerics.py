"""Precision, derivatives and closed forms of the Kalman filter, and what it computes once."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import scipy.linalg
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import predictive.filtering.passes
import predictive.filtering.preparation
from predictive.filtering import (
    Full,
    StateSpaceModel,
    kalman_filter,
    kalman_smoother,
    log_likelihood,
    sample_model,
)
from tests.support.predictive.filtering_models import (
    KINDS,
    LATENTS,
    MASKS,
    METHODS,
    SAMPLES,
    STATES,
    STEPS,
    close,
    data,
    random_model,
)

each_method = pytest.mark.parametrize("method", METHODS)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_mask = pytest.mark.parametrize("masked", MASKS)


def test_steady_state_solves_the_riccati_equation():
    dt = 0.1
    transition = torch.tensor([[1.0, dt], [0.0, 1.0]]).double()
    position = torch.tensor([[1.0, 0.0]]).double()
    process = torch.tensor([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]).double()
    noise = torch.tensor([0.5]).double()
    zero, one = torch.zeros(2).double(), torch.eye(2).double()
    model = StateSpaceModel(zero, one, transition, zero, position, Full(process), noise)
    arrays = (x.numpy() for x in (transition.T, position.T, process, noise[None]))
    steady = scipy.linalg.solve_discrete_are(*arrays)
    predicted = kalman_filter(model, torch.zeros(1, 400, 1).double()).predicted_states
    close(predicted.covariance[0, -1], torch.from_numpy(steady))


def test_ar1_variance_is_the_root_of_its_quadratic():
    a, q, r = 0.9, 0.3, 0.7
    one = torch.ones(1, 1, dtype=torch.float64)
    model = StateSpaceModel(0 * one[0], one, a * one, 0 * one[0], one, q * one[0], r * one[0])
    variance = kalman_filter(model, torch.zeros(1, 200, 1).double()).predicted_states.variance
    b = r * (1 - a**2) - q
    close(variance[0, -1, 0].item(), (-b + math.sqrt(b**2 + 4 * q * r)) / 2)


def delicate(dtype):
    """Constant velocity with tiny noises: conditioned so that a naive update goes negative."""
    return StateSpaceModel(
        torch.zeros(4, dtype=dtype),
        torch.eye(4, dtype=dtype),
        torch.tensor([[1, 0.01, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.01], [0, 0, 0, 1]], dtype=dtype),
        torch.zeros(4, dtype=dtype),
        torch.tensor([[1, 0, 0, 0], [1, 0, 1e-3, 0]], dtype=dtype),
        torch.tensor([1e-10, 1e-6, 1e-9, 1e-6], dtype=dtype),
        torch.tensor([1e-10, 1e-4], dtype=dtype),
    )


@pytest.fixture(scope="module")
def exact():
    """Observations of 10,000 steps of the delicate model, and its smoother in float64."""
    torch.manual_seed(0)
    model = delicate(torch.float64)
    _, z = sample_model(model, 1, 10_000)
    return z, kalman_smoother(model, z, None, "parallel")


@pytest.mark.parametrize("method", ["sequential", "parallel"])
@pytest.mark.parametrize("precision", ["widened", "single"])
def test_covariances_stay_positive_definite_in_float32(method, precision, exact, monkeypatch):
    """10,000 steps. Widened is what a CPU does, single what devices without float64 do.

    In single precision the first updates, which shrink variances by ten orders, are inexact.
    """
    z, exact = exact
    if precision == "single":
        monkeypatch.setattr(predictive.filtering.preparation, "widen", lambda x: x)
    found = kalman_smoother(delicate(torch.float32), z.float(), None, method)
    settled, tolerance = (0, 1e-5) if precision == "widened" else (100, 5e-2)
    for gaussian, true in (
        (found.filtered.states, exact.filtered.states),
        (found.filtered.predicted_states, exact.filtered.predicted_states),
        (found.states, exact.states),
        (found.filtered.predictions, exact.filtered.predictions),
    ):
        assert gaussian.factor.dtype == torch.float32
        covariance = gaussian.covariance
        assert (covariance == covariance.mT).all()
        factor = gaussian.factor.double()
        assert (torch.linalg.eigvalsh(factor @ factor.mT) > 0).all()
        scale = true.variance.sqrt()
        error = (factor @ factor.mT - true.covariance) / (scale[..., None] * scale[..., None, :])
        assert error[:, settled:].abs().max() < tolerance


def test_nearly_noiseless_models_have_finite_gradients():
    model = delicate(torch.float32)
    noise = model.observation_noise.clone().requires_grad_()
    transition = model.transition.clone().requires_grad_()
    _, z = sample_model(model, 2, 500)
    model = replace(model, observation_noise=noise, transition=transition)
    log_likelihood(model, z).sum().backward()
    assert torch.isfinite(noise.grad).all()
    assert torch.isfinite(transition.grad).all()


class LargestFactorisation(TorchDispatchMode):
    """Counts the matrices of the largest batch that is factorised."""

    matrices = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "cholesky" in str(func):
            self.matrices = max(self.matrices, math.prod(args[0].shape[:-2]))
        return func(*args, **(kwargs or {}))


@each_method
def test_covariances_common_to_the_batch_are_computed_once(method):
    model = random_model("in-time")
    shared = torch.rand(1, STEPS, LATENTS) < 0.6
    z = torch.randn(SAMPLES, STEPS, LATENTS, dtype=torch.float64)
    offsets = torch.randn(SAMPLES, STEPS, STATES, dtype=torch.float64)
    for each in (model, replace(model, offset=offsets, initial_mean=offsets[:, 0])):
        with LargestFactorisation() as once:
            posterior = kalman_smoother(each, z, shared, method)
        assert once.matrices <= STEPS
        assert posterior.states.mean.shape == (SAMPLES, STEPS, STATES)
        assert posterior.states.covariance.shape == (1, STEPS, STATES, STATES)
        assert posterior.filtered.predictions.factor.shape == (1, STEPS, LATENTS, LATENTS)
    with LargestFactorisation() as apart:
        kalman_smoother(model, z, shared.repeat(SAMPLES, 1, 1), method)
    assert apart.matrices == SAMPLES * STEPS


@each_mask
@each_kind
@pytest.mark.parametrize("length", [1, 3])
def test_stretches_of_time_make_up_the_whole(length, kind, masked, monkeypatch):
    """Values and gradients do not depend on how many steps are worked on together."""
    (z, mask), original = data(masked), random_model(kind)
    found = []
    for numbers in (10**9, length * SAMPLES * STATES**2):
        monkeypatch.setattr(predictive.filtering.passes, "_NUMBERS", numbers)
        names = ("transition", "offset", "observation_matrix", "initial_mean", "initial_covariance")
        leaves = {name: getattr(original, name).clone().requires_grad_() for name in names}
        posterior = kalman_filter(replace(original, **leaves), z, mask, "sequential")
        torch.manual_seed(1)
        outputs = [x for g in (posterior.states, posterior.predictions) for x in (g.mean, g.factor)]
        outputs += [posterior.predicted_states.factor, posterior.log_likelihood]
        total = sum((torch.randn_like(x) * x).sum() for x in outputs)
        found.append((*outputs, *torch.autograd.grad(total, list(leaves.values()))))
    close(found[0], found[1])


def test_a_second_derivative_is_refused_rather_than_wrong():
    model, (z, _) = random_model(), data()
    noise = model.process_noise.clone().requires_grad_()
    value = log_likelihood(replace(model, process_noise=noise), z).sum()
    (gradient,) = torch.autograd.grad(value, noise, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@each_method
@each_kind
def test_gradients_pass_gradcheck(kind, method):
    """With respect to every parameter, through means, covariances and the likelihood."""
    steps = 3
    original = random_model(kind, states=2, latents=2, steps=steps)
    names = [field.name for field in fields(StateSpaceModel)]
    z = torch.randn(SAMPLES, steps, 2, dtype=torch.float64, requires_grad=True)
    mask = None if kind == "constant" else torch.rand(1, steps, 2) < 0.7

    def posterior(z, *values):
        # Squares of unconstrained roots, so that perturbed covariances stay symmetric.
        given = dict(zip(names, values, strict=True))
        for name in ("initial_covariance", "process_noise", "observation_noise"):
            full = isinstance(getattr(original, name), Full)
            if name == "initial_covariance" or full:
                square = given[name] @ given[name].mT
                given[name] = Full(square) if full else square
            else:
                given[name] = given[name].exp()
        result = kalman_smoother(StateSpaceModel(**given), z, mask, method)
        filtered = result.filtered
        gaussians = (result.states, filtered.states, filtered.predictions)
        outputs = [x for g in gaussians for x in (g.mean, g.covariance)]
        return (*outputs, filtered.log_likelihood)

    roots = []
    for name in names:
        value = getattr(original, name)
        if isinstance(value, Full):
            value = torch.linalg.cholesky(value.covariance)
        elif name == "initial_covariance":
            value = torch.linalg.cholesky(value)
        roots.append(value.clone().requires_grad_())
    assert torch.autograd.gradcheck(posterior, (z, *roots), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_results_have_the_type_of_the_observations_and_at_least_float32(dtype):
    model, (z, _) = random_model(dtype=torch.float32), data(dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        posterior = kalman_filter(model, z)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert posterior.states.mean.dtype == expected
    assert posterior.predictions.factor.dtype == expected
    assert posterior.log_likelihood.dtype == expected


@pytest.mark.parametrize("method", ["sequential", "parallel"])
@pytest.mark.parametrize(("growth", "holds"), [(1.02, True), (1.05, False)])
def test_a_state_that_grows_through_a_gap_is_smoothed_right_or_refused(method, growth, holds):
    gap, steps = slice(50, 850), 900
    one = torch.ones(1, dtype=torch.float64)
    model = StateSpaceModel(
        0.0 * one, one[None], growth * one[None], 0.0 * one, one[None], one, one
    )
    states, z = sample_model(model, 1, steps, torch.Generator().manual_seed(0))
    mask = torch.ones(1, steps, dtype=torch.bool)
    mask[:, gap] = False
    if not holds:
        with pytest.raises(ValueError, match=r"rounding leaves within 1%.*transition makes"):
            kalman_smoother(model, z, mask, method=method)
        return
    smoothed = kalman_smoother(model, z, mask, method=method).states
    error = (smoothed.mean - states) / smoothed.variance.sqrt()
    assert error[:, gap].abs().max() < 5
    assert 0.5 < error[:, gap].square().mean() < 2
