"""Prediction and condition of one belief, with their adjoints written out (see `passes`)."""

from __future__ import annotations

import torch
from torch import Tensor

from predictive.filtering.covariances import complement, hide
from predictive.filtering.recursions import rounding_share, symmetric
from predictive.filtering.types import Full, Gaussian, Noise
from solo_ldm.numerics import narrow, widen


def predicted(
    belief: Gaussian, transition: Tensor, offset: Tensor, process_noise: Noise
) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of the next state in statistics precision; see `steps.predict`."""
    q, full = _values(process_noise)
    return _Predict.apply(belief.mean, belief.factor, transition, offset, q, full)  # pyright: ignore


def conditioned(
    mean: Tensor,
    covariance: Tensor,
    observation: Tensor,
    matrix: Tensor,
    noise: Noise,
    offset: Tensor | None,
    mask: Tensor | None,
    like: Tensor,
) -> tuple[Gaussian, Gaussian]:
    """Return belief and prediction in the type of `like`; see `steps.condition`."""
    r, full = _values(noise)
    found = _Condition.apply(mean, covariance, observation, matrix, r, offset, mask, full)
    h, factor, predicted, predicted_factor = (narrow(x, like) for x in found)  # pyright: ignore
    return Gaussian(h, factor), Gaussian(predicted, predicted_factor)


def _values(noise: Noise) -> tuple[Tensor, bool]:
    """Return variances, or covariances, and whether they are covariances."""
    return (noise.covariance, True) if isinstance(noise, Full) else (noise, False)


class _Predict(torch.autograd.Function):
    """A (h − b) + b and (A L) (A L)ᵀ + Q of h, L, A, b, Q."""

    @staticmethod
    def forward(ctx, mean, factor, transition, offset, noise, full):
        ctx.save_for_backward(mean, factor, transition, offset, noise)
        ctx.full = full
        a, b, q = widen(transition), widen(offset), widen(noise)
        moved = a @ widen(factor)
        covariance = _plus(moved @ moved.mT, q, full)
        return _times(a, widen(mean) - b) + b, covariance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs):  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs = ctx.saved_tensors
        mean, factor, a, b, _ = (widen(x) for x in inputs)
        adjoint, covariance = grad_outputs[0], symmetric(grad_outputs[1])
        pulled = _times(a.mT, adjoint)
        spread = 2.0 * (covariance @ (a @ factor))
        grad_a = None
        if ctx.needs_input_grad[2]:
            grad_a = _back(inputs[2], _outer(adjoint, mean - b), spread @ factor.mT)
        return (
            _back(inputs[0], pulled),
            _back(inputs[1], a.mT @ spread),
            grad_a,
            _back(inputs[3], adjoint, -pulled),
            _back(inputs[4], covariance if ctx.full else _diagonal(covariance)),
            None,
        )


class _Condition(torch.autograd.Function):
    """The belief's mean and factor, and the prediction's, of h, P, z, D, R, c and the mask."""

    @staticmethod
    def forward(ctx, mean, covariance, observation, matrix, noise, offset, mask, full):
        h, p, d, r = (widen(x) for x in (mean, covariance, matrix, noise))
        predicted = _times(d, h) if offset is None else _times(d, h) + widen(offset)
        projected = p @ d.mT
        innovation = _plus(d @ projected, r, full)
        if mask is None:
            visible, residual = projected, widen(observation) - predicted
            seen_factor = predicted_factor = _factor(innovation)
        else:
            visible = torch.where(mask[..., None, :], projected, 0.0)
            residual = torch.where(mask, widen(observation) - predicted, 0.0)
            seen_factor = _factor(hide(innovation, mask))
            predicted_factor = _factor(innovation)
        gain = torch.cholesky_solve(visible.mT, seen_factor).mT
        # Joseph's form, as in `covariances.looped_covariances`.
        kept = p - gain @ projected.mT
        rounding = kept @ d.mT - (gain @ r if full else gain * r[..., None, :])
        factor = _factor(symmetric(kept - rounding @ gain.mT))
        ctx.save_for_backward(
            mean,
            covariance,
            observation,
            matrix,
            noise,
            offset,
            gain,
            residual,
            seen_factor,
            factor,
            predicted_factor,
        )
        ctx.full = full
        return h + _times(gain, residual), factor, predicted, predicted_factor

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs):  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs = ctx.saved_tensors[:6]
        gain, residual, seen_factor, factor, predicted_factor = ctx.saved_tensors[6:]
        adjoint, grad_factor, grad_predicted, grad_predicted_factor = grad_outputs
        d = widen(inputs[3])
        after = _cholesky_adjoint(factor, grad_factor)
        innovation = _cholesky_adjoint(predicted_factor, grad_predicted_factor)

        gained = _times(gain.mT, adjoint)
        before = adjoint - _times(d.mT, gained)
        u = torch.cholesky_solve(residual[..., None], seen_factor)[..., 0]
        w = _times(d.mT, u)
        spread = after @ gain
        kept = complement(gain, d)
        if ctx.full:
            noise = (gain.mT @ spread, innovation, -symmetric(_outer(gained, u)))
        else:
            noise = ((gain * spread).sum(dim=-2), _diagonal(innovation), -gained * u)
        matrix = None
        if ctx.needs_input_grad[3]:
            h, p = widen(inputs[0]), widen(inputs[1])
            matrix = _back(
                inputs[3],
                2.0 * innovation @ d @ p,
                -2.0 * spread.mT @ kept @ p,
                _outer(u, _times(p, before)),
                -_outer(gained, h + _times(p, w)),
                _outer(grad_predicted, h),
            )
        return (
            _back(inputs[0], before, _times(d.mT, grad_predicted)),
            _back(
                inputs[1],
                kept.mT @ after @ kept,
                d.mT @ innovation @ d,
                symmetric(_outer(before, w)),
            ),
            _back(inputs[2], gained),
            matrix,
            _back(inputs[4], *noise),
            None if inputs[5] is None else _back(inputs[5], grad_predicted, -gained),
            None,
            None,
        )


def _outer(x: Tensor, y: Tensor) -> Tensor:
    return x[..., :, None] * y[..., None, :]


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    if matrix.ndim == 2:
        return vector @ matrix.mT
    return (matrix @ vector[..., None])[..., 0]


def _plus(covariance: Tensor, noise: Tensor, full: bool) -> Tensor:
    """Return a covariance plus a noise; overwrites the covariance where it can."""
    if full:
        return covariance + noise
    if noise.ndim == 1 or noise.shape == covariance.shape[:-1]:
        _diagonal(covariance).add_(noise)
        return covariance
    return covariance + torch.diag_embed(noise)


def _factor(covariance: Tensor) -> Tensor:
    """Return `cholesky` of a covariance that is overwritten."""
    _diagonal(covariance).mul_(1.0 + rounding_share(covariance))
    return torch.linalg.cholesky(covariance)


def _cholesky_adjoint(factor: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient with respect to L Lᵀ of that with respect to L.

    sym(L⁻ᵀ Φ L⁻¹), Φ the lower triangle of Lᵀ L̄ with half its diagonal.

    Source:
        Murray, Differentiation of the Cholesky decomposition, arXiv 1602.07527.
    """
    middle = (factor.mT @ gradient).tril()
    _diagonal(middle).mul_(0.5)
    middle = torch.linalg.solve_triangular(factor.mT, middle, upper=True)
    return symmetric(torch.linalg.solve_triangular(factor, middle, upper=False, left=False))


def _diagonal(x: Tensor) -> Tensor:
    return x.diagonal(dim1=-2, dim2=-1)


def _back(like: Tensor, *terms: Tensor) -> Tensor:
    """Return the sum of a gradient's terms in the shape and type of its input.

    Each is summed over a batch of its own: covariances may be common to means that are not. In a
    narrower type the gradient is saturated, as by `widen`.
    """
    gradient = terms[0].sum_to_size(like.shape)
    for term in terms[1:]:
        gradient = gradient + term.sum_to_size(like.shape)
    if gradient.dtype == like.dtype:
        return gradient
    largest = torch.finfo(like.dtype).max
    return gradient.clamp(-largest, largest).to(like.dtype)
