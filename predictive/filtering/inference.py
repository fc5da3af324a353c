"""The Kalman filter, the Rauch-Tung-Striebel smoother, and what follows from them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from predictive.filtering.covariances import complement, filtered_covariances, kalman_gain
from predictive.filtering.preparation import Data, Prepared, is_parallel, prepare_data
from predictive.filtering.recursions import affine, cholesky, from_columns, lyapunov, previous
from predictive.filtering.types import (
    FilterPosterior,
    Gaussian,
    Method,
    SmootherPosterior,
    StateSpaceModel,
    normal_log_density,
)
from solo_ldm.numerics import narrow


class Forward(NamedTuple):
    """A filter's results in statistics precision: means as columns, covariances as groups."""

    model: Prepared
    data: Data
    parallel: bool
    mean: Tensor  # (G, T, n, K)
    covariance: Tensor  # (G, T, n, n)
    predicted_mean: Tensor
    predicted_covariance: Tensor
    innovation_factor: Tensor  # of D P⁻ Dᵀ + R with missing dimensions hidden, (G, T, m, m)


class Backward(NamedTuple):
    """h_t given h_{t+1} and z_≤t, t = 1 … T − 1: N(J h_{t+1} + shift, E)."""

    gain: Tensor  # J, (G, T − 1, n, n)
    shift: Tensor  # (G, T − 1, n, K)
    covariance: Tensor  # E, (G, T − 1, n, n)


def kalman_filter(
    model: StateSpaceModel,
    observations: Tensor,
    mask: Tensor | None = None,
    method: Method = "auto",
) -> FilterPosterior:
    """Filter observations: what is known of each state and observation from the past.

    P⁻ = A P Aᵀ + Q,  S = D P⁻ Dᵀ + R,  K = P⁻ Dᵀ S⁻¹,
    h⁻ = A (h − b) + b,  h' = h⁻ + K (z − D h⁻ − c),  P' = (I − K D) P⁻ (I − K D)ᵀ + K R Kᵀ.

    Args:
        model: see `StateSpaceModel`.
        observations: z, (B, T, m). Missing values may be anything, NaN too.
        mask: true where observed, (B, T) or (B, T, m); a B of 1 is common to all samples.
        method: "sequential" loops over time, "parallel" scans in 2 log₂ T steps, and "auto"
            takes what is faster on the device. They agree to rounding.

    Returns:
        States, predicted states and predictions, and the log-likelihood of each step (B, T) in
        nats, no constant dropped. Where transition, matrix, noises, initial covariance and mask
        are common to the samples, factors and covariances have a batch size of 1.

    Raises:
        ValueError: wrong shapes, non-finite values, variances or covariances not positive.

    Source:
        Kalman 1960; Särkkä, Bayesian Filtering and Smoothing, 2013 (Joseph's form and Cholesky
        factors); Särkkä & García-Fernández, arXiv 1905.13002 (parallel).
    """
    with torch.autocast(observations.device.type, enabled=False):
        return _filter_posterior(run_forward(model, observations, mask, method), observations)


def kalman_smoother(
    model: StateSpaceModel,
    observations: Tensor,
    mask: Tensor | None = None,
    method: Method = "auto",
) -> SmootherPosterior:
    """Smooth observations: what is known of each state from all of them.

    J_t = P_t Aᵀ (P⁻_{t+1})⁻¹,  hˢ_t = h_t + J_t (hˢ_{t+1} − h⁻_{t+1}),
    Pˢ_t = J_t Pˢ_{t+1} J_tᵀ + (I − J_t A) P_t (I − J_t A)ᵀ + J_t Q J_tᵀ.

    Args:
        model: see `StateSpaceModel`.
        observations: z, (B, T, m).
        mask: as in `kalman_filter`.
        method: as in `kalman_filter`.

    Returns:
        Smoothed states, and the filter's posterior.

    Raises:
        ValueError: as `kalman_filter`.

    Source:
        Rauch, Tung, Striebel, AIAA Journal 3, 1965; Särkkä & García-Fernández, arXiv 1905.13002.
    """
    with torch.autocast(observations.device.type, enabled=False):
        forward = run_forward(model, observations, mask, method)
        back = run_backward(forward)
        gain, parallel = back.gain.flip(1), forward.parallel
        mean, covariance = forward.mean[:, -1], forward.covariance[:, -1]
        means = affine(gain, back.shift.flip(1), mean, parallel).flip(1)
        covariances = lyapunov(gain, back.covariance.flip(1), covariance, parallel).flip(1)
        states = gaussian(
            torch.cat([means, mean[:, None]], dim=1),
            torch.cat([covariances, covariance[:, None]], dim=1),
            forward.model.samples,
            observations,
        )
        return SmootherPosterior(states, _filter_posterior(forward, observations))


