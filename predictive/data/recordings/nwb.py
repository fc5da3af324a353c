"""Recordings of spikes and positions in Neurodata Without Borders (NWB) files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from predictive.data.recordings.spike_files import existing, first_line, numbers
from predictive.data.recordings.spikes import Array, SpikeRecording


def read_nwb(path: str | Path, position_series: str | None = None) -> SpikeRecording:
    """Read the units' spike times and the positions of an NWB file.

    Positions are a SpatialSeries in a Position or in no container; head directions and gazes are
    not positions. The recording spans the units' obs_intervals where these are the same for all
    units, otherwise the time from the first spike to the last.

    Args:
        path: an NWB 2 file.
        position_series: name of the SpatialSeries, where the file has several positions.

    Raises:
        FileNotFoundError: no such file.
        ValueError: pynwb is not installed, the file is not NWB, or has no units, no positions or
            several.

    Source:
        The NWB schema 2, nwb-schema.readthedocs.io.
    """
    path = existing(path)
    with _opened(path) as nwb:
        if nwb.units is None or "spike_times" not in nwb.units.colnames:
            raise ValueError(f"{path}: expected units with spike times, got none")
        units = range(len(nwb.units))
        series = _position(nwb, path, position_series)
        position = numbers(series.data[()], f"{path}: data") * series.conversion + series.offset
        return SpikeRecording(
            str(path),
            _times(series, len(position), path),
            position.reshape(len(position), -1),
            spike_times=tuple(
                numbers(nwb.units.get_unit_spike_times(i), f"{path}: spike_times").astype(
                    np.float64
                )
                for i in units
            ),
            intervals=_common_intervals(nwb.units),
            cell_names=tuple(str(one) for one in nwb.units.id[:]),
            unit=str(series.unit or ""),
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


def _position(nwb: Any, path: Path, wanted: str | None) -> Any:
    from pynwb.behavior import CompassDirection, EyeTracking, SpatialSeries

    found = [
        one
        for one in nwb.objects.values()
        if isinstance(one, SpatialSeries)
        and not isinstance(one.parent, CompassDirection | EyeTracking)
        and wanted in (None, one.name)
    ]
    if len(found) == 1:
        return found[0]
    names = sorted(str(one.name) for one in nwb.objects.values() if isinstance(one, SpatialSeries))
    what = "position" if wanted is None else f"position named {wanted}"
    raise ValueError(
        f"{path}: expected one {what}, got {len(found)} among the spatial series "
        f"({', '.join(names) or 'none'}); set data.position_series"
    )


def _times(series: Any, length: int, path: Path) -> Array:
    if series.timestamps is not None:
        return numbers(series.timestamps[()], f"{path}: timestamps").astype(np.float64)
    return series.starting_time + np.arange(length) / series.rate


def _common_intervals(units: Any) -> Array | None:
    if "obs_intervals" not in units.colnames or not len(units):
        return None
    each = [np.asarray(units["obs_intervals"][i], dtype=np.float64) for i in range(len(units))]
    same = all(one.shape == each[0].shape and (one == each[0]).all() for one in each)
    return each[0] if same and each[0].size else None
