"""Arithmetic shared by latent models and entropy estimators: torch alone, no state.

Statistics of latents (distances, covariances, log-sum-exp) are taken in float64. On a CPU a
float64 Gram matrix costs about 1.6 times the float32 one, and in return distances between
near-duplicates keep their digits, although they are differences of large numbers. Devices without
float64 (Apple's MPS) use float32.
"""

from __future__ import annotations

import torch
from torch import Tensor


class _Widen(torch.autograd.Function):
    """Cast up in the forward pass; in the backward pass cast down and saturate.

    A gradient that float16 cannot hold becomes the largest finite value of its sign rather than
    an infinity, so that near-duplicates in half precision do not end a run.
    """

    @staticmethod
    def forward(ctx, x: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.source_dtype = x.dtype
        return x.to(dtype)

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        largest = torch.finfo(ctx.source_dtype).max
        return grad_outputs[0].clamp(-largest, largest).to(ctx.source_dtype), None


def widen(x: Tensor) -> Tensor:
    """Return `x` in the precision used for statistics: float64, or float32 where there is none.

    Args:
        x: any floating-point tensor.

    Returns:
        The same values; gradients flow back in the type of `x`, saturated to its finite range.
    """
    dtype = torch.float32 if x.device.type == "mps" else torch.float64
    return x if x.dtype == dtype else _Widen.apply(x, dtype)  # pyright: ignore[reportReturnType]


def at_least_single(x: Tensor) -> Tensor:
    """Return `x` in float32 if it is narrower, so that gradients of several uses add up safely."""
    if x.dtype in (torch.float32, torch.float64):
        return x
    return _Widen.apply(x, torch.float32)  # pyright: ignore[reportReturnType]


def narrow(value: Tensor, like: Tensor) -> Tensor:
    """Cast a statistic back: to float32 for inputs of at most 32 bits, else to the input's type."""
    return value.to(torch.float64 if like.dtype == torch.float64 else torch.float32)


class _SquaredDistances(torch.autograd.Function):
    """Pairwise squared distances whose backward pass is one matrix product instead of two."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        # Distances ignore the mean, which would cost digits.
        centred = x - x.mean(dim=0)
        ctx.save_for_backward(centred)
        gram = centred @ centred.T
        square_norm = gram.diagonal()
        return (square_norm[:, None] + square_norm[None, :] - 2.0 * gram).clamp_min(0.0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor) -> Tensor:  # pyright: ignore
        (centred,) = ctx.saved_tensors
        symmetric = grad_outputs[0] + grad_outputs[0].T
        return 2.0 * (symmetric.sum(dim=1, keepdim=True) * centred - symmetric @ centred)


def squared_distances(x: Tensor) -> Tensor:
    """Pairwise squared Euclidean distances of the rows of `x`, without a B×B×D tensor.

    ‖x_i − x_j‖² = ‖x_i‖² + ‖x_j‖² − 2 x_iᵀx_j, differentiable once.

    Args:
        x: samples (B, D), already in statistics precision (see `widen`).

    Returns:
        (B, B), non-negative, with an exact zero diagonal.
    """
    return _SquaredDistances.apply(x)  # pyright: ignore[reportReturnType]


def standardise(x: Tensor, ridge: float) -> Tensor:
    """Return (x − mean) / √(variance + ε) of each column, mean and variance over the batch.

    Args:
        x: (B, D), already in statistics precision (see `widen`).
        ridge: ε > 0, in squared units of x.

    Returns:
        (B, D); the variance has divisor B, as in batch normalisation.
    """
    centred = x - x.mean(dim=0)
    return centred * (centred.square().mean(dim=0) + ridge).rsqrt()


def safe_log(probabilities: Tensor) -> Tensor:
    """Return log p, and in place of the logarithm of (almost) nothing that of 1e-30.

    p log p is then 0 at 0 with a finite gradient, although log 0 is none.

    Args:
        probabilities: p, already in statistics precision (see `widen`).
    """
    return probabilities.clamp_min(1e-30).log()


def category_table(z1: Tensor, z2: Tensor) -> Tensor:
    """Return P = mean_i z1_i z2_iᵀ (n, n), the distribution of the categories of a pair of views.

    Args:
        z1: probabilities of the categories in the first view (B, n), wide (see `widen`).
        z2: the same of the second view.
    """
    return z1.T @ z2 / len(z1)


def check_samples(z: Tensor, minimum: int, what: str, remedy: str) -> None:
    """Raise a one-line ValueError unless `z` is a (B, D) floating tensor with B ≥ `minimum`."""
    if z.ndim != 2 or not z.is_floating_point():
        raise ValueError(
            f"{what} expects floating-point samples of shape (B, D), "
            f"got {tuple(z.shape)} of {z.dtype}"
        )
    if z.shape[0] < minimum:
        raise ValueError(
            f"{what} needs at least {minimum} samples, got a batch of {z.shape[0]}: {remedy}"
        )


def check_pair(z1: Tensor, z2: Tensor) -> None:
    """Raise a one-line ValueError unless the two views have the same shape (B, D)."""
    if z1.shape != z2.shape or z1.ndim != 2:
        raise ValueError(
            "two views of the same samples are expected, both (B, D); "
            f"got {tuple(z1.shape)} and {tuple(z2.shape)}"
        )
