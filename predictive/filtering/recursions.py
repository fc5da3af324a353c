"""Linear recursions and associative scans, differentiable, by a loop or in parallel.

Tensors here are (G, T, …): G groups with a recursion of their own. Samples that share one
are the K columns of a matrix (G, T, n, K), so that B = G · K with either G or K equal to one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Elements = tuple[Tensor, ...]

# A covariance is a sum of squares, so what makes its factorisation fail is rounding alone. This
# many rounding errors a dimension, as a share of each variance, outweigh it.
_ROUNDINGS = 4.0


def cholesky(covariance: Tensor) -> Tensor:
    """Return the Cholesky factor (…, d, d) of covariances that are singular but for rounding."""
    share = _ROUNDINGS * covariance.shape[-1] * torch.finfo(covariance.dtype).eps
    ridge = torch.diag_embed(share * covariance.diagonal(dim1=-2, dim2=-1))
    return torch.linalg.cholesky(covariance + ridge)


def to_columns(x: Tensor, groups: int) -> Tensor:
    """Return samples (B or 1, T, d) as columns (G, T, d, K)."""
    return x[..., None] if groups > 1 else x.permute(1, 2, 0)[None]


def from_columns(columns: Tensor, samples: int) -> Tensor:
    """Return columns (G, T, d, K) as samples (B, T, d)."""
    x = columns[..., 0] if columns.shape[0] > 1 else columns[0].permute(2, 0, 1)
    return x.expand(samples, -1, -1)


def associative_scan(combine: Callable[[Elements, Elements], Elements], e: Elements) -> Elements:
    """Return all prefixes e_1, e_1 ∘ e_2, …, e_1 ∘ … ∘ e_T in 2 log₂ T batched combinations.

    Args:
        combine: (earlier, later) -> their composition, on batches of elements.
        e: tensors (G, T, …).

    Returns:
        Tensors of the same shapes.

    Source:
        Särkkä & García-Fernández, arXiv 1905.13002; Blelloch, CMU-CS-90-190, 1990.
    """
    steps = e[0].shape[1]
    if steps < 2:
        return e
    earlier, later = (tuple(x[:, start : steps - steps % 2 : 2] for x in e) for start in (0, 1))
    # Prefixes of the pairs are those that end at every second step, …
    ends = associative_scan(combine, combine(earlier, later))
    rest = tuple(x[:, 2::2] for x in e)
    # … and one more element each gives the steps between.
    between = combine(tuple(x[:, : rest[0].shape[1]] for x in ends), rest) if steps > 2 else rest
    prefixes = []
    for first, odd, even in zip(e, between, ends, strict=True):
        prefix = even.new_empty(even.shape[0], steps, *even.shape[2:])
        prefix[:, 1::2] = even
        prefix[:, :1] = first[:, :1]
        prefix[:, 2::2] = odd
        prefixes.append(prefix)
    return tuple(prefixes)


def previous(initial: Tensor, sequence: Tensor) -> Tensor:
    """Return x_0, …, x_{T−1} from x_0 and x_1, …, x_T."""
    return torch.cat([initial[:, None].expand_as(sequence[:, :1]), sequence[:, :-1]], dim=1)


def _affine_values(f: Tensor, g: Tensor, x: Tensor, parallel: bool) -> Tensor:
    if parallel:
        g = torch.cat([g[:, :1] + f[:, :1] @ x[:, None], g[:, 1:]], dim=1)
        return associative_scan(lambda a, b: (b[0] @ a[0], b[0] @ a[1] + b[1]), (f, g))[1]
    values = []
    for step, add in zip(f.unbind(1), g.unbind(1), strict=True):
        x = torch.baddbmm(add, step, x)
        values.append(x)
    return torch.stack(values, dim=1)


def lyapunov_values(f: Tensor, e: Tensor, x: Tensor, parallel: bool) -> Tensor:
    """Return X_t = F_t X_{t−1} F_tᵀ + E_t without a graph; see `lyapunov`."""
    if parallel:
        e = torch.cat([e[:, :1] + f[:, :1] @ x[:, None] @ f[:, :1].mT, e[:, 1:]], dim=1)
        return associative_scan(lambda a, b: (b[0] @ a[0], b[0] @ a[1] @ b[0].mT + b[1]), (f, e))[1]
    values = []
    for step, add in zip(f.unbind(1), e.unbind(1), strict=True):
        x = torch.baddbmm(add, step @ x, step.mT)
        values.append(x)
    return torch.stack(values, dim=1)


def backward_in_time(f: Tensor) -> Tensor:
    """Return F_{t+1}ᵀ, with zero after the last step, in reversed order: the adjoint recursion."""
    return torch.cat([f[:, 1:], torch.zeros_like(f[:, :1])], dim=1).mT.flip(1)


class _Affine(torch.autograd.Function):
    """The adjoint of an affine recursion is one too, backward in time: no graph of T steps."""

    @staticmethod
    def forward(ctx, f: Tensor, g: Tensor, initial: Tensor, parallel: bool) -> Tensor:
        x = _affine_values(f, g, initial, parallel)
        ctx.save_for_backward(f, initial, x)
        ctx.parallel = parallel
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        f, initial, x = ctx.saved_tensors
        (gradient,) = grad_outputs
        adjoint = _affine_values(
            backward_in_time(f), gradient.flip(1), torch.zeros_like(initial), ctx.parallel
        ).flip(1)
        return adjoint @ previous(initial, x).mT, adjoint, f[:, 0].mT @ adjoint[:, 0], None


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
        adjoint = lyapunov_values(
            backward_in_time(f), gradient.flip(1), torch.zeros_like(initial), ctx.parallel
        ).flip(1)
        before = previous(initial, x)
        grad_f = adjoint @ f @ before.mT + adjoint.mT @ f @ before
        return grad_f, adjoint, f[:, 0].mT @ adjoint[:, 0] @ f[:, 0], None


def affine(f: Tensor, g: Tensor, initial: Tensor, parallel: bool) -> Tensor:
    """Return x_t = F_t x_{t−1} + g_t, t = 1 … T, of columns.

    Args:
        f: (G, T, n, n).
        g: (G, T, n, K).
        initial: x_0, (G, n, K).
        parallel: by an associative scan rather than a loop.

    Returns:
        (G, T, n, K).
    """
    return _Affine.apply(f, g, initial, parallel) if f.shape[1] else g  # pyright: ignore


def lyapunov(f: Tensor, e: Tensor, initial: Tensor, parallel: bool) -> Tensor:
    """Return X_t = F_t X_{t−1} F_tᵀ + E_t, t = 1 … T: a sum of squares, so never indefinite.

    Args:
        f: (G, T, n, n).
        e: (G, T, n, n), symmetric.
        initial: X_0, (G, n, n), symmetric.
        parallel: by an associative scan rather than a loop.

    Returns:
        (G, T, n, n).
    """
    return _Lyapunov.apply(f, e, initial, parallel) if f.shape[1] else e  # pyright: ignore
