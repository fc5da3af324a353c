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


def shared_by(each: list[Array]) -> tuple[Array | None, list[str]]:
    """Return the stretches in which all units were observed, None for all, and notes.

    Args:
        each: the intervals of each unit, (m, 2).
    """
    if not any(one.size for one in each):
        return None, []
    if not all(one.size for one in each):
        return None, ["obs_intervals are not used, as some units have none"]
    if all(one.shape == each[0].shape and (one == each[0]).all() for one in each):
        return each[0], []
    shared = joined(each[0])
    for one in each[1:]:
        shared = intersection(shared, joined(one))
    seconds = float(np.diff(shared, axis=1).sum())
    longest = max(float(np.diff(one, axis=1).sum()) for one in each)
    return shared, [
        f"obs_intervals differ between units: {seconds:.4g} s that all share, of at most "
        f"{longest:.4g} s"
    ]
