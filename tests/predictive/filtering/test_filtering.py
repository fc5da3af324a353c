"""The Kalman filter and smoother against dense Gaussians and golden values."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from predictive.filtering import (
    Full,
    StateSpaceModel,
    kalman_filter,
    kalman_smoother,
    log_density,
    log_likelihood,
    predict_observations,
)
from tests.support import DATA
from tests.support.predictive.filtering_models import (
    KINDS,
    MASKS,
    METHODS,
    SAMPLES,
    STATES,
    STEPS,
    close,
    conditioned,
    data,
    dense,
    of,
    random_model,
)

GOLDEN = DATA / "kalman_filter.npz"
each_method = pytest.mark.parametrize("method", METHODS)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_mask = pytest.mark.parametrize("masked", MASKS)


@each_method
@each_mask
@each_kind
def test_filter_and_smoother_are_conditioning_of_the_joint_gaussian(kind, masked, method):
    model, (z, mask) = random_model(kind), data(masked)
    smoothed = kalman_smoother(model, z, mask, method)
    filtered = smoothed.filtered
    total = log_likelihood(model, z, mask, method)
    known = torch.isfinite(z)
    for i in range(SAMPLES):
        mean, covariance, offset, m = dense(model, i)
        for t in range(STEPS):
            h = torch.arange(t * STATES, (t + 1) * STATES)
            future = offset + torch.arange(t * m, (t + 1) * m)
            for result, wanted, end in (
                (filtered.predicted_states, h, t),
                (filtered.predictions, future, t),
                (filtered.states, h, t + 1),
                (smoothed.states, h, STEPS),
            ):
                seen = offset + known[i, :end].flatten().nonzero()[:, 0]
                values = z[i, :end][known[i, :end]]
                close(of(result, i, t), conditioned(mean, covariance, wanted, seen, values))
        seen = offset + known[i].flatten().nonzero()[:, 0]
        joint = torch.distributions.MultivariateNormal(mean[seen], covariance[seen][:, seen])
        close(total[i], joint.log_prob(z[i][known[i]]))


@each_method
@pytest.mark.parametrize("case", ["square", "overcomplete"])
def test_values_and_gradients_equal_the_reference(case, method):
    with np.load(GOLDEN) as file:
        arrays = dict(file)
    golden = {k.split("/")[1]: torch.from_numpy(arrays[k]) for k in arrays if k.startswith(case)}
    names = ("z", "A", "b", "log_Sigma_A_diag", "log_scale")
    z, transition, offset, log_process, log_scale = (
        golden[name].clone().requires_grad_() for name in names
    )
    scale, states = log_scale.exp(), len(offset)
    observation = scale * golden["log_Sigma_D_diag"].exp()
    # The reference's state before the first transition is N(0, I).
    model = StateSpaceModel(
        torch.zeros(states, dtype=z.dtype),
        torch.eye(states, dtype=z.dtype),
        transition,
        offset,
        golden["D"],
        scale * log_process.exp(),
        observation,
    )
    posterior = kalman_filter(model, z, method=method)
    # Its predicted covariances are D P Dᵀ, to which its loss adds R, without the constant.
    projected = posterior.predictions.covariance - observation.diag()
    loss = -log_density(z.detach(), posterior.predictions).sum(dim=1).mean()
    loss = loss - 0.5 * math.log(2 * math.pi) * z[0].numel()
    loss.backward()

    close(posterior.predictions.mean, golden["predictions"])
    close(projected.expand(len(z), -1, -1, -1), golden["prediction_covariances"])
    close(posterior.states.mean, golden["estimates"])
    close(posterior.states.covariance.expand(len(z), -1, -1, -1), golden["estimates_covariances"])
    close(loss, golden["loss"])
    for name, value in zip(names, (z, transition, offset, log_process, log_scale), strict=True):
        close(value.grad, golden[f"grad_{name}"])


@each_mask
@each_kind
def test_parallel_and_sequential_agree_in_values_and_gradients(kind, masked):
    z, mask = data(masked)
    original = random_model(kind)
    found = []
    for method in ("sequential", "parallel", "auto"):
        model = replace(
            original,
            transition=original.transition.clone().requires_grad_(),
            observation_matrix=original.observation_matrix.clone().requires_grad_(),
        )
        smoothed = kalman_smoother(model, z, mask, method)
        states, likelihood = smoothed.states, smoothed.filtered.log_likelihood
        # Weights, since a sum of squares would hide a step exchanged for another.
        torch.manual_seed(1)
        total = sum(
            (torch.randn_like(x) * x).sum() for x in (states.mean, states.covariance, likelihood)
        )
        gradients = torch.autograd.grad(total, [model.transition, model.observation_matrix])
        found.append((states.mean, states.covariance, likelihood, *gradients))
    close(found[0], found[1])
    close(found[0], found[2])


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 33])
def test_parallel_and_sequential_agree_at_any_length(steps):
    model = random_model(states=2, latents=1, steps=steps)
    z = torch.randn(2, steps, 1, dtype=torch.float64)
    varying = replace(model, process_noise=torch.rand(steps, 2, dtype=torch.float64) + 0.1)
    for each in (model, varying):
        sequential, parallel = (
            kalman_smoother(each, z, None, m) for m in ("sequential", "parallel")
        )
        close(sequential.states.mean, parallel.states.mean)
        close(sequential.states.covariance, parallel.states.covariance)


def test_log_likelihood_is_the_sum_of_one_step_log_densities():
    model, (z, mask) = random_model("per-sample"), data("dimensions")
    predictions = predict_observations(model, z, mask)
    by_step = kalman_filter(model, z, mask).log_likelihood
    close(log_density(z, predictions, mask), by_step)
    close(log_likelihood(model, z, mask), by_step.sum(dim=1))
    i, t = (mask.all(dim=2)).nonzero()[0].tolist()
    one = torch.distributions.MultivariateNormal(*of(predictions, i, t))
    close(by_step[i, t], one.log_prob(z[i, t]))


@each_method
def test_a_masked_step_is_a_step_left_out(method):
    """Two transitions with no observation between are one, of AA and AQAᵀ + Q."""
    model, (z, _) = random_model(), data()
    mask = torch.ones(1, STEPS, dtype=torch.bool)
    mask[0, 3] = False
    a, q = model.transition, model.process_noise.diag()
    transitions, noises = a.repeat(STEPS, 1, 1), q.repeat(STEPS, 1, 1)
    transitions[4], noises[4] = a @ a, a @ q @ a.T + q
    kept = [t for t in range(STEPS) if t != 3]
    shorter = replace(model, transition=transitions[kept], process_noise=Full(noises[kept]))
    masked = kalman_smoother(model, z, mask, method)
    left_out = kalman_smoother(shorter, z[:, kept], None, method)
    close(masked.states.mean[:, kept], left_out.states.mean)
    close(masked.states.covariance[:, kept], left_out.states.covariance)
    close(masked.filtered.log_likelihood[:, kept], left_out.filtered.log_likelihood)
    assert masked.filtered.log_likelihood[:, 3].abs().max() < 1e-13


@pytest.mark.parametrize("masked", ["steps", "dimensions", "shared"])
def test_missing_values_reach_neither_outputs_nor_gradients(masked):
    (z, mask), model = data(masked), random_model()
    other = torch.where(torch.isfinite(z), z, 1e6)
    found = []
    for values in (z.clone(), other):
        values.requires_grad_()
        transition = model.transition.clone().requires_grad_()
        posterior = kalman_smoother(replace(model, transition=transition), values, mask)
        predictions = posterior.filtered.predictions
        total = posterior.states.mean.sum() + posterior.filtered.log_likelihood.sum()
        total = total + log_density(values, predictions, mask).sum()
        total.backward()
        found.append((total, values.grad, transition.grad, posterior.states.mean))
    close(found[0], found[1], atol=0)
    assert all(torch.isfinite(x).all() for x in found[0])
    assert (found[0][1][~torch.isfinite(z)] == 0).all()


def test_nothing_observed_at_all_leaves_the_prior():
    model, (z, _) = random_model(), data()
    nothing = torch.zeros(SAMPLES, STEPS, dtype=torch.bool)
    posterior = kalman_smoother(model, z * torch.nan, nothing)
    close(posterior.states.mean, posterior.filtered.predicted_states.mean)
    assert posterior.filtered.log_likelihood.abs().max() < 1e-13


@each_mask
@each_kind
def test_each_sample_of_a_batch_is_as_if_alone(kind, masked):
    model, (z, mask) = random_model(kind), data(masked)
    together = kalman_smoother(model, z, mask)
    for i in range(SAMPLES):
        alone = model
        if kind == "per-sample":
            names = [f.name for f in fields(model) if not f.name.startswith("initial")]
            alone = replace(model, **{name: getattr(model, name)[i : i + 1] for name in names})
        own = None if mask is None else mask[i % len(mask)][None]
        single = kalman_smoother(alone, z[i : i + 1], own)
        close(together.states.mean[i], single.states.mean[0])
        close(together.filtered.log_likelihood[i], single.filtered.log_likelihood[0])
