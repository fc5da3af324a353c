"""The sessions of a recording as a trained model takes them: its cells, found by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from predictive.data.recordings.hippocampus import read_cebra, read_hc11
from predictive.data.recordings.nwb import read_nwb
from predictive.data.recordings.recording import (
    _format,  # pyright: ignore[reportPrivateUsage]
    recording_files,
    segments,
)
from predictive.data.recordings.spike_files import read_mat, read_npz
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.sequences import Segment
from predictive.data.splitting import split_blocks, split_contiguous

_READERS: dict[str, Callable[..., SpikeRecording]] = {
    "npz": read_npz,
    "mat": read_mat,
    "nwb": read_nwb,
    "hc11": read_hc11,
    "cebra": read_cebra,
}
# Cells that are named in a line.
_NAMED = 8


@dataclass(frozen=True, eq=False)
class Session:
    """A session, cut into sequences of counts of all its cells.

    Args:
        name: of the session.
        cells: names of its cells.
        segments: counts (T, cells) and targets.
        notes: what its reader left out or mended, a line each.
    """

    name: str
    cells: tuple[str, ...]
    segments: list[Segment]
    notes: tuple[str, ...] = ()


def read_sessions(settings: Mapping[str, Any]) -> list[Session]:
    """Read recordings as `recording` does, without holding out and without dropping cells.

    Args:
        settings: data.* of a completed configuration.
    """
    found = []
    for file in recording_files(settings["path"]):
        wanted = settings.get("format", "auto")
        read = _READERS[_format(file) if wanted == "auto" else wanted]
        try:
            session = read(file, **_arguments(read, settings))
            if session.signals or settings.get("bin_seconds", 0.025) is None:
                what = "signals" if session.signals else "data.bin_seconds=null"
                raise ValueError(
                    f"{file}: expected spikes in bins of a stated duration, got {what}; "
                    "predictive.KalmanSSL.load(RUN).transform takes arrays of any kind"
                )
            given = {"one_clock": settings.get("time_unit") is not None, **settings}
            parts = segments(session, **_arguments(segments, given))
        except ValueError as error:
            named = str(file) in str(error)
            raise ValueError(str(error) if named else f"{file}: {error}") from error
        notes = getattr(session, "notes", ())
        found.append(Session(session.name, session.cell_names, parts, notes))
    return found


def trained_cells(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the cells that a run was trained on: those that fired in training."""
    sessions = read_sessions(settings)
    names, fires = sessions[0].cells, torch.zeros(len(sessions[0].cells), dtype=torch.bool)
    split = split_contiguous if settings.get("split") == "contiguous" else split_blocks
    keys = {"position": settings.get("held_out_position", "end")}
    for session in sessions:
        order = list(range(len(names)))
        if set(session.cells) == set(names):
            order = [session.cells.index(one) for one in names]
        given = {
            **_DEFAULTS,
            **settings,
            **keys,
            "step_seconds": settings.get("bin_seconds", 0.025),
        }
        train, _ = split(session.segments, **_arguments(split, given))
        for one in train:
            fires |= (one.inputs.sum(dim=0) > 0)[order]
    return tuple(name for name, fired in zip(names, fires.tolist(), strict=True) if fired)


_DEFAULTS = {"block_seconds": 20.0, "folds": 5, "fold": 0, "held_out_share": 0.2}


def matched(
    session: Session, cells: Sequence[str], say: Callable[[str], Any]
) -> tuple[list[Segment], dict[str, list[str]]]:
    """Return sequences of the counts of a model's cells, and which cells are not those.

    A cell that the session lacks is NaN in all bins.

    Args:
        session: another one, or that of the training.
        cells: names of the model's cells, in their order.
        say: takes a line for what is missing or ignored.

    Raises:
        ValueError: in one line: no cell is the same, names that are not unique, or other numbers
            of cells without names.
    """
    own = session.cells
    if len(set(own)) < len(own):
        raise ValueError(f"{session.name}: expected cells of different names, got some twice")
    missing = [one for one in cells if one not in own]
    ignored = [one for one in own if one not in cells]
    if len(missing) == len(cells):
        raise ValueError(
            f"{session.name}: expected cells of the run ({_some(cells)}), got {_some(own)}; name "
            "the cells of both sessions alike"
        )
    for what, some in (
        ("are missing: the mean of the training stands for them", missing),
        ("are not the model's: ignored", ignored),
    ):
        if some:
            say(f"{session.name}: {len(some)} cells {what} ({_some(some)})")
    silent = [one for one in own if one in cells and not _fires(session, own.index(one))]
    if silent:
        say(f"{session.name}: {len(silent)} cells are silent ({_some(silent)})")
    columns = [own.index(one) if one in own else -1 for one in cells]
    lost = torch.tensor([column < 0 for column in columns])
    parts = [
        Segment(
            _with_nan(one.inputs[:, [max(0, column) for column in columns]], lost),
            one.targets,
            one.start_seconds,
        )
        for one in session.segments
    ]
    return parts, {"missing": missing, "ignored": ignored, "silent": silent}


def _fires(session: Session, column: int) -> bool:
    return any(bool((one.inputs[:, column] > 0).any()) for one in session.segments)


def _with_nan(counts: Tensor, lost: Tensor) -> Tensor:
    return torch.where(lost, torch.nan, counts)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _arguments(function: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a function has arguments for; those that are null are left out."""
    known = signature(function).parameters
    named = {key: value for key, value in settings.items() if value is not None}
    return {key: value for key, value in named.items() if key in known and key != "path"}


def session_named(path: str | Path | Sequence[str | Path]) -> str:
    """Return what a folder of another session's latents is called."""
    files = recording_files(path)
    return files[0].stem if len(files) == 1 else f"{len(files)}-sessions"
