"""Sequences of binned counts without gaps, cut from a recording."""

from __future__ import annotations

import numpy as np
import torch

from predictive.data.recordings.clocks import check_one_clock
from predictive.data.recordings.epochs import Array
from predictive.data.recordings.running import along_main_axis, linearise, position_at, velocity
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.sequences import Segment
from predictive.data.splitting import stretches

# Share of the track per second above which an animal runs, unless a speed is given.
_RUNNING_SHARE = 0.05


def segments(
    recording: SpikeRecording,
    bin_seconds: float = 0.025,
    running_only: bool = True,
    min_speed: float | None = None,
    min_seconds: float = 1.0,
    linear: bool = True,
    max_gap_seconds: float = 0.5,
    smoothing_seconds: float = 0.25,
    one_clock: bool = False,
) -> list[Segment]:
    """Cut a recording into sequences of binned counts without gaps.

    Cuts are at gaps in the clock of the spikes and, with running_only, at pauses and unknown
    positions. Targets, at the centres of the bins and NaN where unknown: "position" (place along
    the track, or (k) coordinates), "direction" (the sign of the velocity along the track or, for
    coordinates, along their main axis) and "speed".

    Args:
        recording: spikes and positions.
        bin_seconds: as in `recording`, like the arguments up to max_gap_seconds.
        smoothing_seconds: standard deviation of the Gaussian that smooths velocities.
        one_clock: whether clocks that hardly overlap are known to be right.

    Returns:
        Sequences in the order of time; inputs are the counts (T, cells), of all cells.

    Raises:
        ValueError: clocks that hardly overlap, positions further apart than max_gap_seconds, no
            running, or nothing without a gap for min_seconds; linear with a circular track.
    """
    seen = recording.position_times
    check_one_clock(
        recording.source, recording.spike_range, (float(seen[0]), float(seen[-1])), one_clock
    )
    apart = float(np.median(np.diff(seen)))
    if apart > max_gap_seconds:
        raise ValueError(
            f"data.max_gap_seconds: expected at least the {apart:.6g} s between positions of "
            f"{recording.source}, got {max_gap_seconds:g}; set data.max_gap_seconds="
            f"{1.5 * apart:.3g}, or data.time_unit if their times are not in seconds"
        )
    place, track = _track(recording, linear)
    min_speed = _RUNNING_SHARE * track if min_speed is None else min_speed
    samples = np.column_stack([place, recording.position])
    found: list[Segment] = []
    fastest, longest = 0.0, 0.0
    for starts, counts in recording.binned(bin_seconds):
        centres = starts + bin_seconds / 2
        at = position_at(centres, recording.position_times, samples, max_gap_seconds)
        along = velocity(at[:, :1], bin_seconds, smoothing_seconds)
        position = at[:, :1] if linear else at[:, 1:]
        moving = along if linear else velocity(position, bin_seconds, smoothing_seconds)
        speed = np.linalg.norm(moving, axis=1, keepdims=True)
        fastest = float(np.max(speed, initial=fastest, where=np.isfinite(speed)))
        keep = np.full(len(at), True)
        if running_only:
            # The second condition matters for a track without extent, where the threshold is 0.
            keep = np.asarray((speed[:, 0] >= min_speed) & (speed[:, 0] > 0.0))
        targets = {"position": position, "direction": np.sign(along), "speed": speed}
        for first, last in stretches(keep):
            longest = max(longest, (last - first) * bin_seconds)
            if last - first >= max(2, round(min_seconds / bin_seconds)):
                inputs, *values = (
                    torch.tensor(array[first:last], dtype=torch.float32)
                    for array in (counts, *targets.values())
                )
                named = dict(zip(targets, values, strict=True))
                found.append(Segment(inputs, named, float(starts[first])))
    if not found and running_only:
        raise ValueError(
            f"{recording.source}: expected runs of {min_seconds:g} s at data.min_speed="
            f"{min_speed:.3g}, got at most {longest:.3g} s, and a speed of at most {fastest:.3g}; "
            "lower data.min_speed or data.min_seconds, or set data.running_only=false"
        )
    if not found:
        raise ValueError(
            f"{recording.source}: expected stretches without a gap of data.min_seconds="
            f"{min_seconds:g}, got at most {longest:.3g} s; lower it or data.bin_seconds"
        )
    return found


def _track(recording: SpikeRecording, linear: bool) -> tuple[Array, float]:
    """Return the place of every position sample, and the length of the track in its unit."""
    if linear and recording.circular:
        raise ValueError(
            f"{recording.source}: expected data.linear=false for a circular track, which has no "
            "main axis, got true"
        )
    position = recording.position
    along = position[:, 0] if position.shape[1] == 1 else along_main_axis(position)
    if linear and recording.place is not None:
        along = recording.place
    elif linear and position.shape[1] > 1:
        along = linearise(position)
    return along, float(np.nanmax(along) - np.nanmin(along))
