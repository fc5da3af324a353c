"""Samples whose masks are equal share their covariances, whatever is missing in others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from predictive.filtering.types import Full, Method, StateSpaceModel

# A filter of its own costs some milliseconds, as much as separate covariances of n states for this
# many samples, in units of n⁻². Measured on one core, with gradients, at 60 steps.
_WORTH_A_CALL = 256

Filter = TypeVar("Filter", bound=Callable[..., Any])


def by_mask(function: Filter) -> Filter:
    """Return a filter that takes samples of equal masks together, where that is less work.

    They need one recursion of covariances; otherwise each sample has its own. Only on a CPU, where
    work is time, and for a model that is common to all samples.

    Args:
        function: of model, observations, mask and method, to tensors or data classes of tensors
            over the samples, or over one for all.
    """

    @wraps(function)
    def split(
        model: StateSpaceModel,
        observations: Tensor,
        mask: Tensor | None = None,
        method: Method = "auto",
    ) -> Any:
        common = None if mask is None else _commonest(model, observations, mask)
        if mask is None or common is None:
            return function(model, observations, mask, method)
        alike, others = common.nonzero().flatten(), (~common).nonzero().flatten()
        shared = mask[alike[:1]]
        first = function(model, observations[alike], None if shared.all() else shared, method)
        if not len(others):
            return first
        second = split(model, observations[others], mask[others], method)
        order = torch.cat([alike, others]).argsort()
        return _joined((first, second), (len(alike), len(others)), order)

    return split  # pyright: ignore[reportReturnType]


def _commonest(model: StateSpaceModel, observations: Tensor, mask: Tensor) -> Tensor | None:
    """Return which samples have the commonest mask, (B,), or None where they are too few."""
    fits = mask.dtype == torch.bool and mask.shape in (observations.shape[:2], observations.shape)
    if observations.device.type != "cpu" or observations.ndim != 3 or not fits or len(mask) < 2:
        return None
    axes = {"initial_mean": 1, "initial_covariance": 2, "transition": 3, "observation_matrix": 3}
    axes |= {"offset": 2, "observation_offset": 2, "process_noise": 2, "observation_noise": 2}
    for name, common in axes.items():
        value = getattr(model, name)
        if isinstance(value, Full):
            value, common = value.covariance, 3
        if value is not None and value.ndim > common and len(value) > 1:
            return None
    _, kind, counts = mask.flatten(1).unique(dim=0, return_inverse=True, return_counts=True)
    saved = (int(counts.max()) - 1) * model.transition.shape[-1] ** 2
    return None if saved < _WORTH_A_CALL else kind == counts.argmax()


def _joined(parts: Sequence[Any], sizes: Sequence[int], order: Tensor) -> Any:
    """Return results over samples as one, in order."""
    if isinstance(parts[0], Tensor):
        # What samples share is one row there, to which all of them point.
        rows, start = [], 0
        for part, size in zip(parts, sizes, strict=True):
            rows.append(start + torch.arange(size).clamp(max=len(part) - 1))
            start += len(part)
        return torch.cat(list(parts)).index_select(0, torch.cat(rows)[order])
    values = {
        field.name: _joined([getattr(part, field.name) for part in parts], sizes, order)
        for field in fields(parts[0])
    }
    return type(parts[0])(**values)
