"""Samples of the model, and of its states given observations; differentiable in the parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from predictive.filtering.inference import check_digits, run_backward, run_forward
from predictive.filtering.preparation import is_parallel, prepare
from predictive.filtering.recursions import affine, cholesky, from_columns, to_columns
from predictive.filtering.types import Method, StateSpaceModel
from solo_ldm.numerics import narrow


def sample_model(
    model: StateSpaceModel,
    num_samples: int,
    num_steps: int,
    generator: torch.Generator | None = None,
    method: Method = "auto",
) -> tuple[Tensor, Tensor]:
    """Draw states and observations.

    h_t = A_t (h_{t−1} − b) + b + Q^½ ε,  z_t = D h_t + c + R^½ ε',  h_0 ~ N(m_0, P_0).

    Args:
        model: see `StateSpaceModel`.
        num_samples: B.
        num_steps: T.
        generator: source of randomness, on the model's device.
        method: as in `kalman_filter`.

    Returns:
        States (B, T, n) and observations (B, T, m), in the type of the transition.

    Raises:
        ValueError: as `kalman_filter`; fewer than one sample or step.
    """
    if num_samples < 1 or num_steps < 1:
        raise ValueError(
            "num_samples, num_steps: expected at least one sample and one step, got "
            f"{num_samples} and {num_steps}"
        )
    like = model.transition
    with torch.autocast(like.device.type, enabled=False):
        p = prepare(model, num_samples, num_steps)
        groups, n, _ = p.initial_mean.shape

        def normal(factor: Tensor, steps: int) -> Tensor:
            shape = (num_samples, steps, factor.shape[-1])
            draw = torch.randn(shape, generator=generator, dtype=p.drift.dtype, device=like.device)
            return factor @ to_columns(draw, groups)

        initial = p.initial_mean + normal(cholesky(p.initial_covariance), 1)[0]
        shift = p.drift + normal(cholesky(p.process), num_steps)
        transition = p.transition.expand(num_steps, groups, n, n)
        parallel = is_parallel(method, groups, n, like.device)
        states = affine(transition, shift, initial, parallel)
        noise = normal(cholesky(p.observation), num_steps)
        observations = p.observation_matrix @ states + p.observation_offset + noise
        return (
            narrow(from_columns(states, num_samples), like),
            narrow(from_columns(observations, num_samples), like),
        )


def sample_posterior(
    model: StateSpaceModel,
    observations: Tensor,
    num_draws: int,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
    method: Method = "auto",
) -> Tensor:
    """Draw whole paths of states given all observations, from the last state backward.

    h_T ~ p(h_T | z_≤T),  h_t ~ p(h_t | h_{t+1}, z_≤t) = N(h_t + J_t (h_{t+1} − h⁻_{t+1}), E_t),
    E_t = (I − J_t A) P_t (I − J_t A)ᵀ + J_t Q J_tᵀ.

    Args:
        model: see `StateSpaceModel`.
        observations: z, (B, T, m).
        num_draws: S, paths for each sample.
        mask: as in `kalman_filter`.
        generator: source of randomness, on the device of the observations.
        method: as in `kalman_filter`.

    Returns:
        (S, B, T, n).

    Raises:
        ValueError: as `kalman_filter`; fewer than one draw.

    Source:
        Frühwirth-Schnatter, J. Time Series Analysis 15, 1994; Carter & Kohn, Biometrika 81, 1994.
    """
    if num_draws < 1:
        raise ValueError(f"num_draws: expected at least one draw, got {num_draws}")
    with torch.autocast(observations.device.type, enabled=False):
        forward = run_forward(model, observations, mask, method)
        back, filtered = run_backward(forward), forward.filtered
        check_digits(filtered.mean[:-1], back.covariance)
        noise = torch.randn(
            (*filtered.mean.shape, num_draws),
            generator=generator,
            dtype=filtered.mean.dtype,
            device=observations.device,
        ).flatten(-2)
        last = filtered.mean[-1].repeat_interleave(num_draws, dim=-1)
        last = last + cholesky(filtered.covariance[-1]) @ noise[-1]
        shift = back.shift.repeat_interleave(num_draws, dim=-1)
        shift = shift + cholesky(back.covariance) @ noise[:-1]
        paths = affine(back.gain.flip(0), shift.flip(0), last, forward.parallel).flip(0)
        paths = torch.cat([paths, last[None]]).unflatten(-1, (-1, num_draws))
        # (T, G, n, K, S) -> (S, G, K, T, n): one of G and K is 1, and the other B.
        return narrow(paths.permute(4, 1, 3, 0, 2).flatten(1, 2), observations)
