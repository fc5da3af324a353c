"""Recordings of spikes and positions in Neurodata Without Borders (NWB) files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from predictive.data.recordings.cells import in_order
from predictive.data.recordings.clocks import TimeUnit, seconds_of
from predictive.data.recordings.epochs import (
    Array,
    check_intervals,
    of_trials,
    shared_by,
    without_invalid,
)
from predictive.data.recordings.series import Series
from predictive.data.recordings.spike_files import NONE, Kinds, Stamp
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.recordings.values import existing, first_line, numbers
from predictive.data.targets import kind_of


def read_nwb(
    path: str | Path,
    position_series: str | None = None,
    time_unit: TimeUnit = None,
    signal_series: str | None = None,
    stamp: Stamp = "centre",
    targets: Kinds = NONE,
    trials: bool = False,
) -> SpikeRecording:
    """Read the units' spike times, or signals, with positions and targets of an NWB file.

    Positions are a SpatialSeries in a Position or in no container; head directions and gazes are
    not positions. The recording spans what all units' obs_intervals share, otherwise the time from
    the first spike to the last, without the file's invalid_times. Every CompassDirection in
    radians or degrees is a target. Signals are a time series, by default the only RoiResponseSeries
    of a file without units, such as dF/F.

    Args:
        path: an NWB 2 file.
        position_series: name of the SpatialSeries, or CONTAINER/NAME, where the file has several
            positions.
        time_unit: of the times of spikes and of positions, where these are not in seconds.
        signal_series: name of the signals, or CONTAINER/NAME.
        stamp: which time of a frame the signals' timestamps are.
        targets: kinds of further time series, by name or CONTAINER/NAME; there need then be no
            positions.
        trials: whether the trials of the file's table are used alone, apart from each other.

    Raises:
        FileNotFoundError: no such file.
        ValueError: pynwb is not installed, the file is not NWB, or has no units, no positions or
            several, or no series of a name.

    Source:
        The NWB schema 2, nwb-schema.readthedocs.io.
    """
    path = existing(path)
    tick, position_tick = seconds_of(time_unit)
    with _opened(path) as nwb:
        found, notes = _targets(nwb, path, targets, position_tick)
        untracked = position_series is None and found and not _positions(nwb)
        series = None if untracked else _position(nwb, path, position_series)
        seen, position = (
            (np.zeros(0), np.zeros((0, 1))) if series is None else _samples(series, path)
        )
        shared: dict[str, Any] = {
            "unit": "" if series is None else str(series.unit or ""),
            "targets": found,
            "position_kind": targets.get("position"),
        }
        position = position if position.ndim == 2 else position.reshape(len(position), -1)
        where = (str(path), seen * position_tick, position)
        signals = _signals(nwb, path, signal_series)
        if signals is not None:
            stamps, values = _samples(signals, path)
            stamps = stamps * tick
            seconds = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 1.0
            starts = stamps - seconds / 2 if stamp == "centre" else stamps
            whole = (
                np.array([[starts[0], starts[-1] + seconds]]) if len(starts) else np.zeros((0, 2))
            )
            used, said = without_invalid(nwb, whole, None, path)
            used = of_trials(nwb, used, path, said) if trials else used if said else None
            return SpikeRecording(
                *where,
                counts=values.reshape(len(values), -1),
                count_starts=starts,
                count_seconds=seconds,
                signals=True,
                intervals=used,
                notes=(*notes, *said),
                **shared,
            )
        units = _units(nwb, path)
        times, sorted_ = in_order(
            [
                numbers(units.get_unit_spike_times(i), f"{path}: spike_times").astype(np.float64)
                for i in range(len(units))
            ]
        )
        used, said = _intervals(nwb, units, times, path)
        said += [f"without the units of {path_of(one)}" for one in _tables(nwb)[1:]]
        used = of_trials(nwb, used, path, said) if trials else used
        return SpikeRecording(
            *where,
            spike_times=tuple(one * tick for one in times),
            intervals=None if used is None else used * tick,
            cell_names=tuple(str(one) for one in units.id[:]),
            notes=(*notes, *sorted_, *said),
            **shared,
        )


def _samples(series: Any, path: Path) -> tuple[Array, Any]:
    """Return the times of a time series, and its values in its unit."""
    values = np.asarray(series.data[()])
    if values.dtype.kind not in "USO":
        values = numbers(values, f"{path}: {path_of(series)}") * series.conversion + series.offset
    return _times(series, len(values), path), values


def _named(nwb: Any, path: Path, wanted: str, key: str, kind: Any) -> Any:
    """Return the one object of a kind with a name, or CONTAINER/NAME."""
    every = [one for one in nwb.objects.values() if isinstance(one, kind)]
    found = [one for one in every if wanted in (one.name, path_of(one))]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(path_of(one) for one in every)) or "none"
    raise ValueError(f"{path}: {key}: expected one of {names}, got {len(found)} named {wanted}")


def _signals(nwb: Any, path: Path, wanted: str | None) -> Any:
    from pynwb import TimeSeries
    from pynwb.ophys import RoiResponseSeries

    if wanted is not None:
        return _named(nwb, path, wanted, "data.signal_series", TimeSeries)
    if _tables(nwb):
        return None
    every = [one for one in nwb.objects.values() if isinstance(one, RoiResponseSeries)]
    if len(every) > 1:
        names = ", ".join(sorted(path_of(one) for one in every))
        raise ValueError(
            f"{path}: expected one series of signals, got {names}; set data.signal_series"
        )
    return every[0] if every else None


def _targets(
    nwb: Any, path: Path, wanted: Kinds, tick: float
) -> tuple[dict[str, Series], tuple[str, ...]]:
    """Return the series that are wanted, and every head direction."""
    from pynwb import TimeSeries
    from pynwb.behavior import CompassDirection, SpatialSeries

    found: dict[str, Series] = {}
    used, notes = [], []
    for name, kind in wanted.items():
        if name == "position":
            continue
        series = _named(nwb, path, name, "data.targets", TimeSeries)
        used.append(series)
        times, values = _samples(series, path)
        found[name.rpartition("/")[2]] = Series(
            f"{path}: {name}", times * tick, values, kind, str(series.unit or "")
        )
    every: list[Any] = list(nwb.objects.values())
    for series in every:
        head = isinstance(series, SpatialSeries) and isinstance(series.parent, CompassDirection)
        if not head or any(series is one for one in used):
            continue
        name, given = str(series.name), str(getattr(series, "unit", ""))
        unit = {"radian": "radians", "degree": "degrees"}.get(given.rstrip("s").lower())
        if unit is None or np.ndim(series.data) != 1 or name in found:
            notes.append(f"without {path_of(series)} in {given!r}, which data.targets can state")
            continue
        times, values = _samples(series, path)
        what = f"{path}: {path_of(series)}"
        found[name] = Series(what, times * tick, values, kind_of(what, unit), unit)
    return found, tuple(notes)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        from pynwb import NWBHDF5IO
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{path}: expected pynwb to read NWB, got none; pip install 'solo-ldm[neuro]'"
        ) from error
    try:
        file = NWBHDF5IO(path=str(path), mode="r")
        nwb = file.read()
    except Exception as error:  # of pynwb, hdmf or h5py
        raise ValueError(f"{path}: expected an NWB file, got: {first_line(error)}") from error
    try:
        with file:
            yield nwb
    except ValueError:
        raise
    except Exception as error:  # of h5py or hdmf, which read the data only now
        raise ValueError(f"{path}: expected an NWB file, got: {first_line(error)}") from error


def _tables(nwb: Any) -> list[Any]:
    from pynwb.misc import Units

    found = [one for one in nwb.objects.values() if isinstance(one, Units)]
    found = [one for one in found if "spike_times" in one.colnames]
    return sorted(found, key=lambda one: one is not nwb.units)


def _units(nwb: Any, path: Path) -> Any:
    """Return the table of units: the file's own, else the only one in a processing module."""
    found = _tables(nwb)
    if not found or (len(found) > 1 and found[0] is not nwb.units):
        names = ", ".join(path_of(one) for one in found) or "none"
        raise ValueError(f"{path}: expected units with spike times, one table of them, got {names}")
    return found[0]


