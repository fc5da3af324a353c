"""One step at a time, for noises that depend on the filter's earlier results.

A loop of `filter_step` over time leaves two nodes a step in the graph, and those of its noises.
"""

from __future__ import annotations

import torch
from torch import Tensor

from predictive.filtering.recursions import cholesky
from predictive.filtering.types import Gaussian, Noise
from predictive.filtering.updates import conditioned, predicted
from solo_ldm.numerics import narrow, widen


def predict(belief: Gaussian, transition: Tensor, offset: Tensor, process_noise: Noise) -> Gaussian:
    """Return the belief about the next state.

    N(h, P) -> N(A (h − b) + b, A P Aᵀ + Q).

    Shapes broadcast and, for the sake of loops, are not checked.

    Args:
        belief: mean (…, n) and factor (…, n, n).
        transition: A, (…, n, n).
        offset: b, (…, n).
        process_noise: Q, variances (…, n) or `Full` (…, n, n).

    Returns:
        Mean (…, n) and factor (…, n, n).
    """
    with torch.autocast(belief.mean.device.type, enabled=False):
        mean, covariance = predicted(belief, transition, offset, process_noise)
        return Gaussian(narrow(mean, belief.mean), narrow(cholesky(covariance), belief.mean))


def condition(
    belief: Gaussian,
    observation: Tensor,
    observation_matrix: Tensor,
    observation_noise: Noise,
    observation_offset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Gaussian, Gaussian]:
    """Return the belief about the state after an observation, and its prediction before.

    S = D P Dᵀ + R,  K = P Dᵀ S⁻¹:  N(h, P) -> N(h + K (z − D h − c), …) and N(D h + c, S).

    Shapes broadcast and, for the sake of loops, are not checked.

    Args:
        belief: mean (…, n) and factor (…, n, n).
        observation: z, (…, m); missing values may be NaN.
        observation_matrix: D, (…, m, n).
        observation_noise: R, variances (…, m) or `Full` (…, m, m).
        observation_offset: c, (…, m); zero if left out.
        mask: true where observed, (…, m).

    Returns:
        The belief, (…, n), and the prediction, (…, m).
    """
    with torch.autocast(belief.mean.device.type, enabled=False):
        factor = widen(belief.factor)
        return conditioned(
            belief.mean,
            factor @ factor.mT,
            observation,
            observation_matrix,
            observation_noise,
            observation_offset,
            mask,
            belief.mean,
        )


def filter_step(
    belief: Gaussian,
    observation: Tensor,
    transition: Tensor,
    offset: Tensor,
    observation_matrix: Tensor,
    process_noise: Noise,
    observation_noise: Noise,
    observation_offset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Gaussian, Gaussian]:
    """Return what `predict` and then `condition` return, faster.

    The covariance between the two is not factorised.

    Args:
        belief: about the state before, mean (…, n) and factor (…, n, n).
        observation: z, (…, m); missing values may be NaN.
        transition: A, (…, n, n).
        offset: b, (…, n).
        observation_matrix: D, (…, m, n).
        process_noise: Q, variances (…, n) or `Full` (…, n, n).
        observation_noise: R, variances (…, m) or `Full` (…, m, m).
        observation_offset: c, (…, m); zero if left out.
        mask: true where observed, (…, m).

    Returns:
        The belief about the state after the observation, (…, n), and the observation's prediction,
        (…, m).
    """
    with torch.autocast(belief.mean.device.type, enabled=False):
        mean, covariance = predicted(belief, transition, offset, process_noise)
        return conditioned(
            mean,
            covariance,
            observation,
            observation_matrix,
            observation_noise,
            observation_offset,
            mask,
            belief.mean,
        )
