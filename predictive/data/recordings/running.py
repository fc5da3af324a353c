"""Position and velocity of a tracked animal: arrays over time."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from predictive.data.recordings.epochs import Array
from predictive.data.splitting import stretches

# A time this close to that of a position sample counts as the same, s.
_SAME_TIME = 1e-6


def position_at(
    times: Array, position_times: Array, position: Array, max_gap_seconds: float = 0.5
) -> Array:
    """Interpolate positions linearly.

    Args:
        times: at which to interpolate, (T,), s.
        position_times: of the position samples, (n,), s, increasing.
        position: samples, (n, k).
        max_gap_seconds: longest gap between samples that is interpolated.

    Returns:
        Positions, (T, k): NaN in longer gaps, before the first sample, after the last, and next to
        a sample of NaN.
    """
    after = np.searchsorted(position_times, times).clip(1, len(position_times) - 1)
    before = after - 1
    elapsed = times - position_times[before]
    gap = position_times[after] - position_times[before]
    share = np.divide(elapsed, gap, out=np.zeros_like(gap), where=gap > 0)[:, None]
    at = (1.0 - share) * position[before] + share * position[after]
    at[(elapsed < 0) | (elapsed > gap) | (gap > max_gap_seconds)] = np.nan
    # At the time of a sample, its neighbours do not matter.
    for sample in (before, after):
        same = np.abs(times - position_times[sample]) <= _SAME_TIME
        at[same] = position[sample[same]]
    return at


def linearise(position: Array) -> Array:
    """Return the place along the main axis of the positions, scaled to [0, 1].

    The main axis u is the first principal axis of the known positions; its largest entry in
    magnitude is positive. Place = (uᵀx − min uᵀx) / (max uᵀx − min uᵀx).

    Args:
        position: (n, k), NaN where unknown.

    Returns:
        Places (n,), NaN where unknown.

    Raises:
        ValueError: fewer than two positions are known, or all are the same.
    """
    along = along_main_axis(position)
    low, high = np.nanmin(along), np.nanmax(along)
    return (along - low) / (high - low)


def along_main_axis(position: Array) -> Array:
    """Return the coordinate uᵀx along the main axis u of the positions; see `linearise`.

    Args:
        position: (n, k), NaN where unknown.

    Returns:
        (n,) in the unit of the positions, NaN where unknown.

    Raises:
        ValueError: fewer than two positions are known, or all are the same.
    """
    known = position[np.isfinite(position).all(axis=1)]
    if len(known) < 2 or not (known != known[0]).any():
        raise ValueError(
            "position: expected a track with at least two different positions, got "
            f"{len(known)} known of {len(position)}"
        )
    _, _, axes = np.linalg.svd(known - known.mean(axis=0), full_matrices=False)
    axis = axes[0] * np.sign(axes[0, np.abs(axes[0]).argmax()])
    return position @ axis


def velocity(position: Array, bin_seconds: float, smoothing_seconds: float = 0.25) -> Array:
    """Return the velocity, smoothed by a Gaussian within stretches of known positions.

    Args:
        position: in consecutive bins, (T, k), NaN where unknown.
        bin_seconds: duration of a bin.
        smoothing_seconds: standard deviation of the Gaussian, above 0.

    Returns:
        Velocities (T, k) in the unit of the position per second, NaN where unknown.
    """
    result = np.full_like(position, np.nan)
    known = np.asarray(np.isfinite(position).all(axis=1))
    for first, last in stretches(known):
        if last - first > 1:
            raw = np.gradient(position[first:last], bin_seconds, axis=0)
            result[first:last] = gaussian_filter1d(
                raw, smoothing_seconds / bin_seconds, axis=0, mode="nearest"
            )
    return result
