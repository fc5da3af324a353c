"""The covariance recursion of the Kalman filter, in Joseph's form on Cholesky factors.

    P⁻ = A P Aᵀ + Q,   S = D P⁻ Dᵀ + R,   K = P⁻ Dᵀ S⁻¹
    P' = (I − K D) P⁻ (I − K D)ᵀ + K R Kᵀ

Every line is a sum of squares, so nothing is subtracted from a covariance. And since K minimises
the last line, its derivative with respect to K is zero: the adjoint of the recursion is that of a
linear one with the gains held fixed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from predictive.filtering.recursions import (
    Elements,
    associative_scan,
    backward_in_time,
    cholesky,
    lyapunov_values,
    previous,
)


def kalman_gain(predicted: Tensor, d: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gain K = P⁻ Dᵀ S⁻¹ (…, n, m) and the factor of S = D P⁻ Dᵀ + R (…, m, m)."""
    projected = d @ predicted
    factor = cholesky(projected @ d.mT + r)
    return torch.cholesky_solve(projected, factor).mT, factor


def complement(gain: Tensor, d: Tensor) -> Tensor:
    """Return I − K D (…, n, n)."""
    return torch.eye(d.shape[-1], dtype=d.dtype, device=d.device) - gain @ d


def joseph(predicted: Tensor, d: Tensor, r: Tensor) -> Tensor:
    """Return the covariance after an observation, from the one before it."""
    gain, _ = kalman_gain(predicted, d, r)
    kept = complement(gain, d)
    return kept @ predicted @ kept.mT + gain @ r @ gain.mT


def _combine(first: Elements, second: Elements) -> Elements:
    """Compose two filtering elements (A, C, J); see `_scan`.

    With C₁ = L Lᵀ and G Gᵀ = I + Lᵀ J₂ L, (I + C₁ J₂)⁻¹ = I − X Xᵀ J₂ for X = L G⁻ᵀ.
    """
    (a1, c1, j1), (a2, c2, j2) = first, second
    factor = cholesky(c1)
    identity = torch.eye(c1.shape[-1], dtype=c1.dtype, device=c1.device)
    inner = torch.linalg.cholesky(identity + factor.mT @ j2 @ factor)
    x = torch.linalg.solve_triangular(inner, factor.mT, upper=False).mT
    kept = identity - x @ (x.mT @ j2)
    spread, information = a2 @ x, factor.mT @ j2 @ kept
    moved = kept @ a1
    j = moved.mT @ j2 @ moved + (information @ a1).mT @ (information @ a1) + j1
    return a2 @ moved, spread @ spread.mT + c2, j


def _double(element: Elements, steps: int) -> Elements:
    """Return the prefixes of `steps` equal elements in log₂ T combinations, not 2 log₂ T."""
    prefix = element
    while (length := prefix[0].shape[1]) < steps:
        last = tuple(x[:, -1:] for x in prefix)
        more = _combine(last, tuple(x[:, : steps - length] for x in prefix))
        prefix = tuple(torch.cat(pair, dim=1) for pair in zip(prefix, more, strict=True))
    return prefix


def _scan(a: Tensor, q: Tensor, d: Tensor, r: Tensor, initial: Tensor, uniform: bool) -> Tensor:
    """Filtered covariances by an associative scan.

    Element t is p(h_t | h_{t−1}, z_t) = N(A h_{t−1} + …, C) and the information J about h_{t−1} in
    z_t. The means are left to an affine scan, which then knows the gains.
    """
    if uniform:
        steps = a.shape[1]
        a1, q1, d1, r1 = (x[:, :1] for x in (a, q, d, r))
    else:
        steps, (a1, q1, d1, r1) = 0, (a, q, d, r)
    gain, factor = kalman_gain(q1, d1, r1)
    whitened = torch.linalg.solve_triangular(factor, d1 @ a1, upper=False)
    element = (complement(gain, d1) @ a1, joseph(q1, d1, r1), whitened.mT @ whitened)
    prefix = _double(element, steps) if uniform else associative_scan(_combine, element)
    start = initial[:, None]
    scanned = _combine((torch.zeros_like(start), start, torch.zeros_like(start)), prefix)[1]
    # One step of the recursion from each covariance: it contracts what rounding the scan made.
    before = previous(initial, scanned)
    return joseph(a @ before @ a.mT + q, d, r)


def _loop(a: Tensor, q: Tensor, d: Tensor, r: Tensor, initial: Tensor) -> Tensor:
    covariance, values = initial, []
    for a_t, q_t, d_t, r_t in zip(*(x.unbind(1) for x in (a, q, d, r)), strict=True):
        covariance = joseph(torch.baddbmm(q_t, a_t @ covariance, a_t.mT), d_t, r_t)
        values.append(covariance)
    return torch.stack(values, dim=1)


class _FilteredCovariances(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        a: Tensor,
        q: Tensor,
        d: Tensor,
        r: Tensor,
        initial: Tensor,
        uniform: bool,
        parallel: bool,
    ) -> Tensor:
        values = _scan(a, q, d, r, initial, uniform) if parallel else _loop(a, q, d, r, initial)
        values = (values + values.mT) / 2.0
        ctx.save_for_backward(a, q, d, r, initial, values)
        ctx.parallel = parallel
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        a, q, d, r, initial, values = ctx.saved_tensors
        gradient = (grad_outputs[0] + grad_outputs[0].mT) / 2.0
        before = previous(initial, values)
        moved = a @ before
        predicted = moved @ a.mT + q
        gain, _ = kalman_gain(predicted, d, r)
        kept = complement(gain, d)
        adjoint = lyapunov_values(
            backward_in_time(kept @ a), gradient.flip(1), torch.zeros_like(initial), ctx.parallel
        ).flip(1)
        kept_adjoint = adjoint @ kept
        grad_q = kept.mT @ kept_adjoint
        return (
            2.0 * grad_q @ moved,
            grad_q,
            -2.0 * gain.mT @ kept_adjoint @ predicted,
            gain.mT @ adjoint @ gain,
            a[:, 0].mT @ grad_q[:, 0] @ a[:, 0],
            None,
            None,
        )


def filtered_covariances(
    transition: Tensor,
    process_covariance: Tensor,
    observation_matrix: Tensor,
    observation_covariance: Tensor,
    initial: Tensor,
    uniform: bool,
    parallel: bool,
) -> Tensor:
    """Return P_t of p(h_t | z_≤t), t = 1 … T, for G groups.

    Args:
        transition: (G, T, n, n).
        process_covariance: (G, T, n, n).
        observation_matrix: (G, T, m, n), with rows of zero where nothing was observed.
        observation_covariance: (G, T, m, m).
        initial: P_0, (G, n, n).
        uniform: the four sequences are constant; a scan then takes half the combinations.
        parallel: by associative scans, forward and backward, rather than by loops.

    Returns:
        (G, T, n, n), symmetric.

    Source:
        Kalman 1960; Särkkä, Bayesian Filtering and Smoothing, 2013; Särkkä & García-Fernández,
        IEEE Trans. Automatic Control 66, 2021, arXiv 1905.13002.
    """
    return _FilteredCovariances.apply(  # pyright: ignore[reportReturnType]
        transition,
        process_covariance,
        observation_matrix,
        observation_covariance,
        initial,
        uniform,
        parallel,
    )
