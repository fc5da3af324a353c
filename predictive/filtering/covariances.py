"""The covariance recursion of the Kalman filter in Joseph's form, without a graph.

    P⁻ = A P Aᵀ + Q,   S = D P⁻ Dᵀ + R,   K = P⁻ Dᵀ S⁻¹
    P' = (I − K D) P⁻ (I − K D)ᵀ + K R Kᵀ

K minimises the last line. An error of K, or of a difference that the line takes, is therefore of
second order in P', which keeps its digits where P⁻ − K S Kᵀ loses them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from predictive.filtering.recursions import (
    Elements,
    associative_scan,
    cholesky,
    previous,
    ridge,
    symmetric,
)

# Steps between two looks at whether the covariances still change, and the most that are waited for.
_LOOK_EVERY, _PATIENCE = 8, 1024


class Recursion(NamedTuple):
    """Parameters of the recursion, (T or 1, G or 1, …), and P_0, (G, n, n)."""

    transition: Tensor  # A, (…, n, n)
    process: Tensor  # Q, (…, n, n)
    matrix: Tensor  # D, (…, m, n)
    noise: Tensor  # R, (…, m, m)
    initial: Tensor
    known: Tensor | None  # what was observed, booleans (…, m)


class Covariances(NamedTuple):
    """The recursion's results, (T, G, …)."""

    filtered: Tensor  # P, (…, n, n)
    predicted: Tensor  # P⁻, (…, n, n)
    innovation: Tensor  # S, with the missing dimensions, (…, m, m)
    gain: Tensor  # K, with columns of zero for the missing dimensions, (…, n, m)


def hide(covariance: Tensor, known: Tensor | None) -> Tensor:
    """Return a covariance with the missing dimensions made independent, of variance one.

    They then add nothing to the log-determinant nor, with residuals of zero, to the distance.
    """
    if known is None:
        return covariance
    both = known[..., :, None] & known[..., None, :]
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    return torch.where(both, covariance, identity)


def fold(matrix: Tensor) -> Tensor:
    """Return a matrix (1, 1, …) that all steps and groups share as a plain one.

    A product with it is then one large product rather than many small ones.
    """
    return matrix[0, 0] if matrix.shape[:2] == (1, 1) else matrix


def left(matrix: Tensor, x: Tensor) -> Tensor:
    """Return M X as (Xᵀ Mᵀ)ᵀ, which is one large product where M is a plain matrix."""
    return (x.mT @ matrix.mT).mT


def congruence(matrix: Tensor, x: Tensor) -> Tensor:
    """Return M X Mᵀ of a symmetric X."""
    return (x @ matrix.mT).mT @ matrix.mT


def complement(gain: Tensor, d: Tensor) -> Tensor:
    """Return I − K D (…, n, n)."""
    return torch.eye(d.shape[-1], dtype=d.dtype, device=d.device) - gain @ d


