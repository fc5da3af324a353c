"""Gathering latents across processes with the gradients of one big batch."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


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


def smallest(count: int, device: torch.device) -> int:
    """Return the smallest of the counts of all processes.

    Args:
        count: of this process.
        device: that the processes communicate through.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return count
    value = torch.tensor(count, device=device)
    dist.all_reduce(value, op=dist.ReduceOp.MIN)
    return int(value)


def gather(z: Tensor) -> Tensor:
    """Return the samples of all processes, in the order of their ranks, with gradients.

    Args:
        z: samples of this process (B, ...); every process must bring the same number.

    Returns:
        (world size · B, ...); `z` itself outside distributed training.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return z
    return _AllGather.apply(z)  # pyright: ignore[reportReturnType]
