"""One recording as a caller gave it: values, times of the bins, and the way back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from predictive.estimator.reading.names import Names

# Steps between bins above this share of the usual one are gaps; others may differ by `_JITTER`.
_GAP, _JITTER = 1.5, 0.1
_SECOND = np.timedelta64(1, "s")
_DROP = "or drop them, as reset_index(drop=True) does, if rows follow each other"


class Session(NamedTuple):
    """A recording as a caller gave it.

    Args:
        values: what scikit-learn can check, of (T, F): an array or a table.
        stamps: of the bins, (T,): seconds, dates, or whole numbers that count bins; None where the
            caller gave none.
        cuts: first bins of the stretches after gaps that the caller marked.
        wrap: makes of values (S, k), and of names of their columns, what the caller gave. Its
            last argument is the number of the bin that the first row stands for.
        names: of the features; None without.
        said: what is said of an index that is no time, "" if there is nothing to say.
    """

    values: Any
    stamps: NDArray[Any] | None
    cuts: tuple[int, ...]
    wrap: Callable[[NDArray, Sequence[str], int], Any]
    names: Names | None = None
    said: str = ""

    @property
    def times(self) -> NDArray[np.float64] | None:
        """Times of the bins in seconds, (T,), None where they are not known."""
        return None if self.stamps is None else seconds_of(self.stamps)

    def stretches(self, count: int) -> tuple[list[slice], float | None]:
        """Return the bins of each stretch without a gap, and the duration of a bin in seconds.

        Args:
            count: T.

        Raises:
            ValueError: in one line: times that do not increase, or bins of several durations.
        """
        edges = set(self.cuts)
        if self.stamps is None or count < 2:
            return _between(edges, count), None
        times = self.times
        clock = self.stamps if times is None else times
        what, unit, how = "times", " s", "sort them"
        if times is None:
            what, unit, how = "row numbers", "", f"sort them, {_DROP}"
        steps = np.diff(clock)
        if not (steps > 0).all():
            at = int(np.flatnonzero(~(steps > 0))[0])
            raise ValueError(
                f"X: expected increasing {what}, got {clock[at + 1]:g}{unit} after "
                f"{clock[at]:g}{unit} in row {at + 1}; {how}"
            )
        within = np.delete(steps, [edge - 1 for edge in edges])
        if not len(within):
            return _between(edges, count), None
        usual = float(np.median(within))
        if times is None and usual != 1.0:
            raise ValueError(
                f"X: expected row numbers that count bins, got steps of {usual:g}; give times in "
                f"seconds as floats (of milliseconds, X.index / 1000), {_DROP}"
            )
        edges |= set((np.flatnonzero(steps > _GAP * usual) + 1).tolist())
        inside = np.delete(steps, [edge - 1 for edge in edges])
        if len(inside) and np.abs(inside / usual - 1.0).max() > _JITTER:
            raise ValueError(
                f"X: expected bins of one duration, got steps from {inside.min():g} to "
                f"{inside.max():g} s; bin or resample it first"
            )
        return _between(edges, count), None if times is None else usual


def check_same_times(given: Session, like: Session) -> None:
    """Refuse y with times of its own that are not those of X, to half a bin.

    Args:
        given: y.
        like: X.

    Raises:
        ValueError: in one line: another number of times, or other ones.
    """
    own, times = given.stamps, like.stamps
    if own is None or times is None or own.dtype.kind != times.dtype.kind:
        return
    how = "interpolate y at them"
    if "pynapple" in sys.modules:
        how += ", with pynapple X.value_from(y), of a TsGroup X.count(bin_seconds).value_from(y)"
    if len(own) != len(times):
        raise ValueError(
            f"y: expected values at the {len(times)} times of X, got {len(own)} times; {how}"
        )
    apart, steps = own - times, np.diff(times)
    if own.dtype.kind in "mM":
        apart, steps = apart / _SECOND, steps / _SECOND
    near = np.abs(apart) <= (0.5 + 1e-6) * (np.median(steps) if len(steps) else 1e-6)
    if not near.all():
        at = int(np.flatnonzero(~near)[0])
        raise ValueError(
            f"y: expected values at the times of X, got {own[at]} in row {at} where X has "
            f"{times[at]} ({int((~near).sum())} such of {len(near)}); {how}"
        )


def seconds_of(stamps: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return stamps in seconds, of dates since the first; None for numbers of bins."""
    if stamps.dtype.kind in "mM":
        return (stamps - stamps[:1]) / _SECOND
    return stamps if stamps.dtype.kind == "f" else None


def _between(edges: set[int], count: int) -> list[slice]:
    ends = [0, *sorted(edges), count]
    return [slice(a, b) for a, b in pairwise(ends)]
