"""Files of spikes and positions: npz and MATLAB."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from predictive.data.recordings.cells import in_order, spikes_of_cells
from predictive.data.recordings.clocks import TimeUnit, seconds_of
from predictive.data.recordings.epochs import Array
from predictive.data.recordings.matlab import load_mat
from predictive.data.recordings.series import Series
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.recordings.values import existing, first_line, numbers
from predictive.data.targets import TargetKind
from solo_ldm.config.arguments import checked

_FIELDS = (
    "counts and times (or spike_times and spike_cells), position or xy, and position_times unless "
    "each bin of counts has a position"
)
Stamp = Literal["centre", "start"]
Kinds = Mapping[str, TargetKind]
NONE: Kinds = MappingProxyType({})


def read_npz(
    path: str | Path,
    stamp: Stamp = "centre",
    time_unit: TimeUnit = None,
    targets: Kinds = NONE,
) -> SpikeRecording:
    """Read a recording from an npz file; nothing in it is ever unpickled.

    Args:
        path: a file with the fields of `from_fields`.
        stamp: which time of a bin its field "times" has.
        time_unit: as in `from_fields`.
        targets: as in `from_fields`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an npz file of plain arrays, or fields that are missing or do not fit.
    """
    path = existing(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            fields = {name: file[name] for name in file.files}
    except (BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected an npz file, got one that is damaged or incomplete "
            f"({first_line(error)}); write or copy it again"
        ) from error
    except Exception as error:  # of numpy or struct
        raise ValueError(
            f"{path}: expected an npz file of plain arrays, spike_times and spike_cells flat, "
            f"sparse counts as .toarray(), got: {first_line(error)}"
        ) from error
    return from_fields(fields, str(path), stamp, time_unit, targets)


def read_mat(
    path: str | Path,
    stamp: Stamp = "centre",
    time_unit: TimeUnit = None,
    targets: Kinds = NONE,
) -> SpikeRecording:
    """Read a recording from a MATLAB file.

    Args:
        path: a file of any version from 5, with the variables named in `from_fields`, or with
            one struct that has them. A cell array spike_times has one vector for each cell.
        stamp: which time of a bin its field "times" has.
        time_unit: as in `from_fields`.
        targets: as in `from_fields`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a MATLAB file, or variables that are missing or do not fit.
    """
    path = existing(path)
    fields = load_mat(path)
    if len(fields) == 1 and isinstance(inner := next(iter(fields.values())), dict):
        fields = inner
    return from_fields(fields, str(path), stamp, time_unit, targets)


@checked
def from_fields(
    fields: Mapping[str, Any],
    name: str,
    stamp: Stamp = "centre",
    time_unit: TimeUnit = None,
    targets: Kinds = NONE,
) -> SpikeRecording:
    """Make a recording of named arrays.

    Args:
        fields: either "counts" (T, cells), or "signals" (T, F) of any real numbers, NaN where
            missing, with "times" (T,) and optionally "bin_seconds" (else the
            median step of the times), or "spike_times", flat with "spike_cells" (see
            `spikes_of_cells`) or a list with an array for each cell; "position", (n,) or (n, k),
            or "xy", (n, k), or both, when "position" is the place along the track; their
            "position_times" (n,), without which they are those of the bins' centres; optionally
            "intervals" (m, 2) that are used, "cell_names" and "unit" of the position. Matrices may
            be transposed, and sparse.
        name: the file, for errors; the session is named after it.
        stamp: which time of a bin "times" has.
        time_unit: of the times of bins and spikes, and of the positions; bin_seconds stays. None
            for seconds.
        targets: the kind of further fields by name, (n,) or (n, k), at their NAME_times, else at
            those of the positions or of the bins; then there need be no positions. "position"
            states what the positions are.

    Raises:
        ValueError: fields that are missing or do not fit each other.
    """
    spikes: dict[str, Any] = {}
    names = tuple(_text(one) for one in np.atleast_1d(fields.get("cell_names", ())))
    tick, position_tick = seconds_of(time_unit)
    every = [one for one in ("counts", "signals", "spike_times") if one in fields]
    binned = every[0] if every and every[0] != "spike_times" else None
    if binned is not None:
        times = _vector(fields, "times", name) * tick
        if "bin_seconds" in fields:
            (seconds,) = _vector(fields, "bin_seconds", name, size=1).tolist()
        else:
            seconds = _step(times, name)
        starts = times - seconds / 2 if stamp == "centre" else times
        counts = _rows(numbers(fields[binned], f"{name}: {binned}"), len(times))
        spikes = {"counts": counts, "count_starts": starts, "count_seconds": seconds}
        spikes["signals"] = binned == "signals"
        seen = starts + seconds / 2
    else:
        spike_times, names = _spike_times(fields, name, names)
        spike_times, spikes["notes"] = in_order(spike_times)
        spikes["spike_times"] = tuple(one * tick for one in spike_times)
        seen = None
    if every[1:]:
        unread = " and ".join(every[1:])
        spikes["notes"] = (*spikes.get("notes", ()), f"{every[0]} read, {unread} left out")
    bins = seen
    without = not {"xy", "position"} & fields.keys() and bool(targets)
    if (seen is None and not without) or "position_times" in fields:
        seen = _vector(fields, "position_times", name) * position_tick
    if np.size(fields.get("intervals", ())):
        intervals = _vector(fields, "intervals", name)
        if len(intervals) % 2:
            raise ValueError(
                f"{name}: expected intervals (m, 2), starts and ends, got {len(intervals)} numbers"
            )
        spikes["intervals"] = intervals.reshape(-1, 2) * tick
    series = {
        one: _series(fields, one, kind, name, (seen, bins), position_tick)
        for one, kind in targets.items()
        if one != "position"
    }
    if without or seen is None:
        seen, position = np.zeros(0), np.zeros((0, 1))
    else:
        coordinates = "xy" if "xy" in fields else "position"
        position = numbers(_field(fields, coordinates, name), f"{name}: {coordinates}")
        position = _rows(position, len(seen)).astype(np.float64)
    return SpikeRecording(
        name,
        seen,
        position,
        place=_vector(fields, "position", name) if {"xy", "position"} <= fields.keys() else None,
        cell_names=names,
        unit=str(fields.get("unit", "")),
        targets=series,
        position_kind=targets.get("position"),
        **spikes,
    )


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _series(
    fields: Mapping[str, Any],
    target: str,
    kind: TargetKind,
    name: str,
    clocks: tuple[Array | None, Array | None],
    tick: float,
) -> Series:
    """Return a target of a file, at its own times or at those of the positions or the bins."""
    what = f"{name}: {target}"
    values = np.asarray(_field(fields, target, name))
    if kind.name != "categorical" or values.dtype.kind not in "US":
        values = numbers(values, what).astype(np.float64)
    if f"{target}_times" in fields:
        times = _vector(fields, f"{target}_times", name) * tick
        return Series(what, times, _rows(values, len(times)), kind)
    for times in clocks:
        if times is not None and len(times) in values.shape[:2]:
            return Series(what, times, _rows(values, len(times)), kind)
    raise ValueError(
        f"{what}: expected {target}_times, or a value for each position or bin, got {values.shape}"
    )


def _field(fields: Mapping[str, Any], wanted: str, name: str) -> Any:
    if wanted not in fields:
        raise ValueError(
            f"{name}: expected {_FIELDS}, got {', '.join(sorted(fields)) or 'no fields'}, without "
            f"{wanted}"
        )
    return fields[wanted]


def _spike_times(
    fields: Mapping[str, Any], name: str, names: tuple[str, ...]
) -> tuple[tuple[Array, ...], tuple[str, ...]]:
    times = _field(fields, "spike_times", name)
    if isinstance(times, list) or np.asarray(times).dtype.kind == "O":
        each = [numbers(one, f"{name}: spike_times") for one in times]
        return tuple(one.astype(np.float64).ravel() for one in each), names
    if "spike_cells" not in fields:
        raise ValueError(
            f"{name}: expected spike_cells, the cell of each of the flat spike_times, got none"
        )
    flat = _vector(fields, "spike_times", name)
    return spikes_of_cells(flat, fields["spike_cells"], names, name)


def _vector(fields: Mapping[str, Any], wanted: str, name: str, size: int | None = None) -> Array:
    vector = numbers(_field(fields, wanted, name), f"{name}: {wanted}").astype(np.float64).ravel()
    if size not in (None, len(vector)):
        raise ValueError(f"{name}: {wanted}: expected {size} number, got {len(vector)}")
    return vector


def _rows(matrix: NDArray, length: int) -> NDArray:
    """Return a matrix of `length` rows, transposed where that gives them."""
    if matrix.ndim == 2 and matrix.shape[0] != length and matrix.shape[1] == length:
        return matrix.T
    return matrix.reshape(-1, 1) if matrix.ndim == 1 else matrix


def _step(times: Array, name: str) -> float:
    if len(times) < 2:
        raise ValueError(f"{name}: expected times of at least 2 bins, got {len(times)}")
    return float(np.median(np.diff(times)))
