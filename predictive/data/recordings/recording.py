"""Recordings of spikes with positions, cut into sequences of binned counts and split."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from predictive.data.recordings.cells import with_cells_of
from predictive.data.recordings.clocks import TimeUnit
from predictive.data.recordings.hippocampus import read_cebra, read_hc11
from predictive.data.recordings.nwb import read_nwb
from predictive.data.recordings.segments import segments
from predictive.data.recordings.series import with_shared_categories
from predictive.data.recordings.spike_files import Stamp, read_mat, read_npz
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.sequences import Segment, TimeSeriesData, pad
from predictive.data.splitting import Pauses, Position, evened, split_blocks, split_contiguous
from predictive.data.targets import kind_of
from solo_ldm.config.arguments import Bounds, NonNegative, Positive, checked

Format = Literal["auto", "npz", "mat", "nwb", "hc11", "cebra"]

_SUFFIXES = {".npz": "npz", ".mat": "mat", ".nwb": "nwb", ".jl": "cebra", ".joblib": "cebra"}


@checked
def recording(
    path: str | Path | Sequence[str | Path],
    format: Format = "auto",
    bin_seconds: Positive | None = 0.025,
    running_only: bool = True,
    pauses: Pauses = "cut",
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
    targets: Mapping[str, Any] | None = None,
    signal_series: str | None = None,
    trials: bool | None = None,
    seed: int = 0,
) -> TimeSeriesData:
    """Read recordings, cut them into sequences of raw counts and split these in time.

    Each session is split separately. Sessions have the same cells, told by their names. Cells
    without a spike in the training sequences are dropped and named in the description.

    Args:
        path: a file, a pattern such as "rat/*.npz", or a list of these: sessions of one set of
            cells.
        format: of the files; "auto" goes by their names (`*_sessInfo.mat` is hc11).
        bin_seconds: duration of a bin; None for that of the counts or signals of the first file.
        running_only: decode only bins in which the animal is known to run.
        pauses: what becomes of the others then: "cut", sequences end there, or "keep", they are
            inputs as well and their targets count as unknown.
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
        targets: further variables by name, each continuous, radians, degrees, categorical, or the
            period of a circular one: fields of npz and MAT, series of NWB as NAME or
            CONTAINER/NAME. "position" states what the positions are.
        signal_series: name of the signals in an NWB file, such as dF/F, in place of its units.
        trials: whether to use the trials of an NWB file's table alone, as sequences of their own.
            Files of other formats name them as "intervals".
        seed: unused; every data set has it.

    Returns:
        Counts, or signals, (N, T, cells) and the targets of `segments`.

    Raises:
        FileNotFoundError: no file at a path.
        ValueError: a setting out of its range, or a recording that cannot be used.
    """
    files = recording_files(path)
    sessions = read_sessions(
        files, format, interneurons, position_series, trust, stamp, time_unit, targets,
        signal_series, trials,
    )  # fmt: skip
    sessions = [with_cells_of(session, sessions[0]) for session in sessions]
    bin_seconds = _common(sessions, bin_seconds)
    train: list[Segment] = []
    held_out: list[Segment] = []
    shape = (bin_seconds, running_only, min_speed, min_seconds, linear, max_gap_seconds)
    for file, session in zip(files, sessions, strict=True):
        with about_file(file):
            whole = segments(session, *shape, one_clock=time_unit is not None, pauses=pauses)
            parts = (
                split_blocks(whole, block_seconds, folds, fold, bin_seconds)
                if split == "blocks"
                else split_contiguous(whole, held_out_share, held_out_position, bin_seconds)
            )
        train += parts[0]
        held_out += parts[1]
    first = sessions[0]
    fires = used(train, first.signals)
    if not fires.any():
        what = "constant or missing signals" if first.signals else "silent cells"
        raise ValueError(f"{first.source}: expected spikes to train on, got {len(fires)} {what}")
    unit = first.unit
    if linear and first.place is None and first.position.shape[1] > 1:
        unit = "track lengths"
    name = first.name if len(sessions) == 1 else f"{len(sessions)} sessions"
    pairs = [*zip(first.cell_names, fires.tolist(), strict=True)]
    silent = [cell for cell, fired in pairs if not fired]
    what, how = ("signals", "constant or missing") if first.signals else ("cells", "silent")
    without = f", without {how} {', '.join(silent)}" if silent else ""
    minutes = sum(len(s.inputs) for s in [*train, *held_out]) * bin_seconds / 60
    shown = [evened(part, block_seconds, bin_seconds) for part in (train, held_out)]
    padded = [
        pad([Segment(s.inputs[:, fires], s.targets, s.start_seconds) for s in part], bin_seconds)
        for part in shown
    ]
    notes = [f"{session.name}: {one}" for session in sessions for one in session.notes]
    if sum(map(len, shown)) > len(train) + len(held_out):
        notes.append("the longest stretches cut in pieces, as all are padded to one length")
    running = ""
    if running_only:
        running = " of running" if pauses == "cut" else ", decoded while running"
    tracked = {"position": unit, "direction": "", "speed": f"{unit}/s" if unit else "1/s"}
    given = {name: one.kind for name, one in first.targets.items()}
    if first.position_kind is not None:
        given["position"] = first.position_kind
    if first.signals:
        missing = sum(
            int((~s.inputs[:, fires].isfinite().all(dim=1)).sum()) for s in train + held_out
        )
        notes += [f"{missing} bins with missing signals"] if missing else []
    return TimeSeriesData(
        train=padded[0],
        held_out=padded[1],
        kind="signals" if first.signals else "spikes",
        units=(tracked if len(first.position_times) else {})
        | {name: one.unit for name, one in first.targets.items()},
        kinds={name: one for name, one in given.items() if one.name != "continuous"},
        features=tuple(cell for cell, fired in pairs if fired),
        description=(
            f"{name}: {int(fires.sum())} {what}{without}; {minutes:.1f} minutes"
            f"{running}; {len(shown[0])} sequences to train on, "
            f"{len(shown[1])} held out{''.join(f'; {one}' for one in notes)}"
        ),
    )


def read_sessions(
    files: Sequence[Path],
    format: Format = "auto",
    interneurons: bool = False,
    position_series: str | None = None,
    trust: bool = False,
    stamp: Stamp | None = None,
    time_unit: TimeUnit = None,
    targets: Mapping[str, Any] | None = None,
    signal_series: str | None = None,
    trials: bool | None = None,
) -> list[SpikeRecording]:
    """Read sessions, each with its own cells; see `recording`."""
    kinds = {name: kind_of(f"data.targets.{name}", one) for name, one in (targets or {}).items()}
    if taken := {"direction", "speed", "inputs"} & {name.rpartition("/")[2] for name in kinds}:
        raise ValueError(f"data.targets: expected other names than {', '.join(sorted(taken))}")
    shared: dict[str, Any] = {"time_unit": time_unit, "targets": kinds, "stamp": stamp or "centre"}
    readers: dict[str, Callable[[Path], SpikeRecording]] = {
        "npz": partial(read_npz, **shared),
        "mat": partial(read_mat, **shared),
        "nwb": partial(
            read_nwb,
            position_series=position_series,
            signal_series=signal_series,
            trials=bool(trials),
            **shared,
        ),
        "hc11": partial(read_hc11, interneurons=interneurons),
        "cebra": partial(read_cebra, trust=trust),
    }
    sessions: list[SpikeRecording] = []
    for file in files:
        kind = _format(file) if format == "auto" else format
        given = {"time_unit": time_unit, "targets": targets, "trials": trials}
        unread = [] if kind == "nwb" else ["trials"] if kind in ("npz", "mat") else list(given)
        for key in unread:
            if given[key]:
                raise ValueError(f"data.{key}: expected null for {kind}, got {given[key]}")
        with about_file(file):
            sessions.append(readers[kind](file))
    named = with_shared_categories([session.targets for session in sessions])
    return [replace(s, targets=one) for s, one in zip(sessions, named, strict=True)]


@contextmanager
def about_file(file: str | Path) -> Iterator[None]:
    """Name the file in what is wrong with it."""
    try:
        yield
    except ValueError as error:
        named = str(file) in str(error)
        raise ValueError(str(error) if named else f"{file}: {error}") from error


def _common(sessions: Sequence[SpikeRecording], bin_seconds: float | None) -> float:
    """Return the bins of all sessions, which are sessions of the same things."""
    first = sessions[0]
    for one in sessions[1:]:
        if one.signals != first.signals or one.targets.keys() != first.targets.keys():
            has, got = (
                f"{'signals' if s.signals else 'spikes'} and the targets "
                f"{', '.join(s.targets) or 'none'}"
                for s in (first, one)
            )
            raise ValueError(
                f"{one.source}: expected {has} as in {first.source}, got {got}; read them apart"
            )
    if bin_seconds is None and first.count_seconds is None:
        raise ValueError("data.bin_seconds: expected a number of seconds for spike times, got null")
    return bin_seconds or first.count_seconds or 0.0


def used(train: Sequence[Segment], signals: bool) -> Tensor:
    """Return which cells spike, or which signals vary, in what is trained on."""
    if not signals:
        return torch.stack([s.inputs.sum(dim=0) for s in train]).sum(dim=0) > 0
    rows = torch.cat([s.inputs for s in train])
    low = torch.where(rows.isfinite(), rows, torch.inf).amin(dim=0)
    return torch.where(rows.isfinite(), rows, -torch.inf).amax(dim=0) > low


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
