"""The linear-Gaussian state-space model against dense Gaussians, golden values, closed forms."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import predictive.filtering.preparation
from predictive.filtering import (
    Full,
    Gaussian,
    StateSpaceModel,
    condition,
    kalman_filter,
    kalman_smoother,
    log_density,
    log_likelihood,
    predict,
    predict_observations,
    sample_model,
    sample_posterior,
)

GOLDEN = Path(__file__).parent / "data" / "kalman_filter.npz"
SAMPLES, STEPS, STATES, LATENTS = 3, 7, 4, 2
each_method = pytest.mark.parametrize("method", ["sequential", "parallel", "auto"])
each_kind = pytest.mark.parametrize("kind", ["constant", "in-time", "per-sample", "full"])
each_mask = pytest.mark.parametrize("masked", ["nothing", "steps", "dimensions", "shared"])


def close(actual, expected, atol=1e-9):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def random_model(kind="constant", dtype=torch.float64, states=STATES, latents=LATENTS, steps=STEPS):
    lead = {"constant": (), "in-time": (steps,), "per-sample": (SAMPLES, steps), "full": ()}[kind]

    def normal(*shape):
        return torch.randn(shape, dtype=dtype)

    def noise(*shape):
        if kind != "full":
            return normal(*shape).exp()
        root = normal(*shape, shape[-1])
        return Full(root @ root.mT + 0.1 * torch.eye(shape[-1], dtype=dtype))

    return StateSpaceModel(
        initial_mean=normal(states),
        initial_covariance=torch.cov(normal(states, 3 * states)),
        transition=normal(*lead, states, states) / states**0.5,
        offset=normal(*lead, states),
        observation_matrix=normal(*lead, latents, states),
        process_noise=noise(*lead, states),
        observation_noise=noise(*lead, latents),
        observation_offset=normal(*lead, latents),
    )


def data(masked="nothing", dtype=torch.float64):
    z = torch.randn(SAMPLES, STEPS, LATENTS, dtype=dtype)
    if masked == "nothing":
        return z, None
    shape = {
        "steps": (SAMPLES, STEPS),
        "dimensions": (SAMPLES, STEPS, LATENTS),
        "shared": (1, STEPS, LATENTS),
    }[masked]
    mask = torch.rand(shape) < 0.6
    known = mask if mask.ndim == 3 else mask[..., None]
    return torch.where(known, z, torch.nan), mask


def matrix(noise):
    return noise.covariance if isinstance(noise, Full) else torch.diag_embed(noise)


def at(value, sample, step, ndim):
    """The parameter of one sample and step, of the `ndim` dimensions of its own."""
    if value.ndim == ndim + 2:
        return value[sample, step]
    return value[step] if value.ndim == ndim + 1 else value


def dense(model, sample):
    """Mean and covariance of all states and all observations of a sample, step by step built."""
    n, m = model.transition.shape[-1], model.observation_matrix.shape[-2]
    h, p = model.initial_mean, model.initial_covariance
    mean, blocks, covariance = [], [], h.new_zeros(0, 0)
    for t in range(STEPS):
        a, b = at(model.transition, sample, t, 2), at(model.offset, sample, t, 1)
        h = a @ (h - b) + b
        p = a @ p @ a.T + at(matrix(model.process_noise), sample, t, 2)
        blocks = [a @ x for x in blocks]  # cov(h_t, h_s) for s < t
        mean.append(h)
        blocks.append(p)
        row = torch.cat(blocks, dim=1)
        covariance = torch.cat([torch.cat([covariance, row[:, : t * n].T], dim=1), row])
    d = torch.block_diag(*(at(model.observation_matrix, sample, t, 2) for t in range(STEPS)))
    r = torch.block_diag(*(at(matrix(model.observation_noise), sample, t, 2) for t in range(STEPS)))
    c = torch.cat([at(model.observation_offset, sample, t, 1) for t in range(STEPS)])
    states = torch.cat(mean)
    joint = torch.cat([covariance, d @ covariance])
    joint = torch.cat([joint, torch.cat([covariance @ d.T, d @ covariance @ d.T + r])], dim=1)
    return torch.cat([states, d @ states + c]), joint, STEPS * n, m


def conditioned(mean, covariance, wanted, known, values):
    gain = torch.linalg.solve(covariance[known][:, known], covariance[known][:, wanted]).T
    return (
        mean[wanted] + gain @ (values - mean[known]),
        covariance[wanted][:, wanted] - gain @ covariance[known][:, wanted],
    )


def of(gaussian, sample, step):
    covariance = gaussian.covariance
    return gaussian.mean[sample, step], covariance[sample % covariance.shape[0], step]


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
    arrays = np.load(GOLDEN)
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


def test_a_second_derivative_is_refused_rather_than_wrong():
    model, (z, _) = random_model(), data()
    noise = model.process_noise.clone().requires_grad_()
    value = log_likelihood(replace(model, process_noise=noise), z).sum()
    (gradient,) = torch.autograd.grad(value, noise, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


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


@pytest.mark.parametrize("method", ["sequential", "parallel"])
@pytest.mark.parametrize("precision", ["widened", "single"])
def test_covariances_stay_positive_definite_in_float32(method, precision, monkeypatch):
    """10,000 steps. Widened is what a CPU does, single what devices without float64 do.

    In single precision the first updates, which shrink variances by ten orders, are inexact.
    """
    steps = 10_000
    exact_model = delicate(torch.float64)
    _, z = sample_model(exact_model, 1, steps)
    exact = kalman_smoother(exact_model, z, None, "sequential")
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


@pytest.mark.parametrize("masked", ["nothing", "dimensions"])
def test_single_steps_make_up_the_filter(masked):
    model, (z, mask) = random_model(), data(masked)
    whole = kalman_filter(model, z, mask)
    belief = Gaussian(
        model.initial_mean.expand(SAMPLES, -1), torch.linalg.cholesky(model.initial_covariance)
    )
    for t in range(STEPS):
        belief = predict(belief, model.transition, model.offset, model.process_noise)
        belief, prediction = condition(
            belief,
            z[:, t],
            model.observation_matrix,
            model.observation_noise,
            model.observation_offset,
            None if mask is None else mask[:, t],
        )
        close(prediction.mean, whole.predictions.mean[:, t])
        close(belief.mean, whole.states.mean[:, t])
        close(
            belief.covariance.expand(SAMPLES, -1, -1),
            whole.states.covariance[:, t].expand(SAMPLES, -1, -1),
        )


def moments_agree(draws, mean, covariance):
    """Within five standard errors of each mean, and of each entry of the covariance."""
    count, deviation = len(draws), covariance.diagonal().sqrt()
    assert ((draws.mean(dim=0) - mean).abs() < 5 * deviation / count**0.5).all()
    scale = deviation[:, None] * deviation
    assert ((torch.cov(draws.T) - covariance).abs() < 5 * scale * (2 / count) ** 0.5).all()


@each_method
def test_samples_have_the_moments_of_the_model(method):
    model, count = random_model("in-time"), 20_000
    h, z = sample_model(model, count, STEPS, torch.Generator().manual_seed(3), method)
    mean, covariance, _, _ = dense(model, 0)
    moments_agree(torch.cat([h.flatten(1), z.flatten(1)], dim=1), mean, covariance)


@each_method
@pytest.mark.parametrize("masked", ["nothing", "dimensions"])
def test_posterior_paths_have_the_joint_posterior_moments(masked, method):
    model, (z, mask) = random_model("full"), data(masked)
    generator = torch.Generator().manual_seed(3)
    paths = sample_posterior(model, z, 20_000, mask, generator, method)
    assert paths.shape == (20_000, SAMPLES, STEPS, STATES)
    for i in range(SAMPLES):
        mean, covariance, offset, _ = dense(model, i)
        known = torch.isfinite(z[i])
        seen = offset + known.flatten().nonzero()[:, 0]
        expected = conditioned(mean, covariance, torch.arange(offset), seen, z[i][known])
        moments_agree(paths[:, i].flatten(1), *expected)


def test_the_same_generator_gives_the_same_samples_and_gradients_reach_them():
    model = random_model()
    noise = model.process_noise.clone().requires_grad_()
    draws = [
        sample_model(replace(model, process_noise=noise), 2, 5, torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    ]
    close(draws[0], draws[1], atol=0)
    assert not torch.equal(draws[0][0], draws[2][0])
    draws[0][0].sum().backward()
    assert (noise.grad != 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_results_have_the_type_of_the_observations_and_at_least_float32(dtype):
    model, (z, _) = random_model(dtype=torch.float32), data(dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        posterior = kalman_filter(model, z)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert posterior.states.mean.dtype == expected
    assert posterior.predictions.factor.dtype == expected
    assert posterior.log_likelihood.dtype == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transition": torch.ones(4, 3)}, r"transition expects shape \(3, 3\).*got \(4, 3\)"),
        ({"transition": torch.ones(3)}, r"transition expects a matrix, got shape \(3,\)"),
        ({"transition": torch.eye(4).repeat(6, 1, 1)}, r"\(7, 4, 4\).*got \(6, 4, 4\)"),
        ({"offset": torch.ones(5)}, r"offset expects shape \(4\).*got \(5,\)"),
        ({"offset": torch.full((4,), torch.nan)}, "offset expects finite values, got NaN"),
        ({"initial_mean": torch.ones(2, 4)}, r"initial_mean expects shape \(4\) or \(3, 4\)"),
        ({"initial_covariance": -torch.eye(4)}, "initial_covariance expects positive definite"),
        ({"process_noise": torch.zeros(4)}, "process_noise expects variances above zero, got 0"),
        ({"observation_noise": Full(torch.ones(2, 2))}, "observation_noise expects positive defi"),
        ({"observation_noise": Full(torch.eye(2).tril() + torch.ones(2, 2).tril())}, "symmetric"),
        ({"observation_offset": torch.ones(3)}, r"observation_offset expects shape \(2\)"),
    ],
)
def test_a_wrong_model_is_one_clear_line(change, message):
    with pytest.raises(ValueError, match=message) as error:
        kalman_filter(replace(random_model(), **change), data()[0])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("z", "mask", "message"),
    [
        (torch.ones(7, 2), None, r"observations expects .* \(B, T, 2\).*got \(7, 2\)"),
        (torch.ones(3, 7, 3), None, r"got \(3, 7, 3\)"),
        (torch.ones(3, 7, 2, dtype=torch.int64), None, "floating-point"),
        (torch.ones(3, 0, 2), None, "T at least 1"),
        (torch.full((3, 7, 2), torch.nan), None, "mark missing values as false in the mask"),
        (torch.ones(3, 7, 2), torch.ones(2, 7, dtype=torch.bool), r"mask .* got \(2, 7\)"),
        (torch.ones(3, 7, 2), torch.ones(3, 7), "mask expects booleans"),
    ],
)
def test_wrong_observations_are_one_clear_line(z, mask, message):
    with pytest.raises(ValueError, match=message) as error:
        kalman_filter(random_model(), z, mask)
    assert "\n" not in str(error.value)


def test_wrong_settings_are_one_clear_line():
    model, (z, _) = random_model(), data()
    with pytest.raises(ValueError, match="method expects one of auto, sequential, parallel"):
        kalman_filter(model, z, method="fast")
    with pytest.raises(ValueError, match="at least one draw, got 0"):
        sample_posterior(model, z, 0)
    with pytest.raises(ValueError, match="at least one sample and one step, got 0 and 5"):
        sample_model(model, 0, 5)
    with pytest.raises(ValueError, match=r"shape of the Gaussian's mean, \(3, 7, 2\)"):
        log_density(z[:, :3], predict_observations(model, z))
