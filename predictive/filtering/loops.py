"""What a loop over time calls at each step: functions of torch, or of numpy for small matrices.

On a CPU a call of torch on small matrices is nearly all overhead, several times that of numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import get_lapack_funcs
from torch import Tensor

# Numbers in a matrix. Products of larger ones gain nothing from numpy, whose BLAS would also take
# threads of its own for them.
_SMALL = 4096
(_posv,) = get_lapack_funcs(("posv",), dtype=np.float64)


class Calls(NamedTuple):
    """Functions of matrices, which are tensors (G, …) or, in numpy, the arrays of one group."""

    steps: Callable[[Tensor], Any]  # of a tensor (T, G or none, …), in the same memory
    transpose: Callable[[Any], Any]
    product: Callable[[Any, Any], Any]
    add: Callable[..., Any]  # x + y into `out`
    add_product: Callable[..., Any]  # x + A B into `out`
    less_product: Callable[[Any, Any, Any], Any]  # x − A B
    where: Callable[[Any, Any, Any], Any]
    divide: Callable[..., Any]  # X S⁻¹ into `out`; NaN where a covariance S is not definite
    mean: Callable[..., Any]  # (x + y) / 2 into `out`


def calls(*sequences: Tensor) -> Calls:
    """Return the functions for a loop over tensors (T, G, …)."""
    small = all(
        x.device.type == "cpu" and x.shape[1] == 1 and x[0].numel() <= _SMALL for x in sequences
    )
    return _NUMPY if small else _TORCH


def _steps(x: Tensor) -> np.ndarray:
    array = x.detach().numpy()
    return array[:, 0] if array.ndim == 4 else array


def _divide(x: np.ndarray, covariance: np.ndarray, out: np.ndarray) -> None:
    _, solution, info = _posv(covariance, x.T)
    out[...] = np.nan if info else solution.T


def _mean(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
    np.add(x, y, out=out)
    out *= 0.5
    return out


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Return X Y; torch.matmul finds out slowly that it is to call torch.bmm."""
    return torch.bmm(x, y) if x.ndim == y.ndim == 3 else torch.matmul(x, y)


_NUMPY = Calls(
    steps=_steps,
    transpose=attrgetter("T"),
    product=np.ndarray.dot,
    add=np.add,
    add_product=lambda x, a, b, out: np.add(x, a.dot(b), out=out),
    less_product=lambda x, a, b: x - a.dot(b),
    where=np.where,
    divide=_divide,
    mean=_mean,
)
_TORCH = Calls(
    steps=lambda x: x.unbind(),
    transpose=attrgetter("mT"),
    product=_product,
    add=torch.add,
    add_product=torch.baddbmm,
    less_product=lambda x, a, b: torch.baddbmm(x, a, b, alpha=-1.0),
    where=torch.where,
    divide=lambda x, s, out: out.copy_(
        torch.cholesky_solve(x.mT, torch.linalg.cholesky_ex(s).L).mT
    ),
    mean=lambda x, y, out: torch.lerp(x, y, 0.5, out=out),
)
