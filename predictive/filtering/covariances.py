"""The covariance recursion of the Kalman filter in Joseph's form, without a graph.

    P⁻ = A P Aᵀ + Q,   S = D P⁻ Dᵀ + R,   K = P⁻ Dᵀ S⁻¹
    P' = (I − K D) P⁻ (I − K D)ᵀ + K R Kᵀ

K minimises the last line. An error of K, or of a difference that the line takes, is therefore of
second order in P', which keeps its digits where P⁻ − K S Kᵀ loses them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from predictive.filtering.loops import calls
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
    return matrix.flatten(0, 2) if matrix.shape[:2] == (1, 1) else matrix


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


@np.errstate(all="ignore")  # states that grow without end become infinite in silence, as in torch
def looped_covariances(p: Recursion, steps: int, accuracy: float | None = None) -> Covariances:
    """Run the recursion step by step, in as few calls as possible; see `Covariances`.

    Args:
        p: the parameters.
        steps: T.
        accuracy: end where all that is still to change of each covariance is less than this share
            of √(P_aa P_bb); the results are then those of fewer steps, and the last one holds for
            the rest. Only for parameters that all steps share, on a CPU.
    """
    (groups, n, _), m = p.initial.shape, p.matrix.shape[-2]
    found = Covariances(
        *(p.initial.new_empty(steps, groups, *x) for x in ((n, n), (n, n), (m, m), (n, m)))
    )
    do = calls(*found)

    def each(x: Tensor) -> Sequence[Any]:
        return [do.steps(x)[0]] * steps if len(x) == 1 else do.steps(x)

    identity = torch.eye(m, dtype=p.initial.dtype, device=p.initial.device)
    single = (ridge(found.innovation), identity, p.initial)
    jitter, identity, covariance = (do.steps(x[None])[0] for x in single)
    seen = [None] * steps
    if p.known is not None:
        rows, columns = p.known[..., :, None], p.known[..., None, :]
        seen = list(zip(each(columns), each(rows & columns), strict=True))
    # A parameter that all groups share is a plain matrix.
    parameters = (
        x[:, 0] if x.shape[1] == 1 else x for x in (p.transition.mT, p.process, p.matrix.mT)
    )
    parameters = [each(x) for x in (*parameters, p.noise.expand(-1, groups, -1, -1))]
    every = zip(*parameters, seen, *map(do.steps, found), strict=True)
    turn, product, less_product = do.transpose, do.product, do.less_product
    for step, (at, q, dt, r, here, filtered, predicted, innovation, gain) in enumerate(every, 1):
        do.add(product(turn(product(covariance, at)), at), q, out=predicted)
        projected = product(predicted, dt)
        do.add(product(turn(projected), dt), r, out=innovation)
        visible, certain = projected, innovation
        if here is not None:
            visible = do.where(here[0], projected, 0.0)
            certain = do.where(here[1], innovation, identity)
        do.divide(visible, certain * jitter, out=gain)
        # Joseph's form from P⁻ (I − K D)ᵀ, whose transpose is P⁻ − K D P⁻:
        # (I − K D) P⁻ − [(I − K D) P⁻ Dᵀ − K R] Kᵀ, where the bracket is rounding alone.
        kept = less_product(predicted, gain, turn(projected))
        rounding = less_product(product(kept, dt), gain, r)
        updated = less_product(kept, rounding, turn(gain))
        covariance = do.mean(updated, turn(updated), out=filtered)
        if accuracy is None or step % _LOOK_EVERY:
            continue
        if _still_to_change(found.filtered[step - 3 : step]) < accuracy:
            return Covariances(*(x[:step] for x in found))
    return found


def _still_to_change(last: Tensor) -> float:
    """Return how far the last of three covariances in a row (3, G, n, n) is from their limit.

    Changes δ that shrink by a factor ρ a step add up to δ ρ / (1 − ρ); in units of √(P_aa P_bb).
    """
    p = last.numpy()
    deviation = np.sqrt(p[-1].diagonal(axis1=-2, axis2=-1))
    changes = np.abs((p[1:] - p[:-1]) / (deviation[..., :, None] * deviation[..., None, :]))
    before, change = changes.reshape(2, -1).max(axis=1).tolist()
    if change == 0.0:
        return 0.0
    return change**2 / (before - change) if change < before else math.inf
