"""Random state-space models and observations, and the dense Gaussians that they imply."""

from __future__ import annotations

import torch

from predictive.filtering import Full, StateSpaceModel

SAMPLES, STEPS, STATES, LATENTS = 3, 7, 4, 2
METHODS = ("sequential", "parallel", "auto")
KINDS = ("constant", "in-time", "per-sample", "full")
MASKS = ("nothing", "steps", "dimensions", "shared")


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
