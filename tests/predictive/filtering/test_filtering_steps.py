"""Single steps of the Kalman filter against the whole and against finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from predictive.filtering import (
    Full,
    Gaussian,
    condition,
    filter_step,
    kalman_filter,
    log_likelihood,
    predict,
)
from tests.support.predictive.filtering_models import (
    LATENTS,
    SAMPLES,
    STATES,
    STEPS,
    close,
    data,
    random_model,
)

each_case = pytest.mark.parametrize("kind", ["variances", "per-sample variances", "full"])


def step_inputs(kind, dtype=torch.float64):
    """The arguments of a step for a batch, all of which want gradients."""

    def normal(*shape):
        return torch.randn(shape, dtype=dtype).requires_grad_()

    def noise(size):
        if kind == "full":
            return normal(SAMPLES, size, size)
        return normal(size) if kind == "variances" else normal(SAMPLES, size)

    lead = (SAMPLES,) if kind in ("per-sample variances", "full") else ()
    return (
        normal(SAMPLES, STATES),
        normal(*lead, STATES, STATES),
        normal(SAMPLES, LATENTS),
        normal(*lead, STATES, STATES),
        normal(*lead, STATES),
        normal(*lead, LATENTS, STATES),
        noise(STATES),
        noise(LATENTS),
        normal(*lead, LATENTS),
    )


def step(fused, mask, kind, mean, root, z, a, b, d, q, r, c):
    """The four results of a step, from roots of covariances and logarithms of variances."""

    def noise(value):
        if kind != "full":
            return value.exp()
        return Full(value @ value.mT + 0.1 * torch.eye(value.shape[-1], dtype=value.dtype))

    belief = Gaussian(mean, torch.linalg.cholesky(root @ root.mT))
    if fused:
        after, prediction = filter_step(belief, z, a, b, d, noise(q), noise(r), c, mask)
    else:
        prior = predict(belief, a, b, noise(q))
        after, prediction = condition(prior, z, d, noise(r), c, mask)
    return after.mean, after.factor, prediction.mean, prediction.factor


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


def written_out(mask, kind, mean, root, z, a, b, d, q, r, c):
    """The same results from the textbook's equations, which autograd differentiates."""

    def noise(value):
        if kind == "full":
            return value @ value.mT + 0.1 * torch.eye(value.shape[-1], dtype=value.dtype)
        return torch.diag_embed(value.exp())

    def times(matrix, vector):
        return (matrix @ vector[..., None])[..., 0]

    h = times(a, mean - b) + b
    p = a @ root @ root.mT @ a.mT + noise(q)
    predicted, s = times(d, h) + c, d @ p @ d.mT + noise(r)
    seen = torch.ones_like(z, dtype=torch.bool) if mask is None else mask
    both = seen[:, :, None] & seen[:, None, :]
    hidden = torch.where(both, s, torch.eye(LATENTS, dtype=s.dtype))
    gain = p @ (d * seen[:, :, None]).mT @ torch.linalg.inv(hidden)
    after = h + times(gain, torch.where(seen, z - predicted, 0.0))
    covariance = p - gain @ hidden @ gain.mT
    return after, torch.linalg.cholesky(covariance), predicted, torch.linalg.cholesky(s)


