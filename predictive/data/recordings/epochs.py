"""Stretches of time as rows of a start and an end, in the order of time and apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def joined(intervals: Array) -> Array:
    """Return intervals (m, 2) in the order of time, those that overlap or touch as one."""
    ordered = intervals[np.argsort(intervals[:, 0], kind="stable")]
    if not len(ordered):
        return ordered
    latest = np.maximum.accumulate(ordered[:, 1])
    first = np.concatenate([[True], ordered[1:, 0] > latest[:-1]])
    last = np.concatenate([first[1:], [True]])
    return np.column_stack([ordered[first, 0], latest[last]])


def intersection(one: Array, other: Array) -> Array:
    """Return the stretches that lie in both of two sets of intervals, (m, 2)."""
    starts = np.maximum(one[:, None, 0], other[None, :, 0]).ravel()
    ends = np.minimum(one[:, None, 1], other[None, :, 1]).ravel()
    found = np.column_stack([starts, ends])[ends > starts]
    return found[np.argsort(found[:, 0], kind="stable")]


def without(intervals: Array, removed: Array) -> Array:
    """Return what is left of intervals outside others, which may overlap each other."""
    removed = joined(removed)
    starts = np.concatenate([[-np.inf], removed[:, 1]])
    ends = np.concatenate([removed[:, 0], [np.inf]])
    return intersection(intervals, np.column_stack([starts, ends]))


def interval_of(starts: Array, ends: Array, intervals: Array, slack: float) -> NDArray[np.int64]:
    """Return the number of the interval in which each bin lies whole, −1 for none.

    Args:
        starts: of the bins, (T,).
        ends: of the bins, (T,).
        intervals: (m, 2), in the order of time and apart.
        slack: how far a bin may reach out of its interval.
    """
    number = np.searchsorted(intervals[:, 0], starts + slack, side="right") - 1
    inside = (number >= 0) & (ends <= intervals[number, 1] + slack)
    return np.where(inside, number, -1)
