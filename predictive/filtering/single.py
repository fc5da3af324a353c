"""One small belief on a CPU, bin by bin in numpy, whose calls cost little (see `loops`)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from predictive.filtering.recursions import rounding_share
from predictive.filtering.types import Gaussian

(_potrs,) = get_lapack_funcs(("potrs",), dtype=np.float64)


class SingleFilter:
    """What `filter_step` returns for one belief, where A, b, D and Q stay the same.

    Args:
        transition: A, (n, n).
        offset: b, (n,).
        observation_matrix: D, (m, n).
        process_noise: variances Q, (n,).
    """

    def __init__(
        self, transition: Tensor, offset: Tensor, observation_matrix: Tensor, process_noise: Tensor
    ) -> None:
        self._model = [
            one.detach().double().numpy()
            for one in (transition, offset, observation_matrix, process_noise)
        ]

    def step(
        self, belief: Gaussian, observation: Tensor, observation_noise: Tensor, seen: bool = True
    ) -> tuple[Gaussian, Gaussian]:
        """Return the belief after an observation, and the observation's prediction.

        Args:
            belief: before, in float64: mean (n,) and factor (n, n).
            observation: z, (m,).
            observation_noise: variances R, (m,).
            seen: false for a missing observation.
        """
        a, b, d, q = self._model
        z, r = observation.double().numpy(), observation_noise.double().numpy()
        h, moved = a @ (belief.mean.numpy() - b) + b, a @ belief.factor.numpy()
        p = moved @ moved.T
        _diagonal(p)[:] += q
        projected = p @ d.T
        innovation = d @ projected
        _diagonal(innovation)[:] += r
        expected, expected_factor = d @ h, _factor(innovation)
        if seen:
            gain = _potrs(expected_factor, projected.T, lower=True)[0].T
            # Joseph's form, as in `covariances.looped_covariances`.
            kept = p - gain @ projected.T
            p = kept - (kept @ d.T - gain * r) @ gain.T
            h = h + gain @ (z - expected)
        return _gaussian(h, _factor(0.5 * (p + p.T))), _gaussian(expected, expected_factor)


def _diagonal(x: NDArray) -> NDArray:
    return x.reshape(-1)[:: len(x) + 1]


def _factor(covariance: NDArray) -> NDArray:
    """Return `cholesky` of a covariance that is overwritten."""
    _diagonal(covariance)[:] *= 1.0 + rounding_share(torch.from_numpy(covariance))
    return np.linalg.cholesky(covariance)


def _gaussian(mean: NDArray, factor: NDArray) -> Gaussian:
    return Gaussian(torch.from_numpy(mean), torch.from_numpy(factor))
