"""Files of spikes and positions: npz and MATLAB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.io import loadmat

from predictive.data.recordings.spikes import Array, SpikeRecording
from solo_ldm.config.arguments import checked

# First bytes of HDF5, and so of MATLAB files from version 7.3 on, at byte 0 or 512.
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FIELDS = (
    "counts and times (or spike_times and spike_cells), position or xy, and position_times unless "
    "each bin of counts has a position"
)
Stamp = Literal["centre", "start"]


def read_npz(path: str | Path, stamp: Stamp = "centre") -> SpikeRecording:
    """Read a recording from an npz file; nothing in it is ever unpickled.

    Args:
        path: a file with the fields of `from_fields`.
        stamp: which time of a bin its field "times" has.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an npz file of plain arrays, or fields that are missing or do not fit.
    """
    path = existing(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            fields = {name: file[name] for name in file.files}
    except Exception as error:  # of numpy, zipfile, zlib or struct
        raise ValueError(
            f"{path}: expected an npz file of plain arrays, spike_times and spike_cells flat, got: "
            f"{first_line(error)}"
        ) from error
    return from_fields(fields, str(path), stamp)


def read_mat(path: str | Path, stamp: Stamp = "centre") -> SpikeRecording:
    """Read a recording from a MATLAB file.

    Args:
        path: a file of any version from 5, with the variables named in `from_fields`, or with
            one struct that has them. A cell array spike_times has one vector for each cell.
        stamp: which time of a bin its field "times" has.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a MATLAB file, or variables that are missing or do not fit.
    """
    path = existing(path)
    fields = load_mat(path)
    if len(fields) == 1 and isinstance(inner := next(iter(fields.values())), dict):
        fields = inner
    return from_fields(fields, str(path), stamp)


@checked
def from_fields(fields: Mapping[str, Any], name: str, stamp: Stamp = "centre") -> SpikeRecording:
    """Make a recording of named arrays.

    Args:
        fields: either "counts" (T, cells) with "times" (T,) and optionally "bin_seconds" (else the
            median step of the times), or "spike_times", flat with "spike_cells" or a list with
            an array for each cell, and optionally "intervals" (m, 2); "position", (n,) or (n, k),
            or "xy", (n, k), or both, when "position" is the place along the track; their
            "position_times" (n,), without which they are those of the bins' centres; optionally
            "cell_names" and "unit" of the position. Matrices may be transposed.
        name: the file, for errors; the session is named after it.
        stamp: which time of a bin "times" has.

    Raises:
        ValueError: fields that are missing or do not fit each other.
    """
    spikes: dict[str, Any] = {}
    names = tuple(str(one) for one in np.atleast_1d(fields.get("cell_names", ())))
    if "counts" in fields:
        times = _vector(fields, "times", name)
        if "bin_seconds" in fields:
            (seconds,) = _vector(fields, "bin_seconds", name, size=1).tolist()
        else:
            seconds = _step(times, name)
        starts = times - seconds / 2 if stamp == "centre" else times
        counts = _rows(numbers(fields["counts"], f"{name}: counts"), len(times))
        spikes = {"counts": counts, "count_starts": starts, "count_seconds": seconds}
        seen = starts + seconds / 2
        if "position_times" in fields:
            seen = _vector(fields, "position_times", name)
    else:
        spikes["spike_times"], names = _spike_times(fields, name, names)
        if np.size(fields.get("intervals", ())):
            intervals = _vector(fields, "intervals", name)
            if len(intervals) % 2:
                raise ValueError(
                    f"{name}: expected intervals (m, 2), starts and ends, got {len(intervals)} "
                    "numbers"
                )
            spikes["intervals"] = intervals.reshape(-1, 2)
        seen = _vector(fields, "position_times", name)
    coordinates = "xy" if "xy" in fields else "position"
    position = numbers(_field(fields, coordinates, name), f"{name}: {coordinates}")
    return SpikeRecording(
        name,
        seen,
        _rows(position, len(seen)).astype(np.float64),
        place=_vector(fields, "position", name) if {"xy", "position"} <= fields.keys() else None,
        cell_names=names,
        unit=str(fields.get("unit", "")),
        **spikes,
    )


def group_spikes(times: Array, cells: NDArray, wanted: Sequence[int]) -> tuple[Array, ...]:
    """Return the times of the spikes of each wanted cell, in the order in which they came."""
    if times.shape != cells.shape:
        raise ValueError(f"spike_cells: expected {len(times)}, one for each time, got {len(cells)}")
    order = np.argsort(cells, kind="stable")
    first = np.searchsorted(cells[order], wanted, side="left")
    last = np.searchsorted(cells[order], wanted, side="right")
    return tuple(times[order[a:b]] for a, b in zip(first, last, strict=True))


def load_mat(path: Path) -> dict[str, Any]:
    """Return the variables of a MATLAB file: structs as dicts, cell arrays as lists.

    Version 7.3 is HDF5, read with h5py, whose matrices are transposed back.

    Raises:
        ValueError: not a MATLAB file, or one of version 7.3 without h5py.
    """
    with path.open("rb") as file:
        head = file.read(512 + len(_HDF5_SIGNATURE))
    if head.startswith(_HDF5_SIGNATURE) or head.endswith(_HDF5_SIGNATURE):
        try:
            import h5py
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{path}: expected h5py to read version 7.3, got none; pip install "
                "'solo-ldm[neuro]'"
            ) from error
        try:
            with h5py.File(path, "r") as file:
                return {k: _from_hdf5(v, file) for k, v in file.items() if k[0] != "#"}
        except Exception as error:  # of h5py or the references in it
            raise ValueError(f"{path}: expected HDF5, got: {first_line(error)}") from error
    try:
        loaded = loadmat(path, simplify_cells=True)
    except Exception as error:  # of scipy, zlib or struct
        raise ValueError(f"{path}: expected a MATLAB file, got: {first_line(error)}") from error
    return {key: value for key, value in loaded.items() if not key.startswith("__")}


def existing(path: str | Path) -> Path:
    """Return the path of a file that is there."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"data.path: expected the file of a recording, got {path}; no such file"
        )
    return Path(path)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _from_hdf5(node: Any, file: Any) -> Any:
    if hasattr(node, "keys"):
        return {key: _from_hdf5(node[key], file) for key in node}
    is_text = node.attrs.get("MATLAB_class") in (b"char", "char")
    # An empty array is stored as its shape.
    if node.attrs.get("MATLAB_empty", 0):
        return "" if is_text else np.zeros((0, 0))
    values = node[()]
    if node.dtype.kind == "O":
        return [_from_hdf5(file[reference], file) for reference in values.T.ravel(order="F")]
    if is_text:
        return "".join(chr(code) for code in np.ravel(values))
    return np.squeeze(values.T)


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
    cells = whole_numbers(fields["spike_cells"], f"{name}: spike_cells")
    wanted = np.unique(cells).tolist()
    # Numbers index the names, if there are any, so that silent cells have theirs.
    if names and wanted and wanted[0] >= 0 and wanted[-1] < len(names):
        wanted = list(range(len(names)))
    return group_spikes(_vector(fields, "spike_times", name), cells, wanted), names or tuple(
        map(str, wanted)
    )


def numbers(values: ArrayLike, what: str) -> NDArray:
    """Return an array of real numbers.

    Args:
        values: as a file has them.
        what: they are, for errors.

    Raises:
        ValueError: in one line: text, complex numbers, times of day, or rows of several lengths.
    """
    try:
        array = np.asarray(values)
        array = array.astype(np.float64) if array.dtype.kind == "O" else array
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: expected numbers, got: {first_line(error)}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: expected numbers, got {array.dtype}")
    return array


def whole_numbers(values: ArrayLike, what: str) -> NDArray[np.int64]:
    """Return a vector of whole numbers; a ValueError in one line for others, see `numbers`."""
    vector = numbers(values, what).ravel()
    if not (np.isfinite(vector) & (vector == np.round(vector))).all():
        raise ValueError(f"{what}: expected whole numbers, got fractions, NaN or infinity")
    return vector.astype(np.int64)


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
