"""Recordings of spikes with positions, and spikes counted in bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solo_ldm.config.arguments import Positive, check_value, checked

Array = NDArray[np.float64]

# Share of a bin by which a time stamp may be off, as clocks are written with few digits.
_STAMP_TOLERANCE = 0.1
# Share of a bin below which a spike before an edge counts as on it: 25 ns of 25 ms.
_EDGE_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class SpikeRecording:
    """A session: the spikes of some cells and the positions of the animal.

    Spikes are given either as times or as counts in bins; the other is None. All times are
    seconds on one clock.

    Args:
        source: the file, for errors; the session is named after it.
        position_times: of the position samples, (n,), increasing.
        position: samples, (n, k), NaN where the animal was lost.
        spike_times: times of the spikes of each cell, increasing.
        intervals: starts and ends of the stretches in which spikes were recorded, (m, 2); None
            for one stretch from the first spike to the last. Only with spike_times.
        counts: spikes per bin, (T, cells).
        count_starts: start of each bin, (T,), increasing; a jump is a gap.
        count_seconds: duration of a bin of counts.
        place: place along the track, (n,), where the source gives one.
        circular: whether the track is closed, so that it has no main axis.
        cell_names: one per cell; their numbers when empty.
        unit: unit of position and place, "" where it is unknown.

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

    def __post_init__(self) -> None:
        n = len(self.position_times)
        if self.position.ndim != 2 or len(self.position) != n:
            raise ValueError(
                f"{self.source}: expected positions ({n}, k), one row for each of their times, got "
                f"{self.position.shape}"
            )
        if self.place is not None and self.place.shape != (n,):
            raise ValueError(f"{self.source}: expected places ({n},), got {self.place.shape}")
        _check_increasing(self.position_times, f"{self.source}: position times")
        if n < 2:
            raise ValueError(f"{self.source}: expected at least 2 positions, got {n}")
        for what in (self.position, self.place):
            if what is not None and not np.isfinite(what).reshape(n, -1).all(axis=1).any():
                raise ValueError(f"{self.source}: expected known positions, got {n} of NaN")
        cells = self._check_counts() if self.spike_times is None else self._check_spike_times()
        if not (any(map(len, self.spike_times or ())) or np.any(self.counts)):
            raise ValueError(f"{self.source}: expected spikes, got {cells} silent cells")
        names = self.cell_names or tuple(str(i) for i in range(cells))
        if len(names) != cells:
            raise ValueError(f"{self.source}: expected {cells} cell names, got {len(names)}")
        object.__setattr__(self, "cell_names", names)

    def _check_spike_times(self) -> int:
        times = self.spike_times or ()
        if self.counts is not None:
            raise ValueError(f"{self.source}: expected spike_times or counts, got both")
        for i, one in enumerate(times):
            _check_increasing(one, f"{self.source}: spike times of cell {i}")
        if self.intervals is not None and (
            self.intervals.ndim != 2
            or self.intervals.shape[1] != 2
            or not (np.diff(self.intervals.ravel()) >= 0).all()
        ):
            raise ValueError(
                f"{self.source}: expected intervals (m, 2), starts and ends in order of time, got "
                f"{self.intervals.tolist()}"
            )
        return len(times)

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
        _check_increasing(self.count_starts, f"{self.source}: times of the counts")
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

        Counts are summed to coarser bins where bin_seconds is a multiple of theirs.

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
        edges = np.flatnonzero(off > _STAMP_TOLERANCE * own) + 1
        stretches = []
        for starts, counts in zip(
            np.split(self.count_starts, edges), np.split(self.counts, edges), strict=True
        ):
            whole = len(counts) // merged * merged
            added = counts[:whole].reshape(-1, merged, counts.shape[1]).sum(axis=1)
            stretches.append((starts[:whole:merged], added))
        return stretches


@checked
def bin_spikes(
    spike_times: Sequence[Array], start: float, stop: float, bin_seconds: Positive
) -> tuple[NDArray[np.int64], Array]:
    """Count spikes in bins.

    Bin i is the half-open [start + i · bin, start + (i + 1) · bin). A spike within a millionth of
    the bin before its end counts as on it, since decimal times are rarely exact.

    Args:
        spike_times: times of the spikes of each cell, s, increasing.
        start: where the first bin starts, s.
        stop: no bin ends after it; a last, shorter bin is dropped.
        bin_seconds: duration of a bin.

    Returns:
        Counts (T, cells) and the starts of the bins (T,).

    Raises:
        ValueError: bin_seconds not positive, less than a bin between start and stop, or spike
            times that are NaN or do not increase.
    """
    num_bins = int(np.floor((stop - start) / bin_seconds + _EDGE_TOLERANCE))
    if num_bins < 1:
        raise ValueError(
            f"data.bin_seconds: expected at most the {stop - start:g} s from {start:g} to "
            f"{stop:g}, got {bin_seconds:g}"
        )
    counts = np.zeros((num_bins, len(spike_times)), dtype=np.int64)
    for cell, times in enumerate(spike_times):
        _check_increasing(times, f"spike times of cell {cell}")
        near = times[slice(*np.searchsorted(times, [start - bin_seconds, stop + bin_seconds]))]
        bins = np.floor((near - start) / bin_seconds + _EDGE_TOLERANCE).astype(np.int64)
        bins = bins[(bins >= 0) & (bins < num_bins)]
        counts[:, cell] = np.bincount(bins, minlength=num_bins)
    return counts, np.asarray(start + np.arange(num_bins) * bin_seconds, dtype=np.float64)


def _check_increasing(times: Array, what: str) -> None:
    if not np.isfinite(times).all():
        count = (~np.isfinite(times)).sum()
        raise ValueError(f"{what}: expected finite times, got {count} that are not")
    if (np.diff(times) < 0).any():
        i = int(np.flatnonzero(np.diff(times) < 0)[0])
        raise ValueError(
            f"{what}: expected increasing times, got {times[i]:g} s before {times[i + 1]:g} s"
        )
