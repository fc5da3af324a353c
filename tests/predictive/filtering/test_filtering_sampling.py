"""Samples of the state-space model, and of its states, against moments."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from predictive.filtering import (
    sample_model,
    sample_posterior,
)
from tests.support.predictive.filtering_models import (
    METHODS,
    SAMPLES,
    STATES,
    STEPS,
    close,
    conditioned,
    data,
    dense,
    random_model,
)

each_method = pytest.mark.parametrize("method", METHODS)


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
