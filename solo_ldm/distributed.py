"""Statistics of the samples of all processes, with the gradients of one big batch.

Every process holds the samples of all (`gather`). Inside `by_rows` each computes what belongs to
its own samples alone, and the parts are joined: values and gradients are those of one process, with
an N-th of the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

_by_rows = False


class _AllGather(torch.autograd.Function):
    """Concatenate along the batch; the adjoint sums over processes and keeps this one's share.

    Every process then holds the loss of the whole batch. Summing the gradients (world size times
    the true ones, as each process contributes the same) and letting distributed data parallel
    average the parameter gradients gives those of one process with the whole batch.
    """

    @staticmethod
    def forward(ctx, z: Tensor) -> Tensor:
        ctx.batch = z.shape[0]
        parts = [torch.empty_like(z) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, z.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> Tensor:
        total = grad_outputs[0].contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.batch
        return total[start : start + ctx.batch]


class _Total(torch.autograd.Function):
    """Sum over processes; its adjoint sums what each process asks for."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> Tensor:
        total = grad_outputs[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def alone() -> bool:
    """Return whether there are no other processes."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


@contextmanager
def by_rows() -> Iterator[None]:
    """Let each process compute the part of statistics that belongs to its own samples.

    The samples must be those of `gather`, and every process must compute the same statistics in the
    same order.
    """
    global _by_rows
    before, _by_rows = _by_rows, not alone()
    try:
        yield
    finally:
        _by_rows = before


def own_rows(count: int) -> slice:
    """Return which of gathered samples are this process's share; all outside `by_rows`.

    Args:
        count: number of samples, the same share of each process.
    """
    if not _by_rows:
        return slice(0, count)
    share = count // dist.get_world_size()
    return slice(dist.get_rank() * share, (dist.get_rank() + 1) * share)


def joined(x: Tensor) -> Tensor:
    """Return what processes have computed for their rows, one after another, with gradients."""
    return gather(x) if _by_rows else x


def total(x: Tensor) -> Tensor:
    """Return the sum of what processes have computed for their rows, with gradients."""
    return _Total.apply(x) if _by_rows else x  # pyright: ignore[reportReturnType]


def smallest(count: int, device: torch.device) -> int:
    """Return the smallest of the counts of all processes.

    Args:
        count: of this process.
        device: that the processes communicate through.
    """
    if alone():
        return count
    value = torch.tensor(count, device=device)
    dist.all_reduce(value, op=dist.ReduceOp.MIN)
    return int(value)


def of_first(x: Tensor) -> Tensor:
    """Return what the first process has, without gradients.

    Args:
        x: of this process, of the same shape in all; overwritten in all but the first.
    """
    if not alone():
        dist.broadcast(x, src=0)
    return x


def gather(z: Tensor) -> Tensor:
    """Return the samples of all processes, in the order of their ranks, with gradients.

    Args:
        z: samples of this process (B, ...); every process must bring the same number.

    Returns:
        (world size · B, ...); `z` itself outside distributed training.
    """
    if alone():
        return z
    return _AllGather.apply(z)  # pyright: ignore[reportReturnType]
