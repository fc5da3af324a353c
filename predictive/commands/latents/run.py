"""The latents of a run, or of another session: from its folder to an npz, CSV or NWB file."""

from __future__ import annotations

import math
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor

from predictive.commands.latents.nwb import check_nwb, write_nwb
from predictive.commands.latents.sessions import matched, read_sessions, session_named
from predictive.configuration import complete_predictive, plain
from predictive.data.recordings.recording import recording_files
from predictive.data.sequences import Segment, Sequences, pad
from predictive.data.video.frames import read, with_targets
from predictive.filtered import filter_sequences, smooth_sequences, with_lost_features
from predictive.method import PredictiveMethod
from predictive.predictors import KalmanPredictor
from predictive.runs import read_run, read_trained
from predictive.training import Trained, build_data, data_files, data_identity
from solo_ldm.config.places import results_folder
from solo_ldm.files import write_atomically, write_csv, write_json
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome, print_summary


def run(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Do the work of `predictive.commands.latents`, with the completed configuration."""
    console = plain_console(console)
    folder = Path(cfg.run).expanduser()
    with console.status("reading the run"):
        trained, method = read_run(folder)
    given = plain(cfg.data)
    told = _merged(trained, given)
    name = f"latents-{session_named(told.data.path)}" if "path" in given else "latents"
    output = RunFolder(results_folder(cfg.output or folder / name))
    with console.status("reading the data"):
        sequences, cells, about = _data(trained, told, given, folder, method, console)
    with console.status("filtering"):
        columns = _columns(method, sequences, console)
    about = {
        "run": str(folder),
        "data": plain(told.data),
        "bins": len(columns["seconds"]),
        "sequences": len(sequences),
        "bin_seconds": sequences.step_seconds,
        "cells": cells,
        **about,
    }
    file = output.path / f"latents.{cfg.format}"
    follow = f'np.load("{file}")["states"]  # in Python'
    if cfg.format == "npz":
        arrays = {**columns, "cell_names": np.array(cells), "bin_seconds": sequences.step_seconds}
        write_atomically(file, lambda path: np.savez(path, **arrays))
    elif cfg.format == "nwb":
        files = recording_files(told.data.path) if "path" in told.data else []
        source = next((one for one in files if one.suffix == ".nwb"), None)
        details = (cells, sequences.step_seconds, source, folder.name)
        check_nwb(columns["seconds"], len(files))
        write_atomically(file, lambda path: write_nwb(path, columns, *details))
        follow = f'pynapple.load_file("{file}")["states"]  # in Python'
    else:
        _write_csv(file, columns)
    write_json(output.results, about)
    rows: list[tuple[str, Any]] = [
        (key, f"{value.shape[1]} columns") for key, value in columns.items() if value.ndim == 2
    ]
    rows += [("bins", f"{about['bins']} in {len(sequences)} sequences"),
             ("files", f"{file.name}, {output.results.name}")]  # fmt: skip
    print_summary(console, f"latents of {folder.name}", rows, output.path, [follow])
    return Outcome(output, about)


def _merged(trained: DictConfig, given: dict[str, Any]) -> DictConfig:
    """Return the run's configuration with the keys of data.* that are given."""
    if "path" in given and "path" not in trained.data:
        raise ValueError(
            f"data.path: expected none for a run on data.dataset={trained.data.dataset}, which is "
            f"simulated, got {given['path']}"
        )
    for key in ("bin_seconds", "dataset"):
        if key in given and given[key] != trained.data.get(key):
            raise ValueError(
                f"data.{key}: expected that of the run, {trained.data.get(key)}, got {given[key]}; "
                "train a run of its own"
            )
    merged: Any = OmegaConf.create(OmegaConf.to_container(trained))
    OmegaConf.set_struct(merged, False)
    merged.data = {**plain(trained.data), **given}
    return complete_predictive(merged)


def _data(
    trained: DictConfig,
    told: DictConfig,
    given: dict[str, Any],
    folder: Path,
    method: PredictiveMethod,
    console: Console,
) -> tuple[Sequences, list[str], dict[str, Any]]:
    """Return the sequences to filter, the names of the model's cells, and what was not matched."""
    if trained.data.dataset == "frames" and "path" in given:
        return _other_frames(told, given, method)
    if "path" not in trained.data or trained.data.dataset == "frames":
        if "path" in trained.data:
            _check_recording(trained, folder)
        data = build_data(told)
        both = [_segments(part) for part in (data.train, data.held_out)]
        sequences = pad([*both[0], *both[1]], data.train.step_seconds)
        held_out = [False] * len(both[0]) + [True] * len(both[1])
        is_file = "path" in trained.data  # pixels have no names
        names = [] if is_file else [str(i) for i in range(method.encoder.input_dim)]
        return sequences, names, {"held_out": held_out}
    known = read_trained(folder)
    if known is None or "path" not in given:
        _check_recording(trained, folder)
    if known is None:  # a run of an older version
        known = Trained.of(build_data(trained))
    if len(known.features) != method.encoder.input_dim:
        raise ValueError(
            f"RUN: expected the {method.encoder.input_dim} cells that {folder} was trained on, got "
            f"{len(known.features)} in {trained.data.path}; restore it"
        )

    def say(line: str) -> None:
        console.print(line, style="yellow", soft_wrap=True)

    parts: list[Segment] = []
    about: dict[str, Any] = {}
    for session in read_sessions(plain(told.data), known):
        if "path" in given and session.cells == tuple(map(str, range(len(session.cells)))):
            say(f"{session.name}: cells are told by their numbers")
        for note in session.notes:
            say(f"{session.name}: {note}")
        found, cells = matched(session, known, say)
        about[session.name] = {**cells, "sequences": [len(parts), len(parts) + len(found)]}
        parts += found
    return pad(parts, known.step_seconds), list(known.features), {"sessions": about}


def _other_frames(
    told: DictConfig, given: dict[str, Any], method: PredictiveMethod
) -> tuple[Sequences, list[str], dict[str, Any]]:
    """Return other clips whole, each a sequence."""
    settings = plain(told.data)
    keys = ("path", "frame_rate", "frame_size", "frame_columns", "gray")
    clips, step_seconds = read(**{key: settings[key] for key in keys})
    expected, (_, *shape) = method.encoder.input_dim, clips[0].frames.shape
    if math.prod(shape) != expected:
        raise ValueError(
            f"data.path: expected frames of {expected} values, as the run was trained on, got "
            f"channels, rows and columns {tuple(shape)}; set data.frame_size and data.gray as there"
        )
    # The targets of the run are those of its own clips.
    targets = settings["targets"] if given.get("targets_path") else None
    segments, _ = with_targets(clips, given.get("targets_path"), targets)
    return pad(segments, step_seconds), [], {"clips": [one.name for one in clips]}


def _check_recording(trained: DictConfig, folder: Path) -> None:
    """Raise an error in one line unless the recording of a run is as it was."""
    gone = [file for file in data_files(trained) if not file.is_file()]
    what = f"the recording that {folder} was trained on"
    if gone:
        raise FileNotFoundError(f"data.path: expected {what}, got no file {gone[0]}; restore it")
    if RunFolder(folder, data_identity(trained)).has_same_contents is False:
        raise ValueError(
            f"data.path: expected {what}, got another at {trained.data.path}; "
            "restore it, or give data.path=FILE"
        )


def _segments(sequences: Sequences) -> list[Segment]:
    return [
        Segment(
            sequences.inputs[i, :length],
            {name: values[i, :length] for name, values in sequences.targets.items()},
            float(sequences.start_seconds[i]),
        )
        for i, length in enumerate(sequences.lengths.tolist())
    ]


def _columns(
    method: PredictiveMethod, sequences: Sequences, console: Console
) -> dict[str, NDArray]:
    """Return arrays over the bins of all sequences, (M,) and (M, k)."""
    filled, lost = with_lost_features(method, sequences)
    some = int((lost.any(dim=0) & ~lost.all(dim=0)).sum())
    gaps = int((filled.mask & ~torch.isfinite(filled.inputs).all(dim=2)).sum())
    for count, line in (
        (some, f"{some} cells or signals are missing in some sequences, and taken at their means"),
        (gaps, f"{gaps} of {int(filled.mask.sum())} bins lack a value and count as missing"),
    ):
        if count:
            console.print(line, style="yellow", soft_wrap=True)
    found = filter_sequences(method, filled, torch.device("cpu"))
    columns: dict[str, Tensor] = {
        "seconds": sequences.seconds[sequences.mask],
        "sequence": found.groups(),
        "latents": found.rows(found.latents),
        "states": found.rows(found.states),
    }
    if found.state_factor is not None:
        columns["variances"] = found.rows(found.state_factor.square().sum(dim=-1))
    predictor = method.predictor
    if (
        isinstance(predictor, KalmanPredictor)
        and predictor.observation_noise != "state"
        and predictor.process_noise == "constant"
    ):
        smoothed = smooth_sequences(method, found)
        columns["smoothed"] = torch.cat([one.mean[0] for one in smoothed])
        columns["smoothed_variances"] = torch.cat([one.variance[0] for one in smoothed])
    targets = {f"target_{name}": found.rows(v) for name, v in sequences.targets.items()}
    return {name: value.numpy() for name, value in {**columns, **targets}.items()}


def _write_csv(file: Path, columns: dict[str, NDArray]) -> None:
    header, parts = [], []
    for name, values in columns.items():
        wide = values.ndim == 2
        header += [f"{name}_{i}" for i in range(values.shape[1])] if wide else [name]
        parts.append(values if wide else values[:, None])
    rows = zip(*(part.tolist() for part in parts), strict=True)
    write_csv(file, header, ([*chain.from_iterable(row)] for row in rows))
