"""The Kalman filter, the Rauch-Tung-Striebel smoother, and quantities derived from them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from predictive.filtering.covariances import Recursion, complement, hide
from predictive.filtering.masks import by_mask
from predictive.filtering.passes import Filtered, filter_pass
from predictive.filtering.preparation import Data, Prepared, is_parallel, prepare_data
from predictive.filtering.recursions import (
    affine,
    cholesky,
    from_columns,
    lyapunov,
    spread,
    symmetric,
)
from predictive.filtering.types import (
    FilterPosterior,
    Gaussian,
    Method,
    SmootherPosterior,
    StateSpaceModel,
    normal_log_density,
)
from solo_ldm.numerics import narrow

# Covariances closer to their limit than this, relative to their variances, are taken for it.
_ACCURACIES = {torch.float32: 1e-9, torch.float64: 1e-13}


# What rounding may add to a smoothed state, as a share of its standard deviation.
_MOST_LOST = 0.01


class Forward(NamedTuple):
    """A model in statistics precision, and the filter's results."""

    model: Prepared
    data: Data
    parallel: bool
    filtered: Filtered


class Backward(NamedTuple):
    """h_t given h_{t+1} and z_≤t, t = 1 … T − 1: N(J h_{t+1} + shift, E)."""

    gain: Tensor  # J, (T − 1, G, n, n)
    shift: Tensor  # (T − 1, G, n, K)
    covariance: Tensor  # E, (T − 1, G, n, n)


