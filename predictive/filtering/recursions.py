"""Linear recursions and associative scans, differentiable, by a loop or in parallel.

Tensors here are (T, G, …): T steps of G groups with a recursion of their own, time first so that
the loops write to memory in order. Samples that share a recursion are the K columns of a matrix
(T, G, n, K), so that B = G · K with either G or K equal to one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from predictive.filtering.loops import Calls, calls

Elements = tuple[Tensor, ...]

# A covariance is a sum of squares: only rounding makes its factorisation fail. This many rounding
# errors per dimension, as a share of each variance, outweigh it.
_ROUNDINGS = 4.0


def rounding_share(covariance: Tensor) -> float:
    """Return the share of each variance to add before a factorisation."""
    return _ROUNDINGS * covariance.shape[-1] * torch.finfo(covariance.dtype).eps


def ridge(covariance: Tensor) -> Tensor:
    """Return the entrywise factor of covariances (…, d, d) before a factorisation."""
    ones = covariance.new_ones(covariance.shape[-1], covariance.shape[-1])
    return ones.fill_diagonal_(1.0 + rounding_share(covariance))


def cholesky(covariance: Tensor) -> Tensor:
    """Return the Cholesky factor (…, d, d) of covariances that are singular but for rounding."""
    return torch.linalg.cholesky(covariance * ridge(covariance))


def symmetric(x: Tensor) -> Tensor:
    """Return (X + Xᵀ) / 2 of matrices (…, d, d)."""
    return torch.lerp(x, x.mT, 0.5)


def to_columns(x: Tensor, groups: int) -> Tensor:
    """Return samples (B or 1, T, d) as columns (T, G, d, K)."""
    return x.transpose(0, 1)[..., None] if groups > 1 else x.permute(1, 2, 0)[:, None]


def from_columns(columns: Tensor, samples: int) -> Tensor:
    """Return columns (T, G, d, K) as samples (B, T, d)."""
    if columns.shape[1] > 1:
        x = columns.squeeze(-1).transpose(0, 1)
    else:
        x = columns.squeeze(1).permute(2, 0, 1)
    return x.expand(samples, -1, -1)


def associative_scan(combine: Callable[[Elements, Elements], Elements], e: Elements) -> Elements:
    """Return all prefixes e_1, e_1 ∘ e_2, …, e_1 ∘ … ∘ e_T in 2 log₂ T batched combinations.

    Args:
        combine: (earlier, later) -> their composition, on batches of elements.
        e: tensors (T, …).

    Returns:
        Tensors of the same shapes.

    Source:
        Särkkä & García-Fernández, arXiv 1905.13002; Blelloch, CMU-CS-90-190, 1990.
    """
    steps = len(e[0])
    if steps < 2:
        return e
    earlier, later = (tuple(x[start : steps - steps % 2 : 2] for x in e) for start in (0, 1))
    # Prefixes of the pairs are those that end at every second step, …
    ends = associative_scan(combine, combine(earlier, later))
    rest = tuple(x[2::2] for x in e)
    # … and one more element each gives the steps between.
    between = combine(tuple(x[: len(rest[0])] for x in ends), rest) if steps > 2 else rest
    prefixes = []
    for first, odd, even in zip(e, between, ends, strict=True):
        prefix = even.new_empty(steps, *even.shape[1:])
        prefix[1::2] = even
        prefix[:1] = first[:1]
        prefix[2::2] = odd
        prefixes.append(prefix)
    return tuple(prefixes)


def previous(initial: Tensor, sequence: Tensor) -> Tensor:
    """Return x_0, …, x_{T−1} from x_0 and x_1, …, x_T."""
    return torch.cat([initial.expand_as(sequence[:1]), sequence[:-1]])


def spread(sequence: Tensor, steps: int) -> Tensor:
    """Return a sequence (T', …) over T ≥ T' steps, its last one repeated."""
    rest = steps - len(sequence)
    return (
        torch.cat([sequence, sequence[-1:].expand(rest, *sequence.shape[1:])]) if rest else sequence
    )


@np.errstate(all="ignore")
def affine_values(f: Tensor, g: Tensor, x: Tensor, parallel: bool, reverse: bool = False) -> Tensor:
    """Return x_t = F_t x_{t−1} + g_t without a graph; see `affine`.

    In reverse, x_t = F_t x_{t+1} + g_t from the last step to the first.
    """
    if parallel and reverse:
        return affine_values(f.flip(0), g.flip(0), x, parallel).flip(0)
    if parallel:
        g = torch.cat([g[:1] + f[:1] @ x, g[1:]])
        return associative_scan(lambda a, b: (b[0] @ a[0], b[0] @ a[1] + b[1]), (f, g))[1]
    values = torch.empty_like(g, memory_format=torch.contiguous_format)
    do = calls(f, values)
    x = do.steps(x[None])[0]
    for step, add, value in _in_order(do, reverse, f, g, values):
        x = do.add_product(add, step, x, out=value)
    return values


@np.errstate(all="ignore")
def lyapunov_values(
    f: Tensor, e: Tensor, x: Tensor, parallel: bool, reverse: bool = False
) -> Tensor:
    """Return X_t = F_t X_{t−1} F_tᵀ + E_t without a graph; see `lyapunov`.

    In reverse, X_t = F_t X_{t+1} F_tᵀ + E_t from the last step to the first.
    """
    if parallel and reverse:
        return lyapunov_values(f.flip(0), e.flip(0), x, parallel).flip(0)
    if parallel:
        e = torch.cat([e[:1] + f[:1] @ x @ f[:1].mT, e[1:]])
        return associative_scan(lambda a, b: (b[0] @ a[0], b[0] @ a[1] @ b[0].mT + b[1]), (f, e))[1]
    values = torch.empty_like(e, memory_format=torch.contiguous_format)
    do = calls(f, values)
    x = do.steps(x[None])[0]
    for step, add, value in _in_order(do, reverse, f, e, values):
        x = do.add_product(add, do.product(step, x), do.transpose(step), out=value)
    return values


def _in_order(do: Calls, reverse: bool, *sequences: Tensor) -> Iterator[tuple[Any, ...]]:
    steps = zip(*map(do.steps, sequences), strict=True)
    return reversed(list(steps)) if reverse else steps


def _next(f: Tensor) -> Tensor:
    """Return F_2ᵀ, …, F_Tᵀ and zero: the recursion of the adjoints, in reverse."""
    return torch.cat([f[1:], torch.zeros_like(f[:1])]).mT


class _Affine(torch.autograd.Function):
    """The adjoint of an affine recursion is one too, backward in time: no graph of T steps."""

    @staticmethod
    def forward(ctx, f: Tensor, g: Tensor, initial: Tensor, parallel: bool) -> Tensor:
        x = affine_values(f, g, initial, parallel)
        ctx.save_for_backward(f, initial, x)
        ctx.parallel = parallel
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        f, initial, x = ctx.saved_tensors
        (gradient,) = grad_outputs
        start = torch.zeros_like(initial)
        adjoint = affine_values(_next(f), gradient, start, ctx.parallel, reverse=True)
        return adjoint @ previous(initial, x).mT, adjoint, f[0].mT @ adjoint[0], None


class _Lyapunov(torch.autograd.Function):
    """The same for X_t = F_t X_{t−1} F_tᵀ + E_t."""

    @staticmethod
    def forward(ctx, f: Tensor, e: Tensor, initial: Tensor, parallel: bool) -> Tensor:
        x = lyapunov_values(f, e, initial, parallel)
        ctx.save_for_backward(f, initial, x)
        ctx.parallel = parallel
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        f, initial, x = ctx.saved_tensors
        (gradient,) = grad_outputs
        start = torch.zeros_like(initial)
        adjoint = lyapunov_values(_next(f), gradient, start, ctx.parallel, reverse=True)
        before = previous(initial, x)
        grad_f = adjoint @ f @ before.mT + adjoint.mT @ f @ before
        return grad_f, adjoint, f[0].mT @ adjoint[0] @ f[0], None


def affine(f: Tensor, g: Tensor, initial: Tensor, parallel: bool) -> Tensor:
    """Return x_t = F_t x_{t−1} + g_t, t = 1 … T, of columns.

    Args:
        f: (T, G, n, n).
        g: (T, G, n, K).
        initial: x_0, (G, n, K).
        parallel: by an associative scan rather than a loop.

    Returns:
        (T, G, n, K).
    """
    return _Affine.apply(f, g, initial, parallel) if len(f) else g  # pyright: ignore


def lyapunov(f: Tensor, e: Tensor, initial: Tensor, parallel: bool) -> Tensor:
    """Return X_t = F_t X_{t−1} F_tᵀ + E_t, t = 1 … T: a sum of squares, so never indefinite.

    Args:
        f: (T, G, n, n).
        e: (T, G, n, n), symmetric.
        initial: X_0, (G, n, n), symmetric.
        parallel: by an associative scan rather than a loop.

    Returns:
        (T, G, n, n).
    """
    return _Lyapunov.apply(f, e, initial, parallel) if len(f) else e  # pyright: ignore
