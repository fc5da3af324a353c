"""Checks of what is drawn: arrays, nested lists, or tensors on any device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Values = Any  # an array, a nested list, or a tensor


def as_array(
    name: str, values: Values, *axes: str, like: tuple[str, NDArray[Any]] | None = None
) -> Floats:
    """Return values as float64 with as many axes as are named, infinities as NaN.

    Args:
        name: of the values, for the message.
        values: what to check.
        axes: what the axes count.
        like: name and values of what has the same shape, as far as both have axes.

    Raises:
        ValueError: in one line, for another number of axes, or another shape.
    """
    array = _floats(values).copy()
    if array.ndim != len(axes):
        raise ValueError(f"{name}: expected ({', '.join(axes)}), got shape {array.shape}")
    if like is not None:
        expected = like[1].shape[: array.ndim]
        if array.shape[: len(expected)] != expected:
            raise ValueError(
                f"{name}: expected {expected}, the shape of {like[0]}, got {array.shape}"
            )
    array[~np.isfinite(array)] = np.nan
    return array


def as_rows(
    name: str, values: Values, *axes: str, like: tuple[str, NDArray[Any]] | None = None
) -> Floats:
    """Return values as (sequences, time, …), also when there is one sequence; see `as_array`."""
    array = _floats(values)
    array = array[None] if array.ndim == len(axes) + 1 else array
    return as_array(name, array, "sequences", "time", *axes, like=like)


def _floats(values: Values) -> Floats:
    values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    return np.asarray(values, dtype=np.float64)


def known_bins(values: Floats) -> NDArray[np.bool_]:
    """Return where anything of values (N, T, …) is known, (N, T)."""
    return np.asarray(np.isfinite(values).any(axis=tuple(range(2, values.ndim))))