def predict_observations(
    model: StateSpaceModel,
    observations: Tensor,
    mask: Tensor | None = None,
    method: Method = "auto",
) -> Gaussian:
    """Return p(z_t | z_<t) = N(D h⁻ + c, D P⁻ Dᵀ + R) over (B, T, m); see `kalman_filter`."""
    with torch.autocast(observations.device.type, enabled=False):
        return _predictions(run_forward(model, observations, mask, method), observations)


def log_likelihood(
    model: StateSpaceModel,
    observations: Tensor,
    mask: Tensor | None = None,
    method: Method = "auto",
) -> Tensor:
    """Return log p(z_1 … z_T) = Σ_t log p(z_t | z_<t), (B,), in nats; see `kalman_filter`."""
    with torch.autocast(observations.device.type, enabled=False):
        forward = run_forward(model, observations, mask, method)
        return narrow(_log_likelihood(forward).sum(dim=1), observations)


def run_forward(
    model: StateSpaceModel, observations: Tensor, mask: Tensor | None, method: Method
) -> Forward:
    """Filter in statistics precision: covariances first, then all gains at once, then means."""
    p, data = prepare_data(model, observations, mask)
    parallel = is_parallel(method, p.transition)
    d, r = data.observation_matrix, data.observation
    covariance = filtered_covariances(
        p.transition,
        p.process,
        d,
        r,
        p.initial_covariance,
        uniform=p.uniform,
        parallel=parallel,
    )
    before = previous(p.initial_covariance, covariance)
    predicted_covariance = p.transition @ before @ p.transition.mT + p.process
    gain, factor = kalman_gain(predicted_covariance, d, r)
    kept = complement(gain, d)
    # The gain has columns of zero for what is missing, so the offset there is of no account.
    shift = kept @ p.drift + gain @ (data.values - p.observation_offset)
    mean = affine(kept @ p.transition, shift, p.initial_mean, parallel)
    predicted_mean = p.transition @ previous(p.initial_mean, mean) + p.drift
    return Forward(
        p, data, parallel, mean, covariance, predicted_mean, predicted_covariance, factor
    )


def run_backward(forward: Forward) -> Backward:
    """Return the conditionals of each state given the next one."""
    a, process = forward.model.transition[:, 1:], forward.model.process[:, 1:]
    covariance = forward.covariance[:, :-1]
    factor = cholesky(forward.predicted_covariance[:, 1:])
    gain = torch.cholesky_solve(a @ covariance, factor).mT
    kept = complement(gain, a)
    shift = forward.mean[:, :-1] - gain @ forward.predicted_mean[:, 1:]
    return Backward(gain, shift, kept @ covariance @ kept.mT + gain @ process @ gain.mT)


def gaussian(mean: Tensor, covariance: Tensor, samples: int, like: Tensor) -> Gaussian:
    """Return columns of means and groups of covariances as a Gaussian in the type of `like`."""
    factor = cholesky((covariance + covariance.mT) / 2.0)
    return Gaussian(narrow(from_columns(mean, samples), like), narrow(factor, like))


def _predicted_values(forward: Forward) -> Tensor:
    p = forward.model
    return p.observation_matrix @ forward.predicted_mean + p.observation_offset


def _log_likelihood(forward: Forward) -> Tensor:
    data = forward.data
    residual = data.values - _predicted_values(forward)
    if data.known is not None:
        residual = torch.where(data.known, residual, 0.0)
    density = normal_log_density(residual, forward.innovation_factor)
    constant = 0.5 * math.log(2.0 * math.pi) * data.num_observed
    return from_columns(density, forward.model.samples)[..., 0] - constant


def _predictions(forward: Forward, like: Tensor) -> Gaussian:
    p, factor = forward.model, forward.innovation_factor
    if forward.data.known is not None:
        spread = p.observation_matrix @ forward.predicted_covariance
        factor = cholesky(spread @ p.observation_matrix.mT + p.observation)
    mean = from_columns(_predicted_values(forward), p.samples)
    return Gaussian(narrow(mean, like), narrow(factor, like))


def _filter_posterior(forward: Forward, like: Tensor) -> FilterPosterior:
    samples = forward.model.samples
    return FilterPosterior(
        states=gaussian(forward.mean, forward.covariance, samples, like),
        predicted_states=gaussian(
            forward.predicted_mean, forward.predicted_covariance, samples, like
        ),
        predictions=_predictions(forward, like),
        log_likelihood=narrow(_log_likelihood(forward), like),
    )
