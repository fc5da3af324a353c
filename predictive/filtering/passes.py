"""The Kalman filter as one function with its adjoint written out: no graph of T steps.

With e = z − c − D h⁻, u = S⁻¹ e and λ, Λ the adjoints of h and P, those of h⁻, P⁻ and R are

    ℓ = (I − K D)ᵀ λ,   Π = (I − K D)ᵀ Λ (I − K D) + sym ℓ (Dᵀ u)ᵀ,   Kᵀ Λ K − sym (Kᵀ λ) uᵀ,

and Aᵀ ℓ and Aᵀ Π A go to the step before: both recursions are linear, and run as loops or scans.
Nothing of Joseph's form is differentiated, since its derivative with respect to K is zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from predictive.filtering.covariances import (
    Recursion,
    complement,
    congruence,
    covariances,
    fold,
    hide,
    left,
)
from predictive.filtering.recursions import affine_values, cholesky, lyapunov_values, symmetric
from predictive.filtering.settled import is_constant, settled_means

# Numbers in a (steps, G, n, n) temporary, so that a few of them fit into the cache.
_NUMBERS = 2**17


class Filtered(NamedTuple):
    """The filter's results, (T, G, …): means as K columns, covariances as groups.

    Covariances may be of fewer steps: the last one then holds for the rest.
    """

    mean: Tensor  # (…, n, K)
    covariance: Tensor  # (…, n, n)
    predicted_mean: Tensor  # (…, n, K)
    predicted_covariance: Tensor  # (…, n, n)
    projected_mean: Tensor  # D h⁻, (…, m, K)
    innovation: Tensor  # D P⁻ Dᵀ + R, missing dimensions too, (…, m, m)


def filter_pass(
    recursion: Recursion,
    drift: Tensor,
    target: Tensor,
    initial: Tensor,
    parallel: bool,
    accuracy: float | None = None,
    predicts: bool = True,
) -> Filtered:
    """Filter all observations; differentiable once.

    Args:
        recursion: the parameters of the covariances.
        drift: b − A b, (T or 1, G or 1, n, K or 1).
        target: z − c, (T, G, m, K), finite where missing too.
        initial: m_0, (G, n, K).
        parallel: by associative scans, forward and backward, rather than by loops.
        accuracy: where the parameters are constant and nothing is missing, covariances that are
            within this share of their limit are taken for it.
        predicts: whether means of the states are wanted after covariances have converged.

    Returns:
        See `Filtered`.

    Source:
        Kalman 1960; Särkkä, Bayesian Filtering and Smoothing, 2013; Särkkä & García-Fernández,
        IEEE Trans. Automatic Control 66, 2021, arXiv 1905.13002.
    """
    settles = accuracy is not None and is_constant(recursion) and len(drift) == 1
    with torch.no_grad():
        wanted = accuracy if settles else None
        found, parallel = covariances(recursion, len(target), parallel, wanted)
    steps, total = len(found.filtered), len(target)
    unused = 0 if predicts or steps == total else 1  # a projection knows no target of its own step
    now, later, _ = target.split([steps, total - steps - unused, unused])
    first = Filtered(*_Filter.apply(*recursion, drift, now, initial, parallel, *found))  # pyright: ignore
    if steps == total:
        return first
    limit = first.predicted_covariance[-1], first.innovation[-1]
    means = settled_means(recursion, *limit, drift, later, first.mean[-1], predicts)
    pairs = zip((first.mean, first.predicted_mean, first.projected_mean), means, strict=True)
    mean, predicted, projected = (torch.cat(x) if len(x[1]) else x[0] for x in pairs)
    return first._replace(mean=mean, predicted_mean=predicted, projected_mean=projected)


class _Part(NamedTuple):
    """A stretch of time: the filter's values there, and the gradients with respect to them."""

    parallel: bool
    transition: Tensor
    matrix: Tensor
    gain: Tensor
    step: Tensor  # (I − K D) A, from one filtered mean to the next
    known: Tensor | None
    found: Filtered
    gradients: Filtered  # None where there is none; those of covariances symmetric


class _MeanAdjoints(NamedTuple):
    predicted: Tensor  # ℓ, of h⁻
    gained: Tensor  # Kᵀ λ
    kept: Tensor  # (I − K D)ᵀ λ
    scaled: Tensor  # u = S⁻¹ e
    pulled: Tensor  # Dᵀ u
    before: Tensor  # of the last mean before these steps


