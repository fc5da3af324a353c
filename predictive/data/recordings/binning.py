"""Spikes counted in bins, and bins that were counted already added up to coarser ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictive.data.recordings.epochs import Array
from solo_ldm.config.arguments import Positive, checked

# Share of a bin below which a spike before an edge counts as on it: 25 ns of 25 ms.
_EDGE_TOLERANCE = 1e-6


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
        check_increasing(times, f"spike times of cell {cell}")
        near = times[slice(*np.searchsorted(times, [start - bin_seconds, stop + bin_seconds]))]
        bins = np.floor((near - start) / bin_seconds + _EDGE_TOLERANCE).astype(np.int64)
        bins = bins[(bins >= 0) & (bins < num_bins)]
        counts[:, cell] = np.bincount(bins, minlength=num_bins)
    return counts, np.asarray(start + np.arange(num_bins) * bin_seconds, dtype=np.float64)


def known_mean(frames: NDArray) -> Array:
    """Return the mean of frames (T, m, F) over the m that are known, (T, F), NaN where none is."""
    known = np.isfinite(frames)
    total = np.where(known, frames, 0.0).sum(axis=1)
    count = known.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def check_increasing(times: Array, what: str) -> None:
    """Raise a one-line ValueError unless times are finite and none is before the last."""
    if not np.isfinite(times).all():
        count = (~np.isfinite(times)).sum()
        raise ValueError(f"{what}: expected finite times, got {count} that are not")
    if (np.diff(times) < 0).any():
        i = int(np.flatnonzero(np.diff(times) < 0)[0])
        raise ValueError(
            f"{what}: expected increasing times, got {times[i]:g} s before {times[i + 1]:g} s"
        )
