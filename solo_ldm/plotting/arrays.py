"""Checks of what is drawn: arrays, nested lists, or tensors on any device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Values = Any  # an array, a nested list, or a tensor


def as_array(name: str, values: Values, *axes: str) -> Floats:
    """Return values as float64 with as many axes as are named, infinities as NaN.

    Raises:
        ValueError: in one line, for another number of axes.
    """
    array = _floats(values).copy()
    if array.ndim != len(axes):
        raise ValueError(f"{name}: expected ({', '.join(axes)}), got shape {array.shape}")
    array[~np.isfinite(array)] = np.nan
    return array


def as_rows(name: str, values: Values, *axes: str) -> Floats:
    """Return values as (sequences, time, …), also when there is one sequence or one dimension.

    Raises:
        ValueError: in one line, for another number of axes.
    """
    array = _floats(values)
    if array.ndim == len(axes) + 1:
        array = array[None]
    return as_array(name, array, "sequences", "time", *axes)


def _floats(values: Values) -> Floats:
    values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    return np.asarray(values, dtype=np.float64)


def check_shape(name: str, values: Floats, expected: tuple[int, ...], like: str) -> None:
    """Check a shape.

    Raises:
        ValueError: in one line, naming what the shape should be like.
    """
    if values.shape != expected:
        raise ValueError(f"{name}: expected {expected}, the shape of {like}, got {values.shape}")


def known_bins(values: Floats) -> NDArray[np.bool_]:
    """Return where anything of values (N, T, …) is known, (N, T)."""
    return np.asarray(np.isfinite(values).any(axis=tuple(range(2, values.ndim))))
