"""The pairs of samples that are most similar, and what their kernels count."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Similar(NamedTuple):
    """The pairs of a sample with those that are most similar to it, and what they count.

    Args:
        number: how many of the other samples, at most B − 2.
        weight: factor of their kernels; 0 leaves them out of the sum.
    """

    number: int
    weight: float


def threshold_of(exponent: Tensor, start: int, count: int) -> Tensor:
    """Return a number a row that the exponents of so many other samples exceed, and no more.

    It lies in the middle between two exponents, as rounding differs from e_ij to e_ji.
    """
    others = exponent.clone()
    others.diagonal(start).fill_(-torch.inf)
    return others.topk(count + 1, dim=1).values[:, -2:].mean(dim=1)


def weigh(into: Tensor, exponent: Tensor, threshold: Tensor, start: int, weight: float) -> None:
    """Multiply the kernels of similar pairs, whose logarithms are in `into` (rows, B)."""
    near = exponent > threshold
    near.diagonal(start).fill_(False)
    if weight > 0.0:
        into.add_(near, alpha=math.log(weight))
    else:
        into.masked_fill_(near, -torch.inf)
