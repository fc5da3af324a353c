"""Statistics of pairs of samples or of features, in bounded memory and shared by processes.

Matrices of B×B numbers are made a block of rows at a time and made again for the gradients, where
they are larger than a block. Inside `solo_ldm.distributed.by_rows` each process computes the rows
of its own samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from solo_ldm.distributed import joined, own_rows, total
from solo_ldm.numerics import product, product_into
from solo_ldm.similar import Similar, threshold_of, weigh

# Of the numbers of a block, which a processor's caches hold, and of the largest matrix of pairs
# that is kept from the forward to the backward pass.
BLOCK_BYTES, _KEPT_BYTES = 2**24, 2**27


def gram(x: Tensor, y: Tensor) -> Tensor:
    """Return XᵀY (D, E) of samples X (B, D) and Y (B, E)."""
    rows = own_rows(len(x))
    return total(product(x[rows].T, y[rows]))


def small_gram(x: Tensor) -> Tensor:
    """Return XXᵀ or XᵀX of `x` (B, D), whichever is smaller; their non-zero spectra are equal.

    Differentiable once, for functions with symmetric gradients G, as all of its spectrum have:
    2 GX or 2 XG is one product, where G and Gᵀ would be two.
    """
    rows, across = own_rows(len(x)), x.shape[0] < x.shape[1]
    part: Tensor = _SmallGram.apply(x, rows, across)  # pyright: ignore[reportAssignmentType]
    return joined(part) if across else total(part)


class _SmallGram(torch.autograd.Function):
    """The share of some rows: their products with all rows, or the sum of their squares."""

    @staticmethod
    def forward(ctx, x: Tensor, rows: slice, across: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.how = rows, across
        return product(x[rows], x.T) if across else product(x[rows].T, x[rows])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        (x,), (rows, across) = ctx.saved_tensors, ctx.how
        pair = (grad_outputs[0], x) if across else (x[rows], grad_outputs[0])
        gradient = torch.empty_like(x)
        gradient[: rows.start] = gradient[rows.stop :] = 0.0
        product_into(gradient[rows], *pair, 2.0)
        return gradient, None, None


def category_table(z1: Tensor, z2: Tensor) -> Tensor:
    """Return P = mean_i z1_i z2_iᵀ (n, n), the distribution of the categories of a pair of views.

    Args:
        z1: probabilities of the categories in the first view (B, n), wide (see `widen`).
        z2: the same of the second view.
    """
    return gram(z1, z2) / len(z1)


def row_blocks(rows: slice, numbers: int, itemsize: int = 8) -> Iterator[slice]:
    """Yield parts of the rows that fit into a block.

    Args:
        rows: from start to stop.
        numbers: of a row.
        itemsize: bytes of a number.
    """
    size = max(1, BLOCK_BYTES // (itemsize * numbers))
    for start in range(rows.start, rows.stop, size):
        yield slice(start, min(start + size, rows.stop))


def squared_distances(
    x: Tensor,
    rows: slice | None = None,
    norm: Tensor | None = None,
    into: Tensor | None = None,
) -> Tensor:
    """Return squared Euclidean distances of some rows from all, without a B×B×D tensor.

    ‖x_i − x_j‖² = ‖x_i‖² + ‖x_j‖² − 2 x_iᵀx_j; without gradients.

    Args:
        x: samples (B, D), wide and centred: distances ignore the mean, which would cost digits.
        rows: which; all if not given.
        norm: ‖x_i‖² (B,), if it is known.
        into: (rows, B), where to put them.

    Returns:
        (rows, B), non-negative, with zeros where both are the same sample.
    """
    rows = rows or slice(0, len(x))
    with torch.no_grad():
        norm = x.square().sum(dim=1) if norm is None else norm
        result = x.new_empty(rows.stop - rows.start, len(x)) if into is None else into
        product_into(result, x[rows], x.T, -2.0)
        result.add_(norm).add_(norm[rows, None]).clamp_min_(0.0)
        result.diagonal(rows.start).zero_()
        return result


def mean_log_kernel_sum(
    z: Tensor,
    precision: float,
    gaussian: bool,
    without_itself: bool,
    floor: float = 0.0,
    similar: Similar | None = None,
) -> Tensor:
    """Return (1/B) Σ_i log( Σ_j w_ij exp(e_ij) + floor ), differentiable once.

    gaussian:  e_ij = −β ‖z_i − z_j‖²
    else:      e_ij = β z_iᵀz_j

    w_ij is 1, but for the pairs of `similar`, which are another choice for each i.

    Args:
        z: samples (B, D), wide.
        precision: β.
        gaussian: which.
        without_itself: leave j = i out of the sums.
        floor: added to sums; only of Gaussian kernels that include j = i.
        similar: pairs whose kernels count otherwise.
    """
    how = precision, gaussian, without_itself, floor, similar
    return _MeanLogKernelSum.apply(z, *how)  # pyright: ignore


def reduced_kernels(
    x: Tensor,
    y: Tensor,
    precision: float,
    gaussian: bool,
    reduce: Callable[[Tensor, int], Tensor],
) -> Tensor:
    """Return a function of each row of the exponents of kernels at x_i centred at y_j, (B,).

    gaussian:  e_ij = −β ‖x_i − y_j‖²
    else:      e_ij = β x_iᵀy_j

    Args:
        x: samples (B, D), wide.
        y: centres (B, D), wide.
        precision: β.
        gaussian: which.
        reduce: makes numbers (rows,) of a block of exponents (rows, B) and the number of its first
            row.
    """
    if gaussian:
        # Distances ignore a shift, which would cost digits.
        middle = 0.5 * (x.mean(dim=0) + y.mean(dim=0))
        x, y = x - middle, y - middle

    def of_block(part: Tensor, start: int) -> Tensor:
        if not gaussian:
            return reduce(precision * product(part, y.T), start)
        squares = part.square().sum(dim=1, keepdim=True) + y.square().sum(dim=1)
        return reduce(-precision * (squares - 2.0 * product(part, y.T)).clamp_min(0.0), start)

    rows = own_rows(len(x))
    made = of_block
    if (rows.stop - rows.start) * len(y) * x.element_size() > _KEPT_BYTES:
        made = partial(checkpoint, of_block, use_reentrant=False)
    blocks = row_blocks(rows, len(y), x.element_size())
    parts: list[Tensor] = [made(x[block], block.start) for block in blocks]  # pyright: ignore
    return joined(torch.cat(parts))


class _MeanLogKernelSum(torch.autograd.Function):
    """With w_ij the share of pair (i, j) in the sum of row i, the gradient weighs by S = w + wᵀ.

    gaussian:  ∂/∂z_i = (2β/B) (S z − (Σ_j S_ij) z_i)
    else:      ∂/∂z_i = (β/B) S z

    As e is symmetric, w_ji is exp(e_ij) in the sum of row j: rows of S need rows of e alone. Which
    pairs are similar is kept as a threshold of e a row. Blocks are calculated in the same memory:
    new memory would cost more than an exponential.
    """

    @staticmethod
    def forward(
        ctx,
        z: Tensor,
        precision: float,
        gaussian: bool,
        without_itself: bool,
        floor: float,
        similar: Similar | None,
    ) -> Tensor:
        x = z - z.mean(dim=0) if gaussian else z
        norm = x.square().sum(dim=1) if gaussian else None
        ctx.how = precision, norm, without_itself
        rows = ctx.rows = own_rows(len(x))
        first, blocks = rows.start, list(row_blocks(rows, len(x), x.element_size()))
        keeps = (rows.stop - first) * len(x) * x.element_size() <= _KEPT_BYTES
        kept = x.new_empty(rows.stop - first if keeps else 0, len(x))
        spare, work = (x.new_empty(blocks[0].stop - first, len(x)) for _ in range(2))
        log_sums, thresholds = [], []
        for block in blocks:
            inside = slice(block.start - first, block.stop - first)
            count = block.stop - block.start
            exponent = _exponents(x, block, ctx.how, kept[inside] if keeps else spare[:count])
            shifted = work[:count].copy_(exponent)
            if similar is not None:
                thresholds.append(threshold_of(exponent, block.start, similar.number))
                weigh(shifted, exponent, thresholds[-1][:, None], block.start, similar.weight)
            if floor > 0.0:
                # Each sum includes exp(0), its own kernel, and is in [1, B]: no shift is needed.
                log_sums.append(torch.log(shifted.exp_().sum(dim=1) + floor))
            else:
                largest = shifted.amax(dim=1)
                sums = shifted.sub_(largest[:, None]).exp_().sum(dim=1)
                log_sums.append(sums.log_() + largest)
        log_sum = joined(torch.cat(log_sums))
        ctx.similar = similar
        threshold = log_sum if similar is None else joined(torch.cat(thresholds))
        ctx.save_for_backward(x, log_sum, kept, threshold)
        return log_sum.mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        x, log_sum, kept, threshold = ctx.saved_tensors
        (precision, norm, _), similar = ctx.how, ctx.similar
        rows, gradient = ctx.rows, torch.zeros_like(x)
        first, blocks = rows.start, list(row_blocks(rows, len(x), x.element_size()))
        spare, work, other = (x.new_empty(blocks[0].stop - first, len(x)) for _ in range(3))
        for block in blocks:
            count = block.stop - block.start
            if len(kept):
                exponent = kept[block.start - first : block.stop - first]
            else:
                exponent = _exponents(x, block, ctx.how, spare[:count])
            weight, back = work[:count].copy_(exponent), other[:count].copy_(exponent)
            if similar is not None:
                weigh(weight, exponent, threshold[block, None], block.start, similar.weight)
                weigh(back, exponent, threshold, block.start, similar.weight)
            weight.sub_(log_sum[block, None]).exp_()
            weight.add_(back.sub_(log_sum).exp_())
            product_into(gradient[block], weight, x, 1.0)
            if norm is not None:
                gradient[block] -= weight.sum(dim=1, keepdim=True) * x[block]
        # The share of this process counts for all: gradients are added up over processes.
        scale = (1.0 if norm is None else 2.0) * precision / (rows.stop - rows.start)
        return gradient.mul_(scale * grad_outputs[0]), None, None, None, None, None


def _exponents(
    x: Tensor, rows: slice, how: tuple[float, Tensor | None, bool], into: Tensor
) -> Tensor:
    """Return e (rows, B), −∞ where a sum leaves itself out; `how` has ‖x_i‖² if it is Gaussian."""
    precision, norm, without_itself = how
    if norm is not None:
        exponent = squared_distances(x, rows, norm, into).mul_(-precision)
    else:
        exponent = product_into(into, x[rows], x.T, precision)
    if without_itself:
        exponent.diagonal(rows.start).fill_(-torch.inf)
    return exponent
