"""Recordings of spikes with positions, cut into sequences of binned counts and split."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch

from predictive.data.recordings.hippocampus import read_cebra, read_hc11
from predictive.data.recordings.nwb import read_nwb
from predictive.data.recordings.running import along_main_axis, linearise, position_at, velocity
from predictive.data.recordings.spike_files import read_mat, read_npz
from predictive.data.recordings.spikes import Array, SpikeRecording
from predictive.data.sequences import Segment, TimeSeriesData, pad
from predictive.data.splitting import Position, split_blocks, split_contiguous, stretches
from solo_ldm.config.arguments import Bounds, NonNegative, Positive, checked

Format = Literal["auto", "npz", "mat", "nwb", "hc11", "cebra"]

# Share of the track per second above which an animal runs, unless a speed is given.
_RUNNING_SHARE = 0.05
_SUFFIXES = {".npz": "npz", ".mat": "mat", ".nwb": "nwb", ".jl": "cebra", ".joblib": "cebra"}


def segments(
    recording: SpikeRecording,
    bin_seconds: float = 0.025,
    running_only: bool = True,
    min_speed: float | None = None,
    min_seconds: float = 1.0,
    linear: bool = True,
    max_gap_seconds: float = 0.5,
    smoothing_seconds: float = 0.25,
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

    Returns:
        Sequences in the order of time; inputs are the counts (T, cells), of all cells.

    Raises:
        ValueError: clocks that do not overlap, no running, or nothing without a gap for
            min_seconds; linear with a circular track.
    """
    spikes, seen = recording.spike_range, recording.position_times[[0, -1]]
    if spikes[1] <= seen[0] or seen[1] <= spikes[0]:
        raise ValueError(
            f"{recording.source}: expected one clock for spikes and positions, got spikes from "
            f"{spikes[0]:g} to {spikes[1]:g} s and positions from {seen[0]:g} to {seen[1]:g} s; "
            "give both in seconds from the same start"
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


@checked
def recording(
    path: str | Path | Sequence[str | Path],
    format: Format = "auto",
    bin_seconds: Positive = 0.025,
    running_only: bool = True,
    min_speed: NonNegative | None = None,
    min_seconds: NonNegative = 1.0,
    max_gap_seconds: NonNegative = 0.5,
    linear: bool = True,
    split: Literal["blocks", "contiguous"] = "blocks",
    block_seconds: Positive = 20.0,
    folds: Annotated[int, Bounds(2)] = 5,
    fold: Annotated[int, Bounds(0)] = 0,
    held_out_share: Annotated[float, Bounds(above=0, below=1)] = 0.2,
    held_out_position: Position = "end",
    interneurons: bool = False,
    position_series: str | None = None,
    trust: bool = False,
    seed: int = 0,
) -> TimeSeriesData:
    """Read recordings, cut them into sequences of raw counts and split these in time.

    Each session is split separately. Cells without a spike in the training sequences are dropped
    and named in the description.

    Args:
        path: a file, a pattern such as "rat/*.npz", or a list of these: sessions of one set of
            cells.
        format: of the files; "auto" goes by their names (`*_sessInfo.mat` is hc11).
        bin_seconds: duration of a bin.
        running_only: keep only bins in which the animal is known to run.
        min_speed: speed of running, in the unit of the position per second; None for 5 % of the
            length of the track (the extent of the places) per second.
        min_seconds: sequences shorter than this are dropped before the split.
        max_gap_seconds: longest gap between position samples that is interpolated.
        linear: whether the target is the place along the track (the recording's own, else by
            `linearise`) or the coordinates.
        split: "blocks" (`split_blocks`) or "contiguous" (`split_contiguous`).
        block_seconds: duration of a block.
        folds: number of folds of blocks.
        fold: which fold is held out.
        held_out_share: share of the bins that a contiguous split holds out.
        held_out_position: where a contiguous split holds out.
        interneurons: whether to read interneurons of hc11 as well as pyramidal cells.
        position_series: name of the positions in an NWB file with several.
        trust: whether to read a CEBRA file, which can run code.
        seed: unused; every data set has it.

    Returns:
        Counts (N, T, cells) and the targets of `segments`.

    Raises:
        FileNotFoundError: no file at a path.
        ValueError: a setting out of its range, or a recording that cannot be used.
    """
    readers: dict[str, Callable[[Path], SpikeRecording]] = {
        "npz": read_npz,
        "mat": read_mat,
        "nwb": partial(read_nwb, position_series=position_series),
        "hc11": partial(read_hc11, interneurons=interneurons),
        "cebra": partial(read_cebra, trust=trust),
    }
    sessions: list[SpikeRecording] = []
    train: list[Segment] = []
    held_out: list[Segment] = []
    shape = (bin_seconds, running_only, min_speed, min_seconds, linear, max_gap_seconds)
    for file in recording_files(path):
        read = readers[_format(file) if format == "auto" else format]
        try:
            session = read(file)
            whole = segments(session, *shape)
            parts = (
                split_blocks(whole, block_seconds, folds, fold, bin_seconds)
                if split == "blocks"
                else split_contiguous(whole, held_out_share, held_out_position, bin_seconds)
            )
        except ValueError as error:
            named = str(file) in str(error)
            raise ValueError(str(error) if named else f"{file}: {error}") from error
        if sessions and len(session.cell_names) != len(sessions[0].cell_names):
            raise ValueError(
                f"{session.source}: expected the {len(sessions[0].cell_names)} cells of "
                f"{sessions[0].source}, got {len(session.cell_names)}; train on sessions with "
                "different cells in separate runs"
            )
        sessions.append(session)
        train += parts[0]
        held_out += parts[1]
    fires = torch.stack([s.inputs.sum(dim=0) for s in train]).sum(dim=0) > 0
    if not fires.any():
        raise ValueError(
            f"{sessions[0].source}: expected spikes to train on, got {len(fires)} silent cells"
        )
    unit = sessions[0].unit
    if linear and sessions[0].place is None and sessions[0].position.shape[1] > 1:
        unit = "track lengths"
    name = sessions[0].name if len(sessions) == 1 else f"{len(sessions)} sessions"
    pairs = zip(sessions[0].cell_names, fires.tolist(), strict=True)
    silent = [cell for cell, fired in pairs if not fired]
    without = f", without silent {', '.join(silent)}" if silent else ""
    minutes = sum(len(s.inputs) for s in [*train, *held_out]) * bin_seconds / 60
    padded = [
        pad([Segment(s.inputs[:, fires], s.targets, s.start_seconds) for s in part], bin_seconds)
        for part in (train, held_out)
    ]
    return TimeSeriesData(
        train=padded[0],
        held_out=padded[1],
        kind="spikes",
        units={"position": unit, "direction": "", "speed": f"{unit}/s" if unit else "1/s"},
        description=(
            f"{name}: {int(fires.sum())} cells{without}; {minutes:.1f} minutes"
            f"{' of running' if running_only else ''}; {len(train)} sequences to train on, "
            f"{len(held_out)} held out"
        ),
    )


def recording_files(path: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the files that a path, a pattern or a list of these names, in the order of reading.

    Raises:
        FileNotFoundError: no file fits a pattern.
        ValueError: an empty list.
    """
    patterns = [path] if isinstance(path, str | Path) else list(path)
    files: list[Path] = []
    for pattern in map(str, patterns):
        # A file may have brackets in its name.
        is_pattern = glob.has_magic(pattern) and not Path(pattern).is_file()
        found = sorted(glob.glob(pattern)) if is_pattern else [pattern]
        if not found:
            raise FileNotFoundError(f"data.path: expected files that match {pattern}, got none")
        files += map(Path, found)
    if not files:
        raise ValueError("data.path: expected at least one recording, got none")
    return files


def _format(file: Path) -> str:
    if file.name.endswith("_sessInfo.mat"):
        return "hc11"
    if file.suffix.lower() not in _SUFFIXES:
        raise ValueError(
            f"data.path: expected a file ending in {', '.join(sorted(_SUFFIXES))}, got {file}; set "
            "data.format"
        )
    return _SUFFIXES[file.suffix.lower()]
