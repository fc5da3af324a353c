"""Stretches of time as rows of a start and an end, in the order of time and apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictive.data.recordings.values import numbers
from solo_ldm.config.arguments import shortened

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


def check_intervals(intervals: Array, where: str, how: str) -> None:
    """Refuse what are no intervals (m, 2) in the order of time and apart.

    Args:
        intervals: to check.
        where: they are, for errors.
        how: to mend them, for errors.
    """
    shaped = intervals.ndim == 2 and intervals.shape[1] == 2
    if shaped and (np.diff(intervals.ravel()) >= 0).all():
        return
    got = shortened(intervals.tolist())
    if shaped:
        at = int(np.flatnonzero(~(np.diff(intervals.ravel()) >= 0))[0]) + 1
        start, end = intervals[at // 2].tolist()
        got = f"{start:g} to {end:g} s in row {at // 2}"
        got += f" after {intervals[at // 2 - 1, 1]:g} s" if at % 2 == 0 else ""
    raise ValueError(
        f"{where}expected intervals (m, 2), starts and ends in order of time, got {got}; {how}"
    )


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


def of_trials(nwb: Any, used: Array | None, path: Path, said: list[str]) -> Array:
    """Return the trials of a file, as far as they lie in the stretches that are used.

    Trials without a start or an end are left out, and counted in what is said.
    """
    table = nwb.trials
    if table is None or not len(table):
        raise ValueError(
            f"{path}: data.trials: expected a table of trials, got none; set it to null"
        )
    rows = np.column_stack([table["start_time"][:], table["stop_time"][:]]).astype(np.float64)
    known = np.asarray(np.isfinite(rows).all(axis=1))
    if not known.all():
        said.append(f"{int((~known).sum())} of {len(known)} trials without a start or an end")
    rows = rows[known][np.argsort(rows[known, 0], kind="stable")]
    check_intervals(rows, f"{path}: trials: ", "correct the table, or set data.trials=null")
    return intersection(np.array([[-np.inf, np.inf]]) if used is None else used, rows)


def without_invalid(
    nwb: Any, used: Array, notes: list[str] | None, path: Path
) -> tuple[Array, list[str]]:
    """Return stretches without the invalid times of a file, and what is to be said of them."""
    notes, invalid = list(notes or ()), nwb.invalid_times
    if invalid is not None and len(invalid):
        cut = np.column_stack([invalid["start_time"][:], invalid["stop_time"][:]])
        left = without(used, numbers(cut, f"{path}: invalid_times").astype(np.float64))
        seconds = float(np.diff(used, axis=1).sum() - np.diff(left, axis=1).sum())
        used = left
        notes.append(f"{len(invalid)} invalid times cut out, {seconds:.4g} s")
    if not len(used):
        raise ValueError(
            f"{path}: expected time in which all units were observed and which is valid, got none "
            f"({'; '.join(notes)})"
        )
    return used, notes
