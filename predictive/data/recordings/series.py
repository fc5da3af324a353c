"""Variables that are sampled over time beside the spikes: targets of decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictive.data.recordings.binning import check_increasing
from predictive.data.recordings.epochs import Array
from predictive.data.recordings.running import position_at
from predictive.data.targets import TargetKind, categories_of

# Cosine and sine between two opposite angles are too short to say where.
_SHORTEST = 1e-3
# A step of this share of the range between smaller ones is a wrap, where it comes more than once.
_WRAP, _SMALL = 0.8, 0.1


@dataclass(frozen=True, eq=False)
class Series:
    """A variable on its own clock.

    Args:
        what: file and name, for errors.
        times: of the samples, (n,), s, increasing.
        values: (n, k); texts where categorical.
        kind: of the values.
        unit: "" where it is unknown.

    Raises:
        ValueError: times that do not fit the values or do not increase.
    """

    what: str
    times: Array
    values: NDArray[Any]
    kind: TargetKind
    unit: str = ""

    def __post_init__(self) -> None:
        if len(self.times) != len(self.values) or len(self.times) < 2:
            raise ValueError(
                f"{self.what}: expected a value for each of at least 2 times, got "
                f"{len(self.values)} for {len(self.times)}"
            )
        check_increasing(self.times, f"{self.what}: times")
        if self.kind.name == "categorical" and not self.kind.categories:
            found = replace(self.kind, categories=categories_of(self.what, self.values))
            object.__setattr__(self, "kind", found)
        try:
            columns = self.kind.encoded(self.values)
        except ValueError as error:
            raise ValueError(f"{self.what}: {error}") from None
        if not np.isfinite(columns).all(axis=1).any():
            raise ValueError(f"{self.what}: expected known values, got {len(columns)} of NaN")

    def at(self, times: Array, max_gap_seconds: float) -> Array:
        """Return the columns of the target at some times, (T, c), NaN where unknown.

        Numbers are interpolated, angles along the shorter arc, and a category holds until the next
        sample; nothing does over more than max_gap_seconds.
        """
        columns = self.kind.encoded(self.values)
        if self.kind.name == "categorical":
            last = np.searchsorted(self.times, times, side="right") - 1
            held = columns[last.clip(0)]
            held[(last < 0) | (times - self.times[last.clip(0)] > max_gap_seconds)] = np.nan
            return held
        found = position_at(times, self.times, columns, max_gap_seconds)
        return on_circle(found) if self.kind.name == "circular" else found


def on_circle(columns: Array) -> Array:
    """Return cosines and sines (T, 2) of length 1, NaN where their direction is not known."""
    length = np.linalg.norm(columns, axis=1, keepdims=True)
    return columns / np.where(length > _SHORTEST, length, np.nan)


def unwrapped(columns: Array) -> Array:
    """Return angles (T, 1), radians, of cosines and sines (T, 2), without jumps; NaN stays."""
    angle = np.arctan2(columns[:, 1], columns[:, 0])
    turn = np.nan_to_num((np.diff(angle, prepend=angle[:1]) + np.pi) % (2.0 * np.pi) - np.pi)
    return np.where(np.isfinite(angle), np.cumsum(turn), np.nan)[:, None]


def with_shared_categories(sessions: Sequence[Mapping[str, Series]]) -> list[dict[str, Series]]:
    """Return the series of sessions, a categorical one with the categories of all."""
    shared: dict[str, TargetKind] = {}
    for name in {name for session in sessions for name in session}:
        each = [session[name] for session in sessions if name in session]
        if each[0].kind.name == "categorical":
            found = categories_of(each[0].what, *(one.values for one in each))
            shared[name] = replace(each[0].kind, categories=found)
    return [
        {name: replace(one, kind=shared.get(name, one.kind)) for name, one in session.items()}
        for session in sessions
    ]


def wraps(values: Array, times: Array, max_gap_seconds: float) -> bool:
    """Whether values (n,) jump over nearly their range more than once, as an angle does."""
    known = np.isfinite(values)
    if known.sum() < 4:
        return False
    values, times = values[known], times[known]
    steps = np.abs(np.diff(values)) / max(float(np.ptp(values)), np.finfo(float).tiny)
    jumps = (steps > _WRAP) & (np.diff(times) <= max_gap_seconds)
    return int((jumps[1:-1] & (steps[:-2] < _SMALL) & (steps[2:] < _SMALL)).sum()) > 1
