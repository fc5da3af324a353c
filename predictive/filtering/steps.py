"""One step at a time, for noises that depend on what the filter has found so far."""

from __future__ import annotations

import torch
from torch import Tensor

from predictive.filtering.covariances import complement, kalman_gain
from predictive.filtering.recursions import cholesky
from predictive.filtering.types import Full, Gaussian, Noise, hide
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
        a, b, factor = widen(transition), widen(offset), widen(belief.factor)
        mean = _times(a, widen(belief.mean) - b) + b
        moved = a @ factor
        return _narrowed(mean, moved @ moved.mT + _covariance(process_noise), belief.mean)


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
        d, r, factor = widen(observation_matrix), _covariance(observation_noise), belief.factor
        mean, covariance = widen(belief.mean), widen(factor) @ widen(factor).mT
        predicted = _times(d, mean)
        if observation_offset is not None:
            predicted = predicted + widen(observation_offset)
        prediction = _narrowed(predicted, d @ covariance @ d.mT + r, belief.mean)
        if mask is None:
            residual = widen(observation) - predicted
        else:
            observed = widen(torch.where(mask, observation, 0.0))
            residual = torch.where(mask, observed - predicted, 0.0)
            d, r = torch.where(mask[..., None], d, 0.0), hide(r, mask)
        gain, _ = kalman_gain(covariance, d, r)
        kept = complement(gain, d)
        covariance = kept @ covariance @ kept.mT + gain @ r @ gain.mT
        return _narrowed(mean + _times(gain, residual), covariance, belief.mean), prediction


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]


def _covariance(noise: Noise) -> Tensor:
    if isinstance(noise, Full):
        return widen(noise.covariance)
    return torch.diag_embed(widen(noise))


def _narrowed(mean: Tensor, covariance: Tensor, like: Tensor) -> Gaussian:
    return Gaussian(narrow(mean, like), narrow(cholesky(covariance), like))
