"""Recordings of spikes and positions in Neurodata Without Borders (NWB) files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from predictive.data.recordings.cells import in_order
from predictive.data.recordings.clocks import TimeUnit, seconds_of
from predictive.data.recordings.epochs import Array, intersection, joined, without
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.recordings.values import existing, first_line, numbers

_Notes = list[str]


def read_nwb(
    path: str | Path, position_series: str | None = None, time_unit: TimeUnit = None
) -> SpikeRecording:
    """Read the units' spike times and the positions of an NWB file.

    Positions are a SpatialSeries in a Position or in no container; head directions and gazes are
    not positions. The recording spans what all units' obs_intervals share, otherwise the time from
    the first spike to the last, without the file's invalid_times.

    Args:
        path: an NWB 2 file.
        position_series: name of the SpatialSeries, or CONTAINER/NAME, where the file has several
            positions.
        time_unit: of the times of spikes and of positions, where these are not in seconds.

    Raises:
        FileNotFoundError: no such file.
        ValueError: pynwb is not installed, the file is not NWB, or has no units, no positions or
            several.

    Source:
        The NWB schema 2, nwb-schema.readthedocs.io.
    """
    path = existing(path)
    tick, position_tick = seconds_of(time_unit)
    with _opened(path) as nwb:
        units = _units(nwb, path)
        series = _position(nwb, path, position_series)
        position = numbers(series.data[()], f"{path}: data") * series.conversion + series.offset
        times, notes = in_order(
            [
                numbers(units.get_unit_spike_times(i), f"{path}: spike_times").astype(np.float64)
                for i in range(len(units))
            ]
        )
        used, said = _intervals(nwb, units, times, path)
        return SpikeRecording(
            str(path),
            _times(series, len(position), path) * position_tick,
            position.reshape(len(position), -1),
            spike_times=tuple(one * tick for one in times),
            intervals=None if used is None else used * tick,
            cell_names=tuple(str(one) for one in units.id[:]),
            unit=str(series.unit or ""),
            notes=(*notes, *said),
        )


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


def _units(nwb: Any, path: Path) -> Any:
    """Return the table of units: the file's own, else the only one in a processing module."""
    from pynwb.misc import Units

    found = [one for one in (nwb.units,) if one is not None]
    found = found or [one for one in nwb.objects.values() if isinstance(one, Units)]
    found = [one for one in found if "spike_times" in one.colnames]
    if len(found) != 1:
        names = ", ".join(path_of(one) for one in found) or "none"
        raise ValueError(f"{path}: expected units with spike times, one table of them, got {names}")
    return found[0]


def path_of(one: Any) -> str:
    """Return CONTAINER/NAME of an object of a file, as the settings name it."""
    parent = getattr(one, "parent", None)
    return f"{parent.name}/{one.name}" if parent is not None else str(one.name)


def _position(nwb: Any, path: Path, wanted: str | None) -> Any:
    from pynwb.behavior import CompassDirection, EyeTracking, SpatialSeries

    every = [one for one in nwb.objects.values() if isinstance(one, SpatialSeries)]
    if wanted is None:
        found = [one for one in every if not isinstance(one.parent, CompassDirection | EyeTracking)]
    else:
        found = [one for one in every if wanted in (one.name, path_of(one))]
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
) -> tuple[Array | None, _Notes]:
    """Return the stretches that are used, None for all, and what is to be said of them."""
    used, notes = _observed(units)
    invalid = nwb.invalid_times
    if invalid is not None and len(invalid):
        cut = np.column_stack([invalid["start_time"][:], invalid["stop_time"][:]])
        some = [one for one in times if len(one)]
        if used is None and some:
            used = np.array([[min(one[0] for one in some), max(one[-1] for one in some)]])
        if used is not None:
            left = without(used, numbers(cut, f"{path}: invalid_times").astype(np.float64))
            seconds = float(np.diff(used, axis=1).sum() - np.diff(left, axis=1).sum())
            used = left
            notes.append(f"{len(invalid)} invalid times cut out, {seconds:.4g} s")
    if used is not None and not len(used):
        raise ValueError(
            f"{path}: expected time in which all units were observed and which is valid, got none "
            f"({'; '.join(notes)})"
        )
    return used, notes


def _observed(units: Any) -> tuple[Array | None, _Notes]:
    if "obs_intervals" not in units.colnames or not len(units):
        return None, []
    each = [np.asarray(units["obs_intervals"][i], dtype=np.float64) for i in range(len(units))]
    if not all(one.size for one in each):
        return None, ["obs_intervals are not used, as some units have none"] if any(
            one.size for one in each
        ) else []
    if all(one.shape == each[0].shape and (one == each[0]).all() for one in each):
        return each[0], []
    shared = joined(each[0])
    for one in each[1:]:
        shared = intersection(shared, joined(one))
    longest = max(float(np.diff(one, axis=1).sum()) for one in each)
    seconds = float(np.diff(shared, axis=1).sum())
    return shared, [
        f"obs_intervals differ between units: {seconds:.4g} s that all share, of at most "
        f"{longest:.4g} s"
    ]