def path_of(one: Any) -> str:
    """Return CONTAINER/NAME of an object of a file, as the settings name it."""
    parent = getattr(one, "parent", None)
    return f"{parent.name}/{one.name}" if parent is not None else str(one.name)


def _positions(nwb: Any) -> list[Any]:
    from pynwb.behavior import CompassDirection, EyeTracking, SpatialSeries

    every = [one for one in nwb.objects.values() if isinstance(one, SpatialSeries)]
    return [one for one in every if not isinstance(one.parent, CompassDirection | EyeTracking)]


def _position(nwb: Any, path: Path, wanted: str | None) -> Any:
    from pynwb.behavior import SpatialSeries

    every = [one for one in nwb.objects.values() if isinstance(one, SpatialSeries)]
    found = _positions(nwb) if wanted is None else every
    found = [one for one in found if wanted in (None, one.name, path_of(one))]
    if len(found) == 1:
        return found[0]
    names = sorted(path_of(one) for one in every)
    what = "position" if wanted is None else f"position named {wanted}"
    raise ValueError(
        f"{path}: expected one {what}, got {len(found)} among the spatial series "
        f"({', '.join(names) or 'none'}); set data.position_series"
    )


def _times(series: Any, length: int, path: Path) -> Array:
    if series.timestamps is not None:
        return numbers(series.timestamps[()], f"{path}: timestamps").astype(np.float64)
    return series.starting_time + np.arange(length) / series.rate


def _intervals(
    nwb: Any, units: Any, times: tuple[Array, ...], path: Path
) -> tuple[Array | None, list[str]]:
    """Return the stretches that are used, None for all, and what is to be said of them."""
    each = []
    if "obs_intervals" in units.colnames:
        each = [np.asarray(units["obs_intervals"][i], np.float64) for i in range(len(units))]
    used, notes = shared_by(each)
    if used is not None:
        how = "correct the table of units, or leave that column out"
        check_intervals(used, f"{path}: obs_intervals: ", how)
    some = [one for one in times if len(one)]
    if used is None and some:
        whole = np.array([[min(one[0] for one in some), max(one[-1] for one in some)]])
        used, said = without_invalid(nwb, whole, notes, path)
        return (used if len(said) > len(notes) else None), said
    return (None, notes) if used is None else without_invalid(nwb, used, notes, path)
