"""A filter whose covariances no longer change: one gain, and a few matrix products a sequence.

With constant A, Q, D, R and nothing missing, P⁻ and K converge. From there on

    h_t = F h_{t−1} + s_t,   F = (I − K D) A,   s_t = g + K (z_t − c − D g),   g = b − A b.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from predictive.filtering.covariances import Recursion, complement, fold
from predictive.filtering.loops import calls
from predictive.filtering.recursions import cholesky

# Steps of a block, which becomes one product. A block does this many times the arithmetic of a
# loop, in as many times fewer calls: it pays while a step is less than a call.
_BLOCK = 16
_SMALL_STEP = 4096


def is_constant(recursion: Recursion) -> bool:
    """Return whether the covariances of all samples and steps follow one constant recursion."""
    parameters = (recursion.transition, recursion.process, recursion.matrix, recursion.noise)
    one = all(x.shape[:2] == (1, 1) for x in parameters) and len(recursion.initial) == 1
    return one and recursion.known is None


def settled_means(
    recursion: Recursion,
    predicted_covariance: Tensor,
    innovation: Tensor,
    drift: Tensor,
    target: Tensor,
    last: Tensor,
    predicts: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return filtered means, predicted means and projections D h⁻; differentiable.

    Args:
        recursion: constant parameters, see `is_constant`.
        predicted_covariance: P⁻ at its fixed point, (1, n, n).
        innovation: S there, (1, m, m).
        drift: g, (1, 1, n, K or 1).
        target: z − c, (T, 1, m, K), or without the last one where only projections are wanted.
        last: the mean before these steps, (1, n, K).
        predicts: whether means of the states are wanted; those returned are empty else.
    """
    a, d, g = fold(recursion.transition), fold(recursion.matrix), fold(drift)
    factor = cholesky(innovation.squeeze(0))
    gain = torch.cholesky_solve(d @ predicted_covariance.squeeze(0), factor).mT
    step = complement(gain, d) @ a
    # Means are rows here, so that a product for all steps needs no copy of them.
    shift = target.squeeze(1).mT @ gain.mT + (g - gain @ (d @ g)).mT
    means = _Constant.apply(step, shift, last.squeeze(0).mT)  # pyright: ignore
    before = means[:-1] if predicts else means
    projected = before @ (d @ a).mT + (d @ g).mT
    found = (means[1:], before @ a.mT + g.mT) if predicts else (means[:0], means[:0])
    mean, predicted, projected = (x.mT.unsqueeze(1) for x in (*found, projected))
    return mean, predicted, projected


class _Constant(torch.autograd.Function):
    """x_0 and x_t = F x_{t−1} + s_t of rows, s (T, K, n); the adjoint is the same in reverse."""

    @staticmethod
    def forward(ctx, f: Tensor, s: Tensor, initial: Tensor) -> Tensor:
        x = torch.cat([initial[None], s])
        constant_affine(f, x)
        ctx.save_for_backward(f, x)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        f, x = ctx.saved_tensors
        adjoint = grad_outputs[0].clone(memory_format=torch.contiguous_format)
        constant_affine(f.mT, adjoint, reverse=True)
        return adjoint[1:].flatten(0, 1).mT @ x[:-1].flatten(0, 1), adjoint[1:], adjoint[0]


def constant_affine(f: Tensor, x: Tensor, reverse: bool = False) -> None:
    """Put x_t = F x_{t−1} + s_t, t = 1 … T, in the place of s_t.

    Blocks of L steps are solved at once: with x the state before a block, its states are
    M (s_1 … s_L) + (F, F², …, F^L) x, where block (i, j) of M is F^{i−j}; the last states of the
    blocks follow the same recursion with F^L.

    Args:
        f: (n, n), with eigenvalues inside the unit circle.
        x: rows x_0, s_1, …, s_T, (T + 1, K, n); in reverse s_1, …, s_T, x_0.
        reverse: from the last step to the first: x_t = F x_{t+1} + s_t.
    """
    (steps, samples, n) = len(x) - 1, *x.shape[1:]
    if steps <= 8 * _BLOCK or n * n * samples > _SMALL_STEP:
        do = calls(f[None, None], x[:, None])
        (step,), each = do.steps(f.mT[None, None]), do.steps(x[:, None])
        for before, value in pairwise(each[::-1] if reverse else each):
            do.add_product(value, before, step, out=value)
        return
    powers = _powers(f)
    blocks = -(-steps // _BLOCK)
    order = x.flip(0) if reverse else x
    padded = torch.cat([order[1:], x.new_zeros(blocks * _BLOCK - steps, samples, n)])
    # A row for each block and sample: one product for all.
    rows = padded.view(blocks, _BLOCK, samples, n).transpose(1, 2).reshape(-1, _BLOCK * n)
    within = (rows @ _toeplitz(powers).mT).view(blocks, samples, _BLOCK * n)
    ends = torch.cat([order[:1], within[..., -n:]])
    constant_affine(powers[_BLOCK], ends)
    carried = ends[:-1] @ powers[1:].reshape(-1, n).mT
    values = (within + carried).view(blocks, samples, _BLOCK, n).transpose(1, 2)
    values = values.reshape(-1, samples, n)[:steps]
    (x[:-1] if reverse else x[1:]).copy_(values.flip(0) if reverse else values)


def _powers(f: Tensor) -> Tensor:
    """Return I, F, …, F^L, (L + 1, n, n)."""
    powers = torch.stack([torch.eye(len(f), dtype=f.dtype, device=f.device), f])
    while len(powers) <= _BLOCK:
        powers = torch.cat([powers, powers[-1] @ powers[1:]])
    return powers


def _toeplitz(powers: Tensor) -> Tensor:
    """Return the matrix (L n, L n) whose block (i, j) is F^{i−j}, zero above the diagonal."""
    n, steps = powers.shape[-1], torch.arange(_BLOCK, device=powers.device)
    behind = steps[:, None] - steps
    blocks = torch.where((behind >= 0)[..., None, None], powers[behind.clamp_min(0)], 0.0)
    return blocks.transpose(1, 2).reshape(_BLOCK * n, _BLOCK * n)