def kalman_gain(predicted: Tensor, d: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gain K = P⁻ Dᵀ S⁻¹ (…, n, m) and the factor of S = D P⁻ Dᵀ + R (…, m, m)."""
    projected = d @ predicted
    factor = cholesky(projected @ d.mT + r)
    return torch.cholesky_solve(projected, factor).mT, factor


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
    while (length := len(prefix[0])) < steps:
        last = tuple(x[-1:] for x in prefix)
        more = _combine(last, tuple(x[: steps - length] for x in prefix))
        prefix = tuple(torch.cat(pair) for pair in zip(prefix, more, strict=True))
    return prefix


def _scan(p: Recursion, steps: int) -> Tensor:
    """Filtered covariances by an associative scan.

    Element t is p(h_t | h_{t−1}, z_t) = N(A h_{t−1} + …, C) and the information J about h_{t−1} in
    z_t. The means are left to an affine scan, which then knows the gains.
    """
    groups = len(p.initial)
    d, r = p.matrix, hide(p.noise, p.known)
    if p.known is not None:
        d = torch.where(p.known[..., None], d, 0.0)
    lengths = {len(x) for x in (p.transition, p.process, d, r)}
    distinct = max(lengths)  # one where the recursion is the same at every step
    a1, q1, d1, r1 = (x.expand(distinct, groups, -1, -1) for x in (p.transition, p.process, d, r))
    gain, factor = kalman_gain(q1, d1, r1)
    whitened = torch.linalg.solve_triangular(factor, d1 @ a1, upper=False)
    element = (complement(gain, d1) @ a1, joseph(q1, d1, r1), whitened.mT @ whitened)
    prefix = _double(element, steps) if distinct == 1 else associative_scan(_combine, element)
    start = p.initial[None]
    scanned = _combine((torch.zeros_like(start), start, torch.zeros_like(start)), prefix)[1]
    # One step of the recursion from each covariance contracts the rounding errors of the scan.
    before = previous(p.initial, scanned)
    return joseph(a1 @ before @ a1.mT + q1, d1, r1)


def scanned_covariances(p: Recursion, steps: int) -> Covariances:
    """Run the recursion over T steps in 2 log₂ T combinations; see `Covariances`."""
    filtered = symmetric(_scan(p, steps))
    a, d = fold(p.transition), fold(p.matrix)
    predicted = congruence(a, previous(p.initial, filtered)) + p.process
    projected = predicted @ d.mT
    innovation = projected.mT @ d.mT + p.noise
    if p.known is not None:
        projected = torch.where(p.known[..., None, :], projected, 0.0)
    factor = cholesky(hide(innovation, p.known))
    gain = torch.cholesky_solve(projected.mT, factor).mT
    return Covariances(filtered, predicted, innovation, gain)


def covariances(
    p: Recursion, steps: int, parallel: bool, accuracy: float | None
) -> tuple[Covariances, bool]:
    """Return the results over T steps, or up to their limit, and whether by scans.

    Args:
        p: the parameters.
        steps: T.
        parallel: by scans rather than by a loop.
        accuracy: see `looped_covariances`; those that do not converge are as without it.
    """
    if accuracy is not None:
        found = looped_covariances(p, min(steps, _PATIENCE), accuracy)
        if len(found.filtered) < _PATIENCE or steps == _PATIENCE:
            return found, False
    compute = scanned_covariances if parallel else looped_covariances
    return compute(p, steps), parallel


def looped_covariances(p: Recursion, steps: int, accuracy: float | None = None) -> Covariances:
    """Run the recursion step by step, in as few calls as possible; see `Covariances`.

    Args:
        p: the parameters.
        steps: T.
        accuracy: end where all that is still to change of each covariance is less than this share
            of √(P_aa P_bb); the results are then those of fewer steps, and the last one holds for
            the rest. Only for parameters that all steps share.
    """
    if accuracy is None:
        return _loop(p, p.initial, steps)
    parts, last = [], p.initial
    while sum(len(x.filtered) for x in parts) < steps:
        left_over = steps - sum(len(x.filtered) for x in parts)
        parts.append(_loop(p, last, min(_LOOK_EVERY, left_over)))
        last = parts[-1].filtered[-1]
        if len(parts[-1].filtered) > 2 and _still_to_change(parts[-1].filtered[-3:]) < accuracy:
            break
    return Covariances(*(torch.cat(x) for x in zip(*parts, strict=True)))


def _loop(p: Recursion, covariance: Tensor, steps: int) -> Covariances:
    (groups, n, _), m = p.initial.shape, p.matrix.shape[-2]
    found = Covariances(
        *(p.initial.new_empty(steps, groups, *x) for x in ((n, n), (n, n), (m, m), (n, m)))
    )
    jitter = ridge(found.innovation)
    parameters = [_per_step(x, steps) for x in (p.transition.mT, p.process, p.matrix.mT)]
    noise = p.noise.expand(-1, groups, -1, -1)
    noises = [noise[0]] * steps if len(noise) == 1 else noise.unbind()
    known = [None] * steps if p.known is None else p.known.unbind()
    for at, q, dt, r, seen, filtered, predicted, innovation, gain in zip(
        *parameters, noises, known, *(x.unbind() for x in found), strict=True
    ):
        torch.add((covariance @ at).mT @ at, q, out=predicted)
        projected = predicted @ dt
        torch.add(projected.mT @ dt, r, out=innovation)
        visible = projected if seen is None else torch.where(seen[..., None, :], projected, 0.0)
        factor = torch.linalg.cholesky_ex(hide(innovation, seen) * jitter).L
        gain.copy_(torch.cholesky_solve(visible.mT, factor).mT)
        # Joseph's form from P⁻ (I − K D)ᵀ, whose transpose is P⁻ − K D P⁻:
        # (I − K D) P⁻ − [(I − K D) P⁻ Dᵀ − K R] Kᵀ, where the bracket is rounding alone.
        kept = torch.baddbmm(predicted, gain, projected.mT, alpha=-1.0)
        rounding = torch.baddbmm(kept @ dt, gain, r, alpha=-1.0)
        covariance = torch.baddbmm(kept, rounding, gain.mT, alpha=-1.0)
        covariance = torch.lerp(covariance, covariance.mT, 0.5, out=filtered)
    return found


def _still_to_change(last: Tensor) -> float:
    """Return how far the last of three covariances in a row (3, G, n, n) is from their limit.

    Changes δ that shrink by a factor ρ a step add up to δ ρ / (1 − ρ); in units of √(P_aa P_bb).
    """
    deviation = last[-1].diagonal(dim1=-2, dim2=-1).sqrt()
    changes = last.diff(dim=0) / (deviation[..., :, None] * deviation[..., None, :])
    before, change = changes.abs().flatten(1).amax(dim=1).tolist()
    if change == 0.0:
        return 0.0
    return change**2 / (before - change) if change < before else math.inf


def _per_step(x: Tensor, steps: int) -> list[Tensor]:
    """Return a parameter at each step, as a plain matrix where all groups share it."""
    shared = x[:, 0] if x.shape[1] == 1 else x
    return [shared[0]] * steps if len(x) == 1 else list(shared.unbind())