class _CovarianceAdjoints(NamedTuple):
    filtered: Tensor  # Λ, of P
    predicted: Tensor  # Π, of P⁻
    kept: Tensor  # I − K D
    before: Tensor  # of the last covariance before these steps


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, q, d, r, p0, known, drift, target, initial, parallel, *found):
        recursion = Recursion(a, q, d, r, p0, known)
        covariance, predicted_covariance, innovation, gain = found
        mean, predicted_mean = (initial.new_empty(len(target), *initial.shape) for _ in range(2))
        projected_mean = torch.empty_like(target, memory_format=torch.contiguous_format)
        last = initial
        for steps in _parts(covariance, parallel):
            transition, matrix = fold(_at(a, steps)), fold(_at(d, steps))
            g, k = _at(drift, steps), gain[steps]
            step = transition - k @ (matrix @ transition)
            shift = g + k @ (target[steps] - matrix @ g)
            mean[steps] = affine_values(step, shift, last, parallel)
            predicted_mean[steps] = left(transition, _before(initial, mean, steps)) + g
            projected_mean[steps] = left(matrix, predicted_mean[steps])
            last = mean[steps.stop - 1]
        found = Filtered(
            mean, covariance, predicted_mean, predicted_covariance, projected_mean, innovation
        )
        ctx.save_for_backward(*recursion, drift, target, initial, gain, *found)
        ctx.parallel = parallel
        ctx.set_materialize_grads(False)
        return tuple(found)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs):  # pyright: ignore[reportIncompatibleMethodOverride]
        a, q, d, r, p0, known, drift, target, m0, gain, *rest = ctx.saved_tensors
        found, gradients = Filtered(*rest), Filtered(*grad_outputs)
        wanted = [*ctx.needs_input_grad[:4], *ctx.needs_input_grad[6:8]]
        totals = [
            torch.zeros_like(x, memory_format=torch.contiguous_format) if want else None
            for x, want in zip((a, q, d, r, drift, target), wanted, strict=True)
        ]
        of_a, of_q, of_d, of_r, of_drift, of_target = totals
        of_mean, of_covariance = torch.zeros_like(m0), torch.zeros_like(p0)
        for steps in reversed(_parts(found.covariance, ctx.parallel)):
            part = _part(steps, ctx.parallel, (a, d, known), gain, found, gradients)
            residual = target[steps] - part.found.projected_mean
            means = _mean_adjoints(part, residual, of_mean)
            spreads = _covariance_adjoints(part, means, of_covariance)
            of_mean, of_covariance = means.before, spreads.before
            _add(of_drift, means.predicted, steps)
            _add(of_target, means.gained, steps)
            _add(of_q, spreads.predicted, steps)
            if of_r is not None:
                _add(of_r, _noise_gradient(part, means, spreads), steps)
            if of_a is not None:
                moved = left(part.transition, _before(p0, found.covariance, steps))
                _add_product(of_a, 2.0 * spreads.predicted, moved, steps)
                _add_product(of_a, means.predicted.mT, _before(m0, found.mean, steps).mT, steps)
            if of_d is not None:
                for x, y in _matrix_gradient(part, means, spreads):
                    _add_product(of_d, x, y, steps)
        of_parameters = (of_a, of_q, of_d, of_r, of_covariance, None)
        return *of_parameters, of_drift, of_target, of_mean, *(None,) * 5


def _part(
    steps: slice,
    parallel: bool,
    parameters: tuple[Tensor, Tensor, Tensor | None],
    gain: Tensor,
    found: Filtered,
    gradients: Filtered,
) -> _Part:
    a, d = (fold(_at(x, steps)) for x in parameters[:2])
    known = None if parameters[2] is None else _at(parameters[2], steps)
    k = gain[steps]
    g = Filtered(*(None if x is None else x[steps] for x in gradients))  # pyright: ignore
    pairs = (g.covariance, g.predicted_covariance, g.innovation)
    p, predicted, s = (None if x is None else symmetric(x) for x in pairs)
    g = g._replace(covariance=p, predicted_covariance=predicted, innovation=s)
    here = Filtered(*(x[steps] for x in found))
    return _Part(parallel, a, d, k, a - k @ (d @ a), known, here, g)