@pytest.mark.parametrize("kind", ["variances", "per-sample variances", "mixed", "full"])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_step_and_its_gradients_are_those_of_its_equations(kind, fused, masked):
    mask = torch.tensor([[True, True], [True, False], [False, False]]) if masked else None
    inputs, found = step_inputs(kind), []
    shapes = [x.shape for x in written_out(mask, kind, *inputs)]
    weights = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    for results in (step(fused, mask, kind, *inputs), written_out(mask, kind, *inputs)):
        total = sum((w * x).sum() for w, x in zip(weights, results, strict=True))
        values = [x.expand(shape) for x, shape in zip(results, shapes, strict=True)]
        found.append((*values, *torch.autograd.grad(total, inputs)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=1e-8)


@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_fused_step_is_a_prediction_and_a_condition(kind, dtype):
    inputs = step_inputs(kind, dtype)
    found = []
    for fused in (False, True):
        results = step(fused, None, kind, *inputs)
        total = sum((i + 1) * x.cos().sum() for i, x in enumerate(results))
        found.append((*results, *torch.autograd.grad(total, inputs)))
    tolerance = 1e-9 if dtype == torch.float64 else 1e-3
    for apart, together in zip(*found, strict=True):
        assert apart.dtype == together.dtype == dtype
        assert (apart - together).norm() <= tolerance * apart.norm()


@pytest.mark.parametrize("fused", [False, True])
def test_a_missing_value_may_be_nan_in_a_step(fused):
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    inputs = step_inputs("variances")
    found = []
    for fill in (torch.nan, 1e6):
        z = torch.where(mask, inputs[2], fill).detach().requires_grad_()
        given = (*inputs[:2], z, *inputs[3:])
        results = step(fused, mask, "variances", *given)
        gradients = torch.autograd.grad(sum(x.sum() for x in results), given)
        found.append((*results, *gradients))
        assert (gradients[2][~mask] == 0).all()
    close(found[0], found[1], atol=0)


def test_a_loop_of_steps_has_the_gradients_of_the_filter():
    model, (z, _) = random_model(), data()
    found = []
    for whole in (True, False):
        a, q = (x.clone().requires_grad_() for x in (model.transition, model.process_noise))
        if whole:
            given = replace(model, transition=a, process_noise=q)
            value = log_likelihood(given, z).sum()
        else:
            covariance = torch.linalg.cholesky(model.initial_covariance)
            belief = Gaussian(model.initial_mean.expand(SAMPLES, -1), covariance)
            value = 0.0
            for now in z.unbind(1):
                belief, prediction = filter_step(
                    belief,
                    now,
                    a,
                    model.offset,
                    model.observation_matrix,
                    q,
                    model.observation_noise,
                    model.observation_offset,
                )
                factor = prediction.factor.expand(SAMPLES, -1, -1)
                one = torch.distributions.MultivariateNormal(prediction.mean, scale_tril=factor)
                value = value + one.log_prob(now).sum()
        found.append((value, *torch.autograd.grad(value, [a, q])))
    close(found[0], found[1], atol=1e-8)


@pytest.mark.parametrize("number", range(9))
def test_a_step_has_the_gradient_of_each_input_alone(number):
    inputs = step_inputs("per-sample variances")
    whole = torch.autograd.grad(sum(x.sum() for x in step(True, None, "mixed", *inputs)), inputs)
    alone = [x.detach() for x in inputs]
    alone[number].requires_grad_()
    total = sum(x.sum() for x in step(True, None, "mixed", *alone))
    close(torch.autograd.grad(total, alone[number])[0], whole[number], atol=1e-12)


def test_gradients_that_half_precision_cannot_hold_are_its_largest_numbers():
    mean = torch.zeros(2, dtype=torch.float16, requires_grad=True)
    belief = Gaussian(mean, torch.eye(2, dtype=torch.float16))
    identity = torch.eye(2, dtype=torch.float16)
    ahead = predict(belief, identity, torch.zeros(2), torch.ones(2))
    (gradient,) = torch.autograd.grad(ahead.mean, mean, torch.tensor([1e6, -1e6]))
    assert gradient.tolist() == [65504.0, -65504.0]


def test_a_step_believes_two_sensors_that_say_the_same_without_noise():
    one = torch.ones(1, 1, dtype=torch.float64)
    sensors, noise = torch.ones(2, 1, dtype=torch.float64), 1e-20 * torch.ones(2).double()
    z = torch.full((2,), 0.7, dtype=torch.float64)
    after, prediction = condition(Gaussian(0.0 * one[0], one), z, sensors, noise)
    close(after.mean, 0.7 * one[0], atol=1e-6)
    assert prediction.factor.isfinite().all()