@by_mask
def kalman_filter(
    model: StateSpaceModel,
    observations: Tensor,
    mask: Tensor | None = None,
    method: Method = "auto",
) -> FilterPosterior:
    """Filter observations: each state and observation given the past.

    P⁻ = A P Aᵀ + Q,  S = D P⁻ Dᵀ + R,  K = P⁻ Dᵀ S⁻¹,
    h⁻ = A (h − b) + b,  h' = h⁻ + K (z − D h⁻ − c),  P' = (I − K D) P⁻ (I − K D)ᵀ + K R Kᵀ.

    Args:
        model: see `StateSpaceModel`.
        observations: z, (B, T, m). Missing values may be anything, including NaN.
        mask: true where observed, (B, T) or (B, T, m); a B of 1 is common to all samples. On a CPU
            samples of equal masks share one recursion of covariances where that is less work.
        method: "sequential" loops over time, "parallel" scans in 2 log₂ T steps, and "auto"
            takes the faster one on the device and, where the parameters are constant and nothing
            is missing, covariances that have converged for their limit. They agree to rounding.

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


@by_mask
def kalman_smoother(
    model: StateSpaceModel,
    observations: Tensor,
    mask: Tensor | None = None,
    method: Method = "auto",
) -> SmootherPosterior:
    """Smooth observations: each state given all of them.

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
        ValueError: as `kalman_filter`; states that have grown so much over a gap in the
            observations that rounding leaves no digits.

    Source:
        Rauch, Tung, Striebel, AIAA Journal 3, 1965; Särkkä & García-Fernández, arXiv 1905.13002.
    """
    with torch.autocast(observations.device.type, enabled=False):
        forward = run_forward(model, observations, mask, method)
        back, filtered = run_backward(forward), forward.filtered
        gain, parallel = back.gain.flip(0), forward.parallel
        mean, covariance = filtered.mean[-1], filtered.covariance[-1]
        means = affine(gain, back.shift.flip(0), mean, parallel).flip(0)
        covariances = lyapunov(gain, back.covariance.flip(0), covariance, parallel).flip(0)
        check_digits(filtered.mean[:-1], covariances)
        states = gaussian(
            torch.cat([means, mean[None]]),
            torch.cat([covariances, covariance[None]]),
            forward.model.samples,
            observations,
        )
        return SmootherPosterior(states, _filter_posterior(forward, observations))


@by_mask
def predict_observations(
    model: StateSpaceModel,
    observations: Tensor,
    mask: Tensor | None = None,
    method: Method = "auto",
) -> Gaussian:
    """Return p(z_t | z_<t) = N(D h⁻ + c, D P⁻ Dᵀ + R) over (B, T, m); see `kalman_filter`."""
    with torch.autocast(observations.device.type, enabled=False):
        forward = run_forward(model, observations, mask, method, predicts=False)
        return _predictions(forward, observations)


@by_mask
def log_likelihood(
    model: StateSpaceModel,
    observations: Tensor,
    mask: Tensor | None = None,
    method: Method = "auto",
) -> Tensor:
    """Return log p(z_1 … z_T) = Σ_t log p(z_t | z_<t), (B,), in nats; see `kalman_filter`."""
    with torch.autocast(observations.device.type, enabled=False):
        forward = run_forward(model, observations, mask, method, predicts=False)
        return narrow(_log_likelihood(forward).sum(dim=1), observations)


def run_forward(
    model: StateSpaceModel,
    observations: Tensor,
    mask: Tensor | None,
    method: Method,
    predicts: bool = True,
) -> Forward:
    """Check and filter in statistics precision; `predicts` whether means of states are wanted."""
    p, data = prepare_data(model, observations, mask)
    groups, states, _ = p.initial_mean.shape
    parallel = is_parallel(method, groups, states, observations.device)
    recursion = Recursion(
        p.transition,
        p.process,
        p.observation_matrix,
        p.observation,
        p.initial_covariance,
        data.known,
    )
    target = data.values - p.observation_offset
    waits = method == "auto" and observations.device.type == "cpu"
    accuracy = _ACCURACIES.get(observations.dtype) if waits else None
    filtered = filter_pass(recursion, p.drift, target, p.initial_mean, parallel, accuracy, predicts)
    return Forward(p, data, parallel, filtered)


def run_backward(forward: Forward) -> Backward:
    """Return the conditionals of each state given the next one."""
    a, process = (
        x.expand(forward.model.steps, -1, -1, -1)[1:]
        for x in (forward.model.transition, forward.model.process)
    )
    filtered = forward.filtered
    covariance, predicted = (
        spread(x, forward.model.steps) for x in (filtered.covariance, filtered.predicted_covariance)
    )
    covariance = covariance[:-1]
    factor = cholesky(predicted[1:])
    gain = torch.cholesky_solve(a @ covariance, factor).mT
    kept = complement(gain, a)
    shift = filtered.mean[:-1] - gain @ filtered.predicted_mean[1:]
    return Backward(gain, shift, kept @ covariance @ kept.mT + gain @ process @ gain.mT)


@torch.no_grad()
def check_digits(mean: Tensor, covariance: Tensor) -> None:
    """Raise a one-line ValueError where the shift, a difference of large means, has few digits.

    A state that grows through a long stretch without observations is left with none. In single
    precision, of devices without float64, nearly noiseless states never had them: no check.

    Args:
        mean: of the filter, (T − 1, G, n, K).
        covariance: of the states that the shift leads to, (T − 1, G, n, n).
    """
    if mean.dtype != torch.float64:
        return
    lost = mean.shape[-2] * torch.finfo(mean.dtype).eps * mean.abs()
    deviation = covariance.diagonal(dim1=-2, dim2=-1).sqrt()[..., None]
    bad = (lost > _MOST_LOST * deviation).flatten(1).any(dim=1)
    if bool(bad.any()):
        raise ValueError(
            f"observations: expected states that rounding leaves within {_MOST_LOST:.0%} of their "
            f"standard deviation, got up to {float((lost / deviation).max()):.2g} deviations at "
            f"{int(bad.sum())} steps, the first {int(bad.nonzero()[0])}: the transition makes them "
            "grow too far, as over a long gap; smooth the parts before and after it by themselves"
        )


def gaussian(mean: Tensor, covariance: Tensor, samples: int, like: Tensor) -> Gaussian:
    """Return columns of means and groups of covariances as a Gaussian in the type of `like`."""
    return _gaussian(mean, cholesky(symmetric(covariance)), samples, like)


def _gaussian(mean: Tensor, factor: Tensor, samples: int, like: Tensor) -> Gaussian:
    factor = spread(narrow(factor, like), len(mean))
    return Gaussian(narrow(from_columns(mean, samples), like), factor.transpose(0, 1))


def _log_likelihood(forward: Forward) -> Tensor:
    data, filtered = forward.data, forward.filtered
    residual = data.values - filtered.projected_mean - forward.model.observation_offset
    if data.known is not None:
        residual = torch.where(data.known[..., None], residual, 0.0)
    factor = cholesky(hide(filtered.innovation, data.known))
    density = normal_log_density(residual, spread(factor, len(residual)))
    constant = 0.5 * math.log(2.0 * math.pi) * data.num_observed
    return from_columns(density, forward.model.samples)[..., 0] - constant


def _predictions(forward: Forward, like: Tensor) -> Gaussian:
    p, filtered = forward.model, forward.filtered
    mean = filtered.projected_mean + p.observation_offset
    return _gaussian(mean, cholesky(filtered.innovation), p.samples, like)


def _filter_posterior(forward: Forward, like: Tensor) -> FilterPosterior:
    samples, filtered = forward.model.samples, forward.filtered
    return FilterPosterior(
        states=gaussian(filtered.mean, filtered.covariance, samples, like),
        predicted_states=gaussian(
            filtered.predicted_mean, filtered.predicted_covariance, samples, like
        ),
        predictions=_predictions(forward, like),
        log_likelihood=narrow(_log_likelihood(forward), like),
    )
