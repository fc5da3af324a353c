"""Parameters and posteriors of the linear-Gaussian state-space model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from predictive.filtering.covariances import hide
from predictive.filtering.recursions import cholesky, from_columns, to_columns
from solo_ldm.numerics import narrow, widen

Method = Literal["auto", "sequential", "parallel"]


@dataclass(frozen=True, eq=False)
class Full:
    """Noise with correlated dimensions.

    Args:
        covariance: symmetric positive definite, (d, d), (T, d, d) or (B, T, d, d), in squared
            units of what it is added to.
    """

    covariance: Tensor


# A plain tensor: variances of independent dimensions: (d,), (T, d) or (B, T, d).
Noise = Tensor | Full


@dataclass(frozen=True, eq=False)
class StateSpaceModel:
    """Parameters of a linear-Gaussian state-space model with n states and m observed dimensions.

    h_t = A_t (h_{t−1} − b_t) + b_t + N(0, Q_t),  z_t = D_t h_t + c_t + N(0, R_t),  t = 1 … T.

    Each parameter but the initial ones is constant (shape as below), varies in time (T, …) or with
    the sample and in time (B, T, …); a B or T of 1 broadcasts. Shapes are checked where the model
    meets observations.

    Args:
        initial_mean: m_0, the mean of the state one transition before the first observation,
            (n,) or (B, n).
        initial_covariance: P_0, positive definite, (n, n) or (B, n, n).
        transition: A, (n, n); A_t leads from h_{t−1} to h_t.
        offset: b, the point that the transition leaves in place, (n,), in units of the state.
        observation_matrix: D, (m, n).
        process_noise: Q, variances (n,) or `Full` (n, n).
        observation_noise: R, variances (m,) or `Full` (m, m).
        observation_offset: c, (m,), in units of the observations; zero if left out.

    Source:
        Kalman, J. Basic Engineering 82, 1960; Särkkä, Bayesian Filtering and Smoothing, 2013.
    """

    initial_mean: Tensor
    initial_covariance: Tensor
    transition: Tensor
    offset: Tensor
    observation_matrix: Tensor
    process_noise: Noise
    observation_noise: Noise
    observation_offset: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Normal distributions over batch and time, with covariances L Lᵀ held as their factors L.

    The factor keeps a covariance positive definite in float32 whatever its condition number.

    Args:
        mean: (B, T, d).
        factor: L, lower triangular, (B, T, d, d), or (1, T, d, d) where all samples share it.
    """

    mean: Tensor
    factor: Tensor

    @property
    def covariance(self) -> Tensor:
        """L Lᵀ, (B, T, d, d) or (1, T, d, d), exactly symmetric."""
        product = self.factor @ self.factor.mT
        return (product + product.mT) / 2.0

    @property
    def variance(self) -> Tensor:
        """The diagonal of the covariance, (B, T, d) or (1, T, d)."""
        return self.factor.square().sum(dim=-1)


@dataclass(frozen=True, eq=False)
class FilterPosterior:
    """The posterior of a filter over T steps.

    Args:
        states: p(h_t | z_≤t), (B, T, n).
        predicted_states: p(h_t | z_<t), (B, T, n).
        predictions: p(z_t | z_<t), (B, T, m), with covariance D P Dᵀ + R, missing or not.
        log_likelihood: log p(z_t | z_<t) of the observed dimensions, (B, T), in nats.
    """

    states: Gaussian
    predicted_states: Gaussian
    predictions: Gaussian
    log_likelihood: Tensor


@dataclass(frozen=True, eq=False)
class SmootherPosterior:
    """The posterior of a smoother over T steps.

    Args:
        states: p(h_t | z_1 … z_T), (B, T, n).
        filtered: the filter's posterior.
    """

    states: Gaussian
    filtered: FilterPosterior


def log_density(values: Tensor, gaussian: Gaussian, mask: Tensor | None = None) -> Tensor:
    """Return the log-density of values, each under the Gaussian of its sample and step.

    log N(x; μ, Σ) = −½ [ d log 2π + log det Σ + (x − μ)ᵀ Σ⁻¹ (x − μ) ].

    With the predictions of a filter and `values` detached this is the negative of the
    stop-gradient loss.

    Args:
        values: (B, T, d).
        gaussian: over (B, T, d).
        mask: true where there is a value, (B, T) or (B, T, d); B may be 1. Missing dimensions are
            integrated out and may be NaN.

    Returns:
        (B, T), in nats, no constant dropped.

    Raises:
        ValueError: shapes do not match.
    """
    if values.shape != gaussian.mean.shape:
        raise ValueError(
            f"values: expected the shape of the Gaussian's mean, {tuple(gaussian.mean.shape)}, "
            f"got {tuple(values.shape)}"
        )
    samples = values.shape[0]
    with torch.autocast(values.device.type, enabled=False):
        factor, known = widen(gaussian.factor), None
        difference = widen(values) - widen(gaussian.mean)
        if mask is not None:
            known = check_mask(mask, values)
            # The value is replaced before the subtraction: NaN · 0 in the backward pass is NaN.
            kept = torch.where(known, values, gaussian.mean.detach().to(values.dtype))
            difference = (widen(kept) - widen(gaussian.mean)) * known
            factor = cholesky(hide(factor @ factor.mT, known))
        residual = to_columns(difference, factor.shape[0])
        count = values.shape[2] if known is None else known.sum(dim=-1, dtype=factor.dtype)
        density = normal_log_density(residual, factor.transpose(0, 1))
        density = from_columns(density, samples)[..., 0]
        return narrow(density - 0.5 * count * math.log(2.0 * math.pi), values)


def normal_log_density(residual: Tensor, factor: Tensor) -> Tensor:
    """Return −½ [ log det L Lᵀ + ‖L⁻¹ r‖² ] of columns r (T, G, d, K), as (T, G, 1, K)."""
    whitened = torch.linalg.solve_triangular(factor, residual, upper=False)
    log_det = 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return -0.5 * (whitened.square().sum(dim=-2, keepdim=True) + log_det[..., None, None])


def check_mask(mask: Tensor, values: Tensor) -> Tensor:
    """Return the mask as booleans (B or 1, T, d), or raise a one-line ValueError."""
    samples, steps, dim = values.shape
    if (
        mask.dtype != torch.bool
        or mask.ndim not in (2, 3)
        or mask.shape[0] not in (1, samples)
        or mask.shape[1:] not in ((steps,), (steps, dim))
    ):
        raise ValueError(
            f"mask: expected booleans ({samples}, {steps}) or ({samples}, {steps}, {dim}), got "
            f"{tuple(mask.shape)} of {mask.dtype}; true marks what was observed"
        )
    known = mask if mask.ndim == 3 else mask[..., None]
    return known.expand(-1, -1, dim)
