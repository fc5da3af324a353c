"""The filter's written-out adjoints against autograd through the textbook's equations."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from predictive.filtering import Full, StateSpaceModel, kalman_filter
from tests.support.predictive.filtering_models import (
    KINDS,
    LATENTS,
    MASKS,
    SAMPLES,
    STEPS,
    close,
    data,
    matrix,
    random_model,
)

OUTPUTS = ("states", "predicted_states", "predictions", "log_likelihood")


def at(value, t, core):
    """A parameter of every sample at a step."""
    while value.ndim < core + 2:
        value = value[None]
    return value[:, t if value.shape[1] > 1 else 0]


def times(matrix, vector):
    return (matrix @ vector[..., None])[..., 0]


def filtered(model, z, mask):
    """Means and covariances of states, predicted states and predictions, and the likelihood."""
    mean, covariance = model.initial_mean, model.initial_covariance
    noises = [matrix(one) for one in (model.process_noise, model.observation_noise)]
    found = []
    for t in range(z.shape[1]):
        a, d = at(model.transition, t, 2), at(model.observation_matrix, t, 2)
        b, c = at(model.offset, t, 1), at(model.observation_offset, t, 1)
        q, r = (at(one, t, 2) for one in noises)
        mean, covariance = times(a, mean - b) + b, a @ covariance @ a.mT + q
        predicted, innovation = times(d, mean) + c, d @ covariance @ d.mT + r
        before = mean.expand(SAMPLES, -1), covariance
        seen = mask[:, t, :].expand(SAMPLES, -1)
        both = seen[:, :, None] & seen[:, None, :]
        hidden = torch.where(both, innovation, torch.eye(LATENTS, dtype=z.dtype))
        gain = covariance @ (d * seen[:, :, None]).mT @ torch.linalg.inv(hidden)
        residual = torch.where(seen, z[:, t] - predicted, 0.0)
        distance = (residual * times(torch.linalg.inv(hidden), residual)).sum(dim=1)
        constant = seen.sum(dim=1) * torch.log(torch.tensor(2.0 * torch.pi, dtype=z.dtype))
        likelihood = -0.5 * (distance + torch.linalg.slogdet(hidden).logabsdet + constant)
        mean, covariance = mean + times(gain, residual), covariance - gain @ hidden @ gain.mT
        found.append((mean, covariance, *before, predicted, innovation, likelihood))
    return found


def compare(kind, masked, method, outputs, of_means=True):
    model, (z, mask) = random_model(kind), data(masked)
    known = torch.ones(1, 1, 1, dtype=torch.bool) if mask is None else mask
    known = (known if known.ndim == 3 else known[..., None]).expand(-1, STEPS, LATENTS)
    z = torch.where(known, z, 0.0).requires_grad_()
    leaves, given = [z], {}
    for field in fields(StateSpaceModel):
        value = getattr(model, field.name)
        leaf = (value.covariance if isinstance(value, Full) else value).clone().requires_grad_()
        leaves.append(leaf)
        given[field.name] = Full(leaf) if isinstance(value, Full) else leaf
    model = replace(model, **given)
    posterior = kalman_filter(model, z, mask, method)
    steps = filtered(model, z, known)
    ours = [posterior.log_likelihood]
    for name in OUTPUTS[:3]:
        gaussian = getattr(posterior, name)
        ours += [gaussian.mean, gaussian.covariance.expand(SAMPLES, -1, -1, -1)]
    theirs = [torch.stack([s[6].expand(SAMPLES) for s in steps], dim=1)]
    for number in range(3):
        means = [s[2 * number].expand(SAMPLES, -1) for s in steps]
        covariances = [s[2 * number + 1].expand(SAMPLES, -1, -1) for s in steps]
        theirs += [torch.stack(means, dim=1), torch.stack(covariances, dim=1)]
    chosen = [i for i, name in enumerate(("log_likelihood", *OUTPUTS[:3])) if name in outputs]
    places = [j for i in chosen for j in ([0] if i == 0 else [2 * i - 1, 2 * i])]
    places = [j for j in places if of_means or j in (2, 4, 6)]
    # Symmetric, as are covariances: an entry has the gradient of its pair.
    weights = [torch.randn_like(ours[j].detach()) for j in places]
    weights = [w + w.mT if w.ndim == 4 else w for w in weights]
    gradients = []
    for results in (ours, theirs):
        total = sum((w * results[j]).sum() for w, j in zip(weights, places, strict=True))
        found = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
        gradients.append(found)
    for one, other in zip(ours, theirs, strict=True):
        close(one, other, atol=1e-9)
    for leaf, one, other in zip(leaves, *gradients, strict=True):
        full = leaf.ndim > 1 and leaf.shape[-1] == leaf.shape[-2] and leaf is not leaves[3]
        if full:  # off-diagonal entries of a symmetric parameter count together
            one, other = one + one.mT, other + other.mT
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("method", ["sequential", "parallel"])
@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_the_textbook(kind, masked, method):
    compare(kind, masked, method, OUTPUTS)


@pytest.mark.parametrize("method", ["sequential", "parallel"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_each_output_alone_has_its_gradients(output, method):
    """The others then have none, rather than zeros."""
    compare("in-time", "dimensions", method, (output,))


@pytest.mark.parametrize("method", ["sequential", "parallel"])
@pytest.mark.parametrize("output", OUTPUTS[:3])
def test_covariances_alone_have_their_gradients(output, method):
    compare("in-time", "dimensions", method, (output,), of_means=False)
