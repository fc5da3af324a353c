"""The sessions of a recording as a trained model takes them: its cells, found by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from predictive.data.recordings import recording
from predictive.data.recordings.recording import about_file, recording_files, segments, used
from predictive.data.sequences import Segment
from predictive.training import Trained

# Cells that are named in a line.
_NAMED = 8


@dataclass(frozen=True, eq=False)
class Session:
    """A session, cut into sequences of counts of all its cells, or of all its signals.

    Args:
        name: of the session; its file where several have the same name.
        cells: names of its cells.
        fires: which of them fire, or which signals vary, (cells,).
        segments: counts (T, cells) and targets.
        notes: what its reader left out or mended, a line each.
    """

    name: str
    cells: tuple[str, ...]
    fires: tuple[bool, ...]
    segments: list[Segment]
    notes: tuple[str, ...] = ()


def read_sessions(settings: Mapping[str, Any], trained: Trained) -> list[Session]:
    """Read recordings as `recording` does, without holding out and without dropping cells.

    Args:
        settings: data.* of a completed configuration.
        trained: what the model was trained on, whose bins the sessions get.

    Raises:
        ValueError: in one line: signals for a model of spikes, or the other way round.
    """
    found = []
    files = recording_files(settings["path"])
    read = recording.read_sessions
    signals = trained.kind == "signals"
    given = {"one_clock": settings.get("time_unit") is not None, **settings}
    given["bin_seconds"] = trained.step_seconds
    sessions = read(files, **_arguments(read, settings))
    names = [session.name for session in sessions]
    for session in sessions:
        if session.signals != signals:
            has, got = ("signals", "spikes") if signals else ("spikes", "signals")
            raise ValueError(
                f"{session.source}: expected {has}, which the run was trained on, got {got}"
            )
        with about_file(session.source):
            parts = segments(session, **_arguments(segments, given))
        fires = tuple(used(parts, signals).tolist())
        name = session.name if names.count(session.name) == 1 else session.source
        found.append(Session(name, session.cell_names, fires, parts, session.notes))
    return found


def matched(
    session: Session, trained: Trained, say: Callable[[str], Any]
) -> tuple[list[Segment], dict[str, list[str]]]:
    """Return sequences of the counts of a model's cells, and which cells are not those.

    A cell that the session lacks is NaN in all bins.

    Args:
        session: another one, or that of the training.
        trained: with the names of the model's cells, in their order.
        say: takes a line for what is missing or ignored.

    Raises:
        ValueError: in one line: no cell is the same, names that are not unique, or other numbers
            of cells without names.
    """
    own, cells = session.cells, trained.features
    what, still = ("cells", "silent")
    if trained.kind == "signals":
        what, still = ("signals", "constant or missing")
    if len(set(own)) < len(own):
        raise ValueError(f"{session.name}: expected {what} of different names, got some twice")
    missing = [one for one in cells if one not in own]
    ignored = [one for one in own if one not in cells]
    if len(missing) == len(cells):
        raise ValueError(
            f"{session.name}: expected {what} of the run ({_some(cells)}), got {_some(own)}; name "
            f"the {what} of both sessions alike"
        )
    pairs = zip(own, session.fires, strict=True)
    silent = [one for one, fires in pairs if one in cells and not fires]
    for how, some in (
        ("are missing: the mean of the training stands for them", missing),
        ("are not the model's: ignored", ignored),
        (f"are {still}", silent),
    ):
        if some:
            say(f"{session.name}: {len(some)} {what} {how} ({_some(some)})")
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
