"""Recordings of rat hippocampus: CRCNS hc-11 as published, and in CEBRA's form.

Four rats ran on novel mazes for water; eight sessions of silicon-probe recordings in CA1, with
putative pyramidal cells told from interneurons.

Source:
    Grosmark & Buzsáki (2016), Science 351, 1440; Grosmark, Long & Buzsáki (2016), CRCNS.org,
    doi 10.6080/K0862DC5; Schneider, Lee & Mathis (2023), Nature 617, 360 (CEBRA).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from predictive.data.recordings.cells import group_spikes
from predictive.data.recordings.epochs import Array
from predictive.data.recordings.matlab import load_mat
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.recordings.values import existing, first_line, numbers, whole_numbers

# An impossible step of the place in one bin: 8 cm of a track of 1.6 m in 25 ms.
_JUMP_SHARE = 0.05
# Duration of CEBRA's bins, s.
_CEBRA_BIN = 0.025


def read_hc11(path: str | Path, interneurons: bool = False) -> SpikeRecording:
    """Read a session of hc-11: the spikes and positions on the maze.

    These parts of the file's struct sessInfo are read: Spikes (SpikeTimes, s; SpikeIDs, 100 ×
    shank + cluster; PyrIDs; IntIDs), Position (TimeStamps, s; TwoDLocation, m, NaN where the animal
    was lost; OneDLocation, m, NaN off the track; MazeType) and Epochs.MazeEpoch, s. The place is
    OneDLocation where it is given. On a circular maze, set linear=false.

    Args:
        path: `<rat>_<date>_sessInfo.mat`, of version 7.3 (as published; needs h5py) or before.
        interneurons: whether to read putative interneurons as well as pyramidal cells.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another form, or a recording without spikes or positions.

    Source:
        The data's description at crcns.org/data-sets/hc/hc-11.
    """
    path = existing(path)
    name = str(path)
    session = load_mat(path).get("sessInfo")
    spikes = _struct(session, "Spikes", name)
    tracked = _struct(session, "Position", name)
    epochs = _values(_struct(session, "Epochs", name), "MazeEpoch", name)
    if epochs.size % 2:
        raise ValueError(f"{name}: expected MazeEpoch (m, 2), got {epochs.shape}")
    epochs = epochs.reshape(-1, 2)
    wanted = whole_numbers(_field(spikes, "PyrIDs", name), f"{name}: PyrIDs").tolist()
    if interneurons:
        wanted += whole_numbers(_field(spikes, "IntIDs", name), f"{name}: IntIDs").tolist()
    times = _values(spikes, "SpikeTimes", name).ravel()
    cells = whole_numbers(_field(spikes, "SpikeIDs", name), f"{name}: SpikeIDs")
    on_maze = _within(times, epochs)
    stamps = _values(tracked, "TimeStamps", name).ravel()
    xy = _values(tracked, "TwoDLocation", name)
    one_d = numbers(tracked.get("OneDLocation", ()), f"{name}: OneDLocation").ravel()
    if len(times) != len(cells) or xy.shape != (len(stamps), 2):
        raise ValueError(
            f"{name}: expected a row for each time, got {len(times)} SpikeTimes for {len(cells)} "
            f"SpikeIDs and {len(stamps)} TimeStamps for TwoDLocation of {xy.shape}"
        )
    seen = _within(stamps, epochs)
    has_place = len(one_d) == len(stamps) and np.isfinite(one_d[seen]).any()
    circular = "circ" in str(tracked.get("MazeType", "")).lower()
    return SpikeRecording(
        name,
        stamps[seen],
        xy[seen],
        spike_times=group_spikes(times[on_maze], cells[on_maze], wanted),
        intervals=epochs,
        place=one_d[seen] if has_place and not circular else None,
        circular=circular,
        cell_names=tuple(map(str, wanted)),
        unit="m",
    )


def read_cebra(path: str | Path, trust: bool = False) -> SpikeRecording:
    """Read a session in the form in which CEBRA ships hc-11, such as achilles.jl.

    A joblib file of a dictionary: "spikes" (T, cells), counts in bins of 25 ms, and "position"
    (T, 3): the place in m and whether the rat runs right, and left (1 or 0). Achilles has 10178
    bins of 120 pyramidal cells. The bins are of running only and have no time stamps. They are
    numbered, with a second between two of them where there must be a gap: where the direction turns
    and where the place changes by over 5 % of the track.

    Args:
        path: the joblib file. Reading it can run any code.
        trust: whether you trust the author of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not trusted, or is of another form.

    Source:
        cebra.datasets.hippocampus of the CEBRA package (facts only).
    """
    path = existing(path)
    if not trust:
        raise ValueError(
            f"data.trust: expected true to read {path}, a pickle that can run code, got false; set "
            "it if you trust the author"
        )
    import joblib

    try:
        data: Any = joblib.load(path)
    except Exception as error:  # of pickle, joblib or what the file names
        raise ValueError(f"{path}: expected a joblib file, got: {first_line(error)}") from error
    if not isinstance(data, dict) or not {"spikes", "position"} <= set(data):
        found = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"{path}: expected a dictionary of spikes and position, got {found}")
    counts = numbers(data["spikes"], f"{path}: spikes")
    position = numbers(data["position"], f"{path}: position").astype(np.float64)
    if counts.ndim != 2 or position.shape != (len(counts), 3):
        raise ValueError(
            f"{path}: expected spikes (T, cells) and position (T, 3), got {counts.shape} and "
            f"{position.shape}"
        )
    place, right = position[:, 0], position[:, 1]
    jump = np.abs(np.diff(place)) > _JUMP_SHARE * (np.nanmax(place) - np.nanmin(place))
    gaps = np.concatenate([[0], np.cumsum(jump | (np.diff(right) != 0))])
    starts: Array = np.asarray(np.arange(len(counts)) * _CEBRA_BIN + gaps, dtype=np.float64)
    return SpikeRecording(
        str(path),
        starts + np.float64(_CEBRA_BIN / 2),
        place[:, None],
        counts=counts,
        count_starts=starts,
        count_seconds=_CEBRA_BIN,
        place=place,
        unit="m",
    )


def _struct(session: Any, field: str, name: str) -> dict[str, Any]:
    if not isinstance(session, dict) or not isinstance(session.get(field), dict):
        raise ValueError(
            f"{name}: expected a struct sessInfo with Spikes, Position and Epochs as in hc-11, "
            f"got {sorted(session) if isinstance(session, dict) else 'no sessInfo'}"
        )
    return session[field]


def _field(struct: dict[str, Any], field: str, name: str) -> Any:
    if field not in struct:
        raise ValueError(f"{name}: expected {field}, got {sorted(struct)}")
    return struct[field]


def _values(struct: dict[str, Any], field: str, name: str) -> Array:
    return numbers(_field(struct, field, name), f"{name}: {field}").astype(np.float64)


def _within(times: Array, epochs: Array) -> Any:
    return np.any([(times >= start) & (times <= stop) for start, stop in epochs], axis=0)
