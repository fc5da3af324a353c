"""Recordings of spikes with positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictive.data.recordings.binning import bin_spikes, check_increasing, known_mean
from predictive.data.recordings.epochs import Array, check_intervals, interval_of
from predictive.data.recordings.series import Series
from predictive.data.targets import TargetKind
from solo_ldm.config.arguments import Positive, check_value, checked

# Share of a bin by which a time stamp may be off, as clocks are written with few digits.
_STAMP_TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class SpikeRecording:
    """A session: the spikes of some cells and the positions of the animal, if these are known.

    Spikes are given either as times or as counts in bins; the other is None. All times are
    seconds on one clock.

    Args:
        source: the file, for errors; the session is named after it.
        position_times: of the position samples, (n,), increasing; (0,) without positions.
        position: samples, (n, k), NaN or infinite where the animal was lost.
        spike_times: times of the spikes of each cell, increasing.
        intervals: starts and ends of the stretches that are used, (m, 2), between which there are
            gaps; None for all bins of counts, or from the first spike to the last.
        counts: spikes per bin, (T, cells).
        count_starts: start of each bin, (T,), increasing; a jump is a gap.
        count_seconds: duration of a bin of counts.
        place: place along the track, (n,), where the source gives one.
        circular: whether the track is closed, so that it has no main axis.
        cell_names: one per cell; their numbers when empty.
        unit: unit of position and place, "" where it is unknown.
        signals: whether `counts` are signals in place of counts of spikes: any real numbers, NaN
            or infinite where missing.
        targets: further variables, by name.
        position_kind: what the positions are; None where it was not stated.
        notes: what was left out or mended while reading, a line each.

    Raises:
        ValueError: arrays that do not fit each other, times that do not increase or are NaN,
            negative counts, all cells silent, no position at all.
    """

    source: str
    position_times: Array
    position: Array
    spike_times: tuple[Array, ...] | None = None
    intervals: Array | None = None
    counts: NDArray | None = None
    count_starts: Array | None = None
    count_seconds: float | None = None
    place: Array | None = None
    circular: bool = False
    cell_names: tuple[str, ...] = ()
    unit: str = ""
    signals: bool = False
    targets: Mapping[str, Series] = field(default_factory=dict)
    position_kind: TargetKind | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.position_times)
        if self.position.ndim != 2 or len(self.position) != n:
            raise ValueError(
                f"{self.source}: expected positions ({n}, k), one row for each of their times, got "
                f"{self.position.shape}"
            )
        if self.place is not None and self.place.shape != (n,):
            raise ValueError(f"{self.source}: expected places ({n},), got {self.place.shape}")
        for name in ("position", "place"):
            values = getattr(self, name)
            if values is not None:
                known = np.where(np.isfinite(values), values, np.nan)
                object.__setattr__(self, name, known)
        check_increasing(self.position_times, f"{self.source}: position times")
        if n < 2 and not (n == 0 and self.targets):
            raise ValueError(f"{self.source}: expected at least 2 positions, got {n}")
        for what in (self.position, self.place):
            if n and what is not None and not np.isfinite(what).reshape(n, -1).all(axis=1).any():
                raise ValueError(f"{self.source}: expected known positions, got {n} of NaN")
        self._check_intervals()
        cells = self._check_counts() if self.spike_times is None else self._check_spike_times()
        seen = self.counts is not None and np.any(np.nan_to_num(self.counts))
        if not (any(map(len, self.spike_times or ())) or seen):
            what = "silent cells" if not self.signals else "signals of zeros or NaN"
            raise ValueError(f"{self.source}: expected spikes, got {cells} {what}")
        names = self.cell_names or tuple(str(i) for i in range(cells))
        if len(names) != cells:
            raise ValueError(f"{self.source}: expected {cells} cell names, got {len(names)}")
        if len(set(names)) < cells:
            twice = sorted({one for one in names if names.count(one) > 1})
            raise ValueError(
                f"{self.source}: expected different cell names, got {', '.join(twice[:5])} more "
                "than once; rename or leave out those cells"
            )
        object.__setattr__(self, "cell_names", names)

    def _check_spike_times(self) -> int:
        times = self.spike_times or ()
        if self.counts is not None:
            raise ValueError(f"{self.source}: expected spike_times or counts, got both")
        for i, one in enumerate(times):
            check_increasing(one, f"{self.source}: spike times of cell {i}")
        return len(times)

    def _check_intervals(self) -> None:
        if self.intervals is not None:
            check_intervals(
                self.intervals, f"{self.source}: ", "sort them, and leave out what overlaps"
            )

    def _check_counts(self) -> int:
        if self.counts is None or self.count_starts is None or self.count_seconds is None:
            raise ValueError(
                f"{self.source}: expected spike_times, or counts with count_starts and "
                "count_seconds, got neither"
            )
        if self.counts.ndim != 2 or len(self.counts) != len(self.count_starts):
            raise ValueError(
                f"{self.source}: expected counts ({len(self.count_starts)}, cells), one row for "
                f"each of their times, got {self.counts.shape}"
            )
        check_value(f"{self.source}: count_seconds", self.count_seconds, Positive)
        check_increasing(self.count_starts, f"{self.source}: times of the counts")
        if self.signals:
            return self.counts.shape[1]
        if not (np.isfinite(self.counts) & (self.counts >= 0)).all():
            wrong = ~np.isfinite(self.counts) | (self.counts < 0)
            row, cell = np.argwhere(wrong)[0]
            raise ValueError(
                f"{self.source}: counts: expected numbers from 0, got {self.counts[row, cell]} in "
                f"bin {row} of cell {cell} ({wrong.sum()} such in all); leave out bins without a "
                "count, with their times: that is a gap"
            )
        return self.counts.shape[1]

    @property
    def name(self) -> str:
        """Of the session, for descriptions."""
        return Path(self.source).stem.removesuffix("_sessInfo")

    @property
    def spike_range(self) -> tuple[float, float]:
        """First and last time at which a spike could be recorded."""
        if self.count_starts is not None:
            stop = self.count_starts[-1] + (self.count_seconds or 0.0)
            return float(self.count_starts[0]), float(stop)
        if self.intervals is not None:
            return float(self.intervals[0, 0]), float(self.intervals[-1, 1])
        times = [one for one in self.spike_times or () if len(one)]
        return min(float(one[0]) for one in times), max(float(one[-1]) for one in times)

    @checked
    def binned(self, bin_seconds: Positive) -> list[tuple[Array, NDArray]]:
        """Return stretches without a gap: starts of their bins, (T,), and counts, (T, cells).

        Counts are summed, and known signals averaged, to coarser bins where bin_seconds is a
        multiple of theirs.

        Raises:
            ValueError: bin_seconds not positive, or not a multiple of the bins of the counts.
        """
        own = self.count_seconds
        if self.counts is None or self.count_starts is None or own is None:
            intervals = np.array([self.spike_range]) if self.intervals is None else self.intervals
            binned = [
                bin_spikes(self.spike_times or (), start, stop, bin_seconds)
                for start, stop in intervals
                if stop - start >= bin_seconds
            ]
            return [(starts, counts) for counts, starts in binned]
        merged = round(bin_seconds / own)
        if merged < 1 or abs(bin_seconds / own - merged) > 0.01:
            raise ValueError(
                f"data.bin_seconds: expected a multiple of the bins of {own:g} s of {self.source}, "
                f"got {bin_seconds:g}; set data.bin_seconds={own * max(1, merged):g}"
            )
        off = np.abs(np.diff(self.count_starts) - own)
        slack = _STAMP_TOLERANCE * own
        within = np.zeros(len(self.count_starts), dtype=np.int64)
        if self.intervals is not None:
            within = interval_of(self.count_starts, self.count_starts + own, self.intervals, slack)
        edges = np.flatnonzero((off > slack) | (np.diff(within) != 0)) + 1
        stretches = []
        for starts, counts, number in zip(
            *(np.split(one, edges) for one in (self.count_starts, self.counts, within)), strict=True
        ):
            if number[0] < 0:
                continue
            whole = len(counts) // merged * merged
            together = counts[:whole].reshape(-1, merged, counts.shape[1])
            added = known_mean(together) if self.signals else together.sum(axis=1)
            stretches.append((starts[:whole:merged], added))
        return stretches