def _mean_adjoints(part: _Part, residual: Tensor, after: Tensor) -> _MeanAdjoints:
    """Return the adjoints of the means, given that of the last one from the steps after it."""
    g, d = part.gradients, part.matrix
    projected = None if g.projected_mean is None else left(d.mT, g.projected_mean)
    direct = _sum(g.predicted_mean, projected)
    shift = _sum(
        None if direct is None else left(part.transition.mT, direct),
        None if g.mean is None else part.step.mT @ g.mean,
    )
    shift = torch.zeros_like(part.found.mean) if shift is None else shift
    carried = affine_values(part.step.mT, shift, after, part.parallel, reverse=True)
    adjoint = _plus(torch.cat([carried[1:], after[None]]), g.mean)
    gained = part.gain.mT @ adjoint
    kept = adjoint - left(d.mT, gained)
    if part.known is not None:
        residual = torch.where(part.known[..., None], residual, 0.0)
    factor = cholesky(hide(part.found.innovation, part.known))
    scaled = torch.cholesky_solve(residual, factor)
    return _MeanAdjoints(_plus(kept, direct), gained, kept, scaled, left(d.mT, scaled), carried[0])


def _covariance_adjoints(part: _Part, means: _MeanAdjoints, after: Tensor) -> _CovarianceAdjoints:
    """Return the adjoints of the covariances, given that of the last one from the steps after."""
    g, d, step = part.gradients, part.matrix, part.step
    source = _plus(symmetric(means.kept @ means.pulled.mT), g.predicted_covariance)
    if g.innovation is not None:
        source = source + congruence(d.mT, g.innovation)
    shift = congruence(part.transition.mT, source)
    if g.covariance is not None:
        shift = shift + step.mT @ g.covariance @ step
    carried = lyapunov_values(step.mT, shift, after, part.parallel, reverse=True)
    filtered = _plus(torch.cat([carried[1:], after[None]]), g.covariance)
    kept = complement(part.gain, d)
    predicted = kept.mT @ (filtered @ kept) + source
    return _CovarianceAdjoints(filtered, predicted, kept, carried[0])


def _noise_gradient(part: _Part, means: _MeanAdjoints, covariances: _CovarianceAdjoints) -> Tensor:
    """Return the gradient with respect to R."""
    value = part.gain.mT @ (covariances.filtered @ part.gain)
    value = value - symmetric(means.gained @ means.scaled.mT)
    return _plus(value, part.gradients.innovation)


def _matrix_gradient(
    part: _Part, means: _MeanAdjoints, covariances: _CovarianceAdjoints
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield X and Y of every term Xᵀ Y of the gradient with respect to D."""
    g, found = part.gradients, part.found
    predicted = found.predicted_covariance
    yield -2.0 * covariances.filtered @ part.gain, covariances.kept @ predicted
    yield means.scaled.mT, (predicted @ means.kept).mT
    yield -means.gained.mT, (found.predicted_mean + predicted @ means.pulled).mT
    if g.innovation is not None:
        yield 2.0 * g.innovation, (predicted @ part.matrix.mT).mT
    if g.projected_mean is not None:
        yield g.projected_mean.mT, found.predicted_mean.mT


def _parts(covariance: Tensor, parallel: bool) -> list[slice]:
    """Return the stretches of time that are processed in turn."""
    steps = len(covariance)
    length = steps if parallel else max(1, _NUMBERS // covariance[0].numel())
    return [slice(start, min(start + length, steps)) for start in range(0, steps, length)]


def _at(x: Tensor, steps: slice) -> Tensor:
    """Return a parameter (T or 1, …) at some steps."""
    return x if len(x) == 1 else x[steps]


def _before(initial: Tensor, sequence: Tensor, steps: slice) -> Tensor:
    """Return x_{t−1} at some steps."""
    if steps.start:
        return sequence[steps.start - 1 : steps.stop - 1]
    return torch.cat([initial[None], sequence[: steps.stop - 1]])


def _plus(x: Tensor, y: Tensor | None) -> Tensor:
    return x if y is None else x + y


def _sum(x: Tensor | None, y: Tensor | None) -> Tensor | None:
    return y if x is None else _plus(x, y)


def _add(total: Tensor | None, value: Tensor, steps: slice) -> None:
    """Add to a parameter's gradient (T or 1, G or 1, …)."""
    if total is not None:
        part = _at(total, steps)
        part += value.sum_to_size(part.shape)


def _add_product(total: Tensor, x: Tensor, y: Tensor, steps: slice) -> None:
    """Add Xᵀ Y, as one product where all steps and groups share the parameter."""
    if total.shape[:2] == (1, 1):
        total += x.flatten(0, 2).mT @ y.flatten(0, 2)
    else:
        _add(total, x.mT @ y, steps)
