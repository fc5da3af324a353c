"""Recordings of spikes with positions, cut into sequences of binned counts and split."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch

from predictive.data.recordings.cells import with_cells_of
from predictive.data.recordings.clocks import TimeUnit
from predictive.data.recordings.hippocampus import read_cebra, read_hc11
from predictive.data.recordings.nwb import read_nwb
from predictive.data.recordings.segments import segments
from predictive.data.recordings.spike_files import Stamp, read_mat, read_npz
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.sequences import Segment, TimeSeriesData, pad
from predictive.data.splitting import Position, evened, split_blocks, split_contiguous
from solo_ldm.config.arguments import Bounds, NonNegative, Positive, checked

Format = Literal["auto", "npz", "mat", "nwb", "hc11", "cebra"]

_SUFFIXES = {".npz": "npz", ".mat": "mat", ".nwb": "nwb", ".jl": "cebra", ".joblib": "cebra"}


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
    stamp: Stamp | None = None,
    time_unit: TimeUnit = None,
    seed: int = 0,
) -> TimeSeriesData:
    """Read recordings, cut them into sequences of raw counts and split these in time.

    Each session is split separately. Sessions have the same cells, told by their names. Cells
    without a spike in the training sequences are dropped and named in the description.

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
        stamp: which time of a bin the "times" of npz and MAT have; None for its centre.
        time_unit: of all times of an npz, MAT or NWB file: s, ms, us, min or the seconds of a tick;
            two of these, in a list, for those of spikes and those of positions. Where it is given,
            clocks that hardly overlap are taken as they are. None for seconds.
        seed: unused; every data set has it.

    Returns:
        Counts (N, T, cells) and the targets of `segments`.

    Raises:
        FileNotFoundError: no file at a path.
        ValueError: a setting out of its range, or a recording that cannot be used.
    """
    readers: dict[str, Callable[[Path], SpikeRecording]] = {
        "npz": partial(read_npz, stamp=stamp or "centre", time_unit=time_unit),
        "mat": partial(read_mat, stamp=stamp or "centre", time_unit=time_unit),
        "nwb": partial(read_nwb, position_series=position_series, time_unit=time_unit),
        "hc11": partial(read_hc11, interneurons=interneurons),
        "cebra": partial(read_cebra, trust=trust),
    }
    sessions: list[SpikeRecording] = []
    train: list[Segment] = []
    held_out: list[Segment] = []
    shape = (bin_seconds, running_only, min_speed, min_seconds, linear, max_gap_seconds)
    for file in recording_files(path):
        kind = _format(file) if format == "auto" else format
        if kind in ("hc11", "cebra") and time_unit is not None:
            raise ValueError(f"data.time_unit: expected null for {kind}, got {time_unit}")
        try:
            session = readers[kind](file)
            if sessions:
                session = with_cells_of(session, sessions[0])
            whole = segments(session, *shape, one_clock=time_unit is not None)
            parts = (
                split_blocks(whole, block_seconds, folds, fold, bin_seconds)
                if split == "blocks"
                else split_contiguous(whole, held_out_share, held_out_position, bin_seconds)
            )
        except ValueError as error:
            named = str(file) in str(error)
            raise ValueError(str(error) if named else f"{file}: {error}") from error
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
    shown = [evened(part, block_seconds, bin_seconds) for part in (train, held_out)]
    padded = [
        pad([Segment(s.inputs[:, fires], s.targets, s.start_seconds) for s in part], bin_seconds)
        for part in shown
    ]
    notes = [f"{session.name}: {one}" for session in sessions for one in session.notes]
    if sum(map(len, shown)) > len(train) + len(held_out):
        notes.append("the longest stretches cut in pieces, as all are padded to one length")
    return TimeSeriesData(
        train=padded[0],
        held_out=padded[1],
        kind="spikes",
        units={"position": unit, "direction": "", "speed": f"{unit}/s" if unit else "1/s"},
        description=(
            f"{name}: {int(fires.sum())} cells{without}; {minutes:.1f} minutes"
            f"{' of running' if running_only else ''}; {len(shown[0])} sequences to train on, "
            f"{len(shown[1])} held out{''.join(f'; {one}' for one in notes)}"
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
