"""Sequences of binned counts without gaps, cut from a recording."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from predictive.data.recordings.clocks import check_one_clock
from predictive.data.recordings.epochs import Array
from predictive.data.recordings.running import along_main_axis, linearise, position_at, velocity
from predictive.data.recordings.series import on_circle, unwrapped, wraps
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.sequences import Segment
from predictive.data.splitting import Pauses, stretches

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
    pauses: Pauses = "cut",
) -> list[Segment]:
    """Cut a recording into sequences of binned counts without gaps.

    Cuts are at gaps in the clock of the spikes and, with running_only and pauses cut, at pauses
    and unknown positions. Targets, at the centres of the bins and NaN where unknown: "position"
    (place along the track, or (k) coordinates), "direction" (the sign of the velocity along the
    track or, for coordinates, along their main axis) and "speed", and the recording's own targets.
    Circular and categorical ones are columns of `TargetKind`. In pauses that are kept all but the
    speed count as unknown.

    Args:
        recording: spikes and positions.
        bin_seconds: as in `recording`, like the arguments up to max_gap_seconds.
        smoothing_seconds: standard deviation of the Gaussian that smooths velocities.
        one_clock: whether clocks that hardly overlap are known to be right.
        pauses: as in `recording`.

    Returns:
        Sequences in the order of time; inputs are the counts (T, cells), of all cells, or
            signals.

    Raises:
        ValueError: clocks that hardly overlap, positions further apart than max_gap_seconds or
            that wrap without being stated circular, no running or no positions to tell it by,
            nothing without a gap for min_seconds, or linear with a circular track.
    """
    tracked = len(recording.position_times) > 0
    clocks = {f"target {name}": one.times for name, one in recording.targets.items()}
    if tracked:
        clocks["positions"] = recording.position_times
    for what, times in reversed(clocks.items()):
        seen = (float(times[0]), float(times[-1]))
        check_one_clock(recording.source, recording.spike_range, seen, one_clock, what)
    if running_only and not tracked:
        raise ValueError(
            f"{recording.source}: expected data.running_only=false for a recording without "
            "positions, got true"
        )
    extent, located = 0.0, None
    if tracked:
        extent, located = _tracking(
            recording, linear, bin_seconds, smoothing_seconds, max_gap_seconds
        )
    found: list[Segment] = []
    fastest, longest = 0.0, 0.0
    fewest = 2
    min_speed = _RUNNING_SHARE * extent if min_speed is None else min_speed
    for starts, counts in recording.binned(bin_seconds):
        fewest = max(2, round(min_seconds / bin_seconds))
        centres = starts + bin_seconds / 2
        targets = {} if located is None else located(centres)
        speed = targets.get("speed", np.zeros((len(centres), 1)))
        fastest = float(np.max(speed, initial=fastest, where=np.isfinite(speed)))
        used = np.full(len(counts), True)
        if running_only:
            # The second condition matters for a track without extent, where the threshold is 0.
            used = np.asarray((speed[:, 0] >= min_speed) & (speed[:, 0] > 0.0))
        for name, one in recording.targets.items():
            targets[name] = one.at(centres, max_gap_seconds)
        runs = stretches(used)
        longest = max([longest, *((last - first) * bin_seconds for first, last in runs)])
        if pauses == "keep":
            for name in targets.keys() - {"speed"}:
                targets[name] = np.where(used[:, None], targets[name], np.nan)
            runs = [(0, len(counts))]
        for first, last in runs:
            if last - first >= fewest:
                inputs, *values = (
                    torch.tensor(array[first:last], dtype=torch.float32)
                    for array in (counts, *targets.values())
                )
                named = dict(zip(targets, values, strict=True))
                found.append(Segment(inputs, named, float(starts[first])))
    if running_only and (not found or longest < fewest * bin_seconds):
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


def _tracking(
    recording: SpikeRecording,
    linear: bool,
    bin_seconds: float,
    smoothing_seconds: float,
    max_gap_seconds: float,
) -> tuple[float, Callable[[Array], dict[str, Array]]]:
    """Return the length of the track in its unit, and what gives the targets at times."""
    stamps, kind = recording.position_times, recording.position_kind
    apart = float(np.median(np.diff(stamps)))
    if apart > max_gap_seconds:
        raise ValueError(
            f"data.max_gap_seconds: expected at least the {apart:.6g} s between positions of "
            f"{recording.source}, got {max_gap_seconds:g}; set data.max_gap_seconds="
            f"{1.5 * apart:.3g}, or data.time_unit if their times are not in seconds"
        )

    def moving(at: Array) -> Array:
        return velocity(at, bin_seconds, smoothing_seconds)

    if kind is not None and kind.name == "circular":
        columns = kind.encoded(recording.position)
        radius = kind.period / (2.0 * np.pi)

        def on_a_circle(times: Array) -> dict[str, Array]:
            at = on_circle(position_at(times, stamps, columns, max_gap_seconds))
            pace = moving(radius * unwrapped(at))
            return {"position": at, "direction": np.sign(pace), "speed": np.abs(pace)}

        return kind.period, on_a_circle
    place, track = _track(recording, linear)
    one = recording.place if linear and recording.place is not None else recording.position
    if kind is None and one.size == len(one) and wraps(one.ravel(), stamps, max_gap_seconds):
        raise ValueError(
            f"{recording.source}: expected places, got ones that jump over nearly their range of "
            f"{track:.6g} again and again, as an angle does: set "
            "'data.targets={position: PERIOD}' (a number, radians or degrees), or "
            "'data.targets={position: continuous}' if they jump"
        )
    samples = np.column_stack([place, recording.position])

    def on_a_track(times: Array) -> dict[str, Array]:
        at = position_at(times, stamps, samples, max_gap_seconds)
        along = moving(at[:, :1])
        position = at[:, :1] if linear else at[:, 1:]
        pace = along if linear else moving(position)
        speed = np.linalg.norm(pace, axis=1, keepdims=True)
        return {"position": position, "direction": np.sign(along), "speed": speed}

    return track, on_a_track


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
