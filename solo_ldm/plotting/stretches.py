"""Stretches of time without a gap, so that no line is drawn across one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solo_ldm.plotting.arrays import Floats

# Shorter ones show nothing beside the others.
_SHORTEST_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Stretches:
    """Some stretches, laid one after the other on one axis.

    Args:
        positions: on the axis, in seconds, NaN between two stretches.
        sequence: which sequence each position is of; any where it is NaN.
        bins: which time bin of the sequence.
        num_shown: how many stretches these are.
        num_all: out of how many.
    """

    positions: Floats
    sequence: NDArray[np.int64]
    bins: NDArray[np.int64]
    num_shown: int
    num_all: int

    def take(self, values: Floats) -> Floats:
        """Return values (N, T) or (N, T, k) at the positions, NaN between two stretches."""
        taken = values[self.sequence, self.bins].copy()
        taken[np.isnan(self.positions)] = np.nan
        return taken

    @property
    def breaks(self) -> Floats:
        """Positions at the middle between two stretches."""
        (gaps,) = np.nonzero(np.isnan(self.positions))
        return (self.positions[gaps - 1] + self.positions[gaps + 1]) / 2.0

    @property
    def axis_name(self) -> str:
        """The name of the axis, with its unit."""
        return "time (s)" if self.num_shown == 1 else "time shown, gaps left out (s)"


def split(seconds: Floats, known: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return stretches as (sequence, first bin, bin after the last).

    A stretch ends at a bin that is not known, and where time jumps by other than about a step
    (the median difference), so that sessions may also be given as one long sequence.

    Args:
        seconds: time of each bin, (N, T).
        known: whether there is anything to draw, (N, T).
    """
    known = known & np.isfinite(seconds)
    differences = np.diff(seconds, axis=1)
    both = known[:, 1:] & known[:, :-1] & (differences > 0)
    step = np.median(differences[both]) if both.any() else 1.0
    joined = both & (differences < 1.5 * step)
    found = []
    for row in range(len(seconds)):
        (bins,) = np.nonzero(known[row])
        if len(bins):
            linked = np.concatenate(([False], joined[row]))[bins]
            firsts = np.flatnonzero(~linked)
            ends = np.append(firsts[1:], len(bins))
            found += [(row, bins[a], bins[b - 1] + 1) for a, b in zip(firsts, ends, strict=True)]
    return found


def choose(
    seconds: Floats, known: NDArray[np.bool_], max_bins: int, max_stretches: int
) -> Stretches:
    """Choose stretches, evenly over all, and lay them one after the other.

    Args:
        seconds: time of each bin, (N, T).
        known: whether there is anything to draw, (N, T).
        max_bins: bins that are shown in all; longer stretches are cut.
        max_stretches: how many at most.
    """
    found = split(seconds, known)
    if not found:
        none = np.zeros(0, dtype=np.int64)
        return Stretches(np.zeros(0), none, none, 0, 0)
    longest = max(end - first for _, first, end in found)
    good = [s for s in found if s[2] - s[1] >= _SHORTEST_SHARE * min(longest, max_bins)]
    count = min(max_stretches, len(good))
    chosen = [good[i] for i in np.linspace(0, len(good) - 1, count).round().astype(int)]
    pieces = []
    for row, first, end in chosen:
        bins = np.arange(first, min(end, first + max(2, max_bins // count)))
        pieces.append((row, bins, seconds[row, bins] - seconds[row, first]))
    gap = 0.03 * sum(times[-1] for _, _, times in pieces)
    positions, sequence, everything, start = [], [], [], 0.0
    for i, (row, bins, times) in enumerate(pieces):
        if i:
            positions.append([np.nan])
            sequence.append([row])
            everything.append(bins[:1])
        positions.append(start + times)
        sequence.append(np.full(len(bins), row))
        everything.append(bins)
        start += times[-1] + gap
    return Stretches(
        np.concatenate(positions), np.concatenate(sequence), np.concatenate(everything),
        count, len(found),
    )  # fmt: skip
