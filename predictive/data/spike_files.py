"""Recordings of spikes with positions, and their files: npz and MATLAB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

Array = NDArray[np.float64]

# Share of a bin by which a time stamp may be off: clocks are written with few digits.
_STAMP_TOLERANCE = 0.1
# Share of a bin below which a spike before an edge counts as on it: 25 ns of 25 ms.
_EDGE_TOLERANCE = 1e-6
# What HDF5 files, and so MATLAB's from version 7.3 on, start with, after 0 or 512 bytes.
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FIELDS = (
    "counts and times (or spike_times and spike_cells), position or xy, and position_times "
    "unless there is a position for each bin of counts"
)


@dataclass(frozen=True, eq=False)
class SpikeRecording:
    """What a session left: the spikes of some cells, and where the animal was.

    Spikes are given either as times or as counts in bins; the other is None. All times are
    seconds on one clock.

    Args:
        name: of the session, for errors and descriptions.
        position_times: when the tracker looked, (n,), increasing.
        position: where it saw the animal, (n, k), NaN where it lost it.
        spike_times: times of the spikes of each cell, increasing.
        intervals: starts and ends of the stretches in which spikes were recorded, (m, 2); None
            for one stretch from the first spike to the last. Only with spike_times.
        counts: spikes per bin, (T, cells).
        count_starts: start of each bin, (T,), increasing; a jump is a gap.
        count_seconds: duration of a bin of counts.
        place: place along the track, (n,), where the source gives one.
        circular: whether the track closes on itself, so that it has no main axis.
        cell_names: one per cell; their numbers when empty.
        unit: unit of position and place, "" where it is unknown.

    Raises:
        ValueError: arrays that do not fit each other, times that do not increase or are NaN,
            negative counts, all cells silent, no position at all.
    """

    name: str
    position_times: Array
    position: Array
    spike_times: tuple[Array, ...] | None = None
    intervals: Array | None = None
    counts: NDArray | None = None
    count_starts: Array | None = None
    count_seconds: float | None = None
    place: Array | None = None
    circular: bool = False
    cell_names: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        n = len(self.position_times)
        if self.position.ndim != 2 or len(self.position) != n:
            raise ValueError(
                f"{self.name}: position must be ({n}, k), one row for each of its times, "
                f"got {self.position.shape}"
            )
        if self.place is not None and self.place.shape != (n,):
            raise ValueError(f"{self.name}: place must be ({n},), got {self.place.shape}")
        _check_increasing(self.position_times, f"{self.name}: position times")
        if n < 2:
            raise ValueError(f"{self.name}: a track needs 2 positions at least, got {n}")
        for what in (self.position, self.place):
            if what is not None and not np.isfinite(what).reshape(n, -1).all(axis=1).any():
                raise ValueError(f"{self.name}: all {n} positions are NaN: nothing was tracked")
        cells = self._check_counts() if self.spike_times is None else self._check_spike_times()
        names = self.cell_names or tuple(str(i) for i in range(cells))
        if len(names) != cells:
            raise ValueError(f"{self.name}: {len(names)} cell names for {cells} cells")
        object.__setattr__(self, "cell_names", names)

    def _check_spike_times(self) -> int:
        times = self.spike_times or ()
        if self.counts is not None:
            raise ValueError(f"{self.name}: give spike_times or counts, not both")
        for i, one in enumerate(times):
            _check_increasing(one, f"{self.name}: spike times of cell {i}")
        if not any(len(one) for one in times):
            raise ValueError(f"{self.name}: all {len(times)} cells are silent")
        if self.intervals is not None and (
            self.intervals.ndim != 2
            or self.intervals.shape[1] != 2
            or not (np.diff(self.intervals.ravel()) >= 0).all()
        ):
            raise ValueError(
                f"{self.name}: intervals must be (m, 2), starts and ends in the order of time, "
                f"got {self.intervals.tolist()}"
            )
        return len(times)

    def _check_counts(self) -> int:
        if self.counts is None or self.count_starts is None or self.count_seconds is None:
            raise ValueError(
                f"{self.name}: give spike_times, or counts with count_starts and count_seconds"
            )
        if self.counts.ndim != 2 or len(self.counts) != len(self.count_starts):
            raise ValueError(
                f"{self.name}: counts must be ({len(self.count_starts)}, cells), one row for each "
                f"of their times, got {self.counts.shape}"
            )
        _check_bin(self.count_seconds, "count_seconds")
        _check_increasing(self.count_starts, f"{self.name}: times of the counts")
        if not np.isfinite(self.counts).all() or (self.counts < 0).any():
            raise ValueError(
                f"{self.name}: counts must be 0 or more, the lowest is {self.counts.min()}"
            )
        if not self.counts.any():
            raise ValueError(f"{self.name}: all {self.counts.shape[1]} cells are silent")
        return self.counts.shape[1]

    @property
    def spike_range(self) -> tuple[float, float]:
        """First and last time at which a spike could be recorded."""
        if self.count_starts is not None:
            stop = self.count_starts[-1] + (self.count_seconds or 0.0)
            return float(self.count_starts[0]), float(stop)
        if self.intervals is not None:
            return float(self.intervals[0, 0]), float(self.intervals[-1, 1])
        times = [one for one in self.spike_times or () if len(one)]
        return min(float(one[0]) for one in times), max(float(one[-1]) for one in times)

    def binned(self, bin_seconds: float) -> list[tuple[Array, NDArray]]:
        """Return stretches without a gap: starts of their bins, (T,), and counts, (T, cells).

        Counts are added up to coarser bins where bin_seconds is a multiple of theirs.

        Raises:
            ValueError: bin_seconds not positive, or not a multiple of the bins of the counts.
        """
        _check_bin(bin_seconds, "bin_seconds")
        own = self.count_seconds
        if self.counts is None or self.count_starts is None or own is None:
            intervals = np.array([self.spike_range]) if self.intervals is None else self.intervals
            binned = [
                bin_spikes(self.spike_times or (), start, stop, bin_seconds)
                for start, stop in intervals
                if stop - start >= bin_seconds
            ]
            return [(starts, counts) for counts, starts in binned]
        merged = round(bin_seconds / own)
        if merged < 1 or abs(bin_seconds / own - merged) > 0.01:
            raise ValueError(
                f"{self.name}: its counts come in bins of {own:g} s: bin_seconds must "
                f"be a multiple of that, got {bin_seconds:g}"
            )
        off = np.abs(np.diff(self.count_starts) - own)
        edges = np.flatnonzero(off > _STAMP_TOLERANCE * own) + 1
        stretches = []
        for starts, counts in zip(
            np.split(self.count_starts, edges), np.split(self.counts, edges), strict=True
        ):
            whole = len(counts) // merged * merged
            added = counts[:whole].reshape(-1, merged, counts.shape[1]).sum(axis=1)
            stretches.append((starts[:whole:merged], added))
        return stretches


def bin_spikes(
    spike_times: Sequence[Array], start: float, stop: float, bin_seconds: float
) -> tuple[NDArray[np.int64], Array]:
    """Count spikes in bins.

    Bin i is the half-open [start + i · bin, start + (i + 1) · bin). A spike closer to the end of
    its bin than a millionth of the bin counts as on it, since decimal times are rarely exact.

    Args:
        spike_times: times of the spikes of each cell, s, increasing.
        start: where the first bin starts, s.
        stop: no bin ends after it; a last, shorter bin is left out.
        bin_seconds: duration of a bin.

    Returns:
        Counts (T, cells) and the starts of the bins (T,).

    Raises:
        ValueError: bin_seconds not positive, less than a bin between start and stop, or spike
            times that are NaN or do not increase.
    """
    _check_bin(bin_seconds, "bin_seconds")
    num_bins = int(np.floor((stop - start) / bin_seconds + _EDGE_TOLERANCE))
    if num_bins < 1:
        raise ValueError(
            f"there is no bin of {bin_seconds:g} s between start={start:g} and stop={stop:g}"
        )
    counts = np.zeros((num_bins, len(spike_times)), dtype=np.int64)
    for cell, times in enumerate(spike_times):
        _check_increasing(times, f"spike times of cell {cell}")
        near = times[slice(*np.searchsorted(times, [start - bin_seconds, stop + bin_seconds]))]
        bins = np.floor((near - start) / bin_seconds + _EDGE_TOLERANCE).astype(np.int64)
        bins = bins[(bins >= 0) & (bins < num_bins)]
        counts[:, cell] = np.bincount(bins, minlength=num_bins)
    return counts, np.asarray(start + np.arange(num_bins) * bin_seconds, dtype=np.float64)


def read_npz(path: str | Path, stamp: Literal["centre", "start"] = "centre") -> SpikeRecording:
    """Read a recording from an npz file; nothing in it is ever unpickled.

    Args:
        path: a file with the fields of `from_fields`.
        stamp: which time of a bin of counts its field "times" tells.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an npz file of plain arrays, or fields that are missing or do not fit.
    """
    path = existing(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            fields = {name: file[name] for name in file.files}
    except (ValueError, AttributeError, TypeError, EOFError, OSError, BadZipFile) as error:
        raise ValueError(
            f"{path} is not an npz file of plain arrays, with spike_times and spike_cells flat: "
            f"{first_line(error)}"
        ) from error
    return from_fields(fields, path.stem, stamp)


def read_mat(path: str | Path, stamp: Literal["centre", "start"] = "centre") -> SpikeRecording:
    """Read a recording from a MATLAB file.

    Args:
        path: a file of any version from 5, with the variables named in `from_fields`, or with
            one struct that has them. A cell array spike_times has one vector for each cell.
        stamp: which time of a bin of counts its field "times" tells.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a MATLAB file, or variables that are missing or do not fit.
    """
    path = existing(path)
    fields = load_mat(path)
    if len(fields) == 1 and isinstance(inner := next(iter(fields.values())), dict):
        fields = inner
    return from_fields(fields, path.stem, stamp)


def from_fields(
    fields: Mapping[str, Any], name: str, stamp: Literal["centre", "start"] = "centre"
) -> SpikeRecording:
    """Make a recording of named arrays.

    Args:
        fields: either "counts" (T, cells) with "times" (T,) and perhaps "bin_seconds" (else the
            median step of the times), or "spike_times", flat with "spike_cells" or a list with
            an array for each cell, and perhaps "intervals" (m, 2); "position", (n,) or (n, k),
            or "xy", (n, k), or both, when "position" is the place along the track; their
            "position_times" (n,), without which they belong to the centres of the bins; perhaps
            "cell_names" and "unit" of the position. Matrices may lie on their sides.
        name: of the session.
        stamp: which time of a bin of counts "times" tells.

    Raises:
        ValueError: fields that are missing or do not fit each other.
    """
    if stamp not in ("centre", "start"):
        raise ValueError(f'stamp must be "centre" or "start", got {stamp!r}')
    spikes: dict[str, Any] = {}
    names = tuple(str(one) for one in np.atleast_1d(fields.get("cell_names", ())))
    if "counts" in fields:
        times = _vector(_field(fields, "times", name))
        seconds = float(fields["bin_seconds"]) if "bin_seconds" in fields else _step(times, name)
        starts = times - seconds / 2 if stamp == "centre" else times
        counts = _rows(fields["counts"], len(times))
        spikes = {"counts": counts, "count_starts": starts, "count_seconds": seconds}
        seen = _vector(fields.get("position_times", starts + seconds / 2))
    else:
        spikes["spike_times"], names = _spike_times(fields, name, names)
        if np.size(fields.get("intervals", ())):
            spikes["intervals"] = np.asarray(fields["intervals"], dtype=np.float64).reshape(-1, 2)
        seen = _vector(_field(fields, "position_times", name))
    position = fields["xy"] if "xy" in fields else _field(fields, "position", name)
    return SpikeRecording(
        name,
        seen,
        _rows(position, len(seen)).astype(np.float64),
        place=_vector(fields["position"]) if "xy" in fields and "position" in fields else None,
        cell_names=names,
        unit=str(fields.get("unit", "")),
        **spikes,
    )


def group_spikes(times: Array, cells: NDArray, wanted: Sequence[int]) -> tuple[Array, ...]:
    """Return the times of the spikes of each wanted cell, in the order in which they came."""
    if times.shape != cells.shape:
        raise ValueError(f"{len(times)} spike times need as many cells, got {len(cells)}")
    order = np.argsort(cells, kind="stable")
    first = np.searchsorted(cells[order], wanted, side="left")
    last = np.searchsorted(cells[order], wanted, side="right")
    return tuple(times[order[a:b]] for a, b in zip(first, last, strict=True))


def load_mat(path: Path) -> dict[str, Any]:
    """Return the variables of a MATLAB file: structs as dicts, cell arrays as lists.

    Version 7.3 is HDF5 and read with h5py, which keeps a matrix transposed; that is undone.

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
                f"{path} is a MATLAB file of version 7.3: pip install 'solo-ldm[neuro]'"
            ) from error
        try:
            with h5py.File(path, "r") as file:
                return {k: _from_hdf5(v, file) for k, v in file.items() if k[0] != "#"}
        except OSError as error:
            raise ValueError(f"{path} is a damaged file: {first_line(error)}") from error
    try:
        loaded = loadmat(path, simplify_cells=True)
    except (ValueError, MatReadError, TypeError, OSError) as error:
        raise ValueError(f"{path} is not a MATLAB file: {first_line(error)}") from error
    return {key: value for key, value in loaded.items() if not key.startswith("__")}


def existing(path: str | Path) -> Path:
    """Return the path of a file that is there."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}: give the path of a recording")
    return Path(path)


def first_line(error: Exception) -> str:
    """Return the first line of what an error of a library says."""
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
            f"{name}: there is no {wanted} among its fields {sorted(fields)}: expected {_FIELDS}"
        )
    return fields[wanted]


def _spike_times(
    fields: Mapping[str, Any], name: str, names: tuple[str, ...]
) -> tuple[tuple[Array, ...], tuple[str, ...]]:
    times = _field(fields, "spike_times", name)
    if isinstance(times, list) or np.asarray(times).dtype.kind == "O":
        return tuple(_vector(one) for one in times), names
    if "spike_cells" not in fields:
        raise ValueError(
            f"{name}: flat spike_times need spike_cells, the number of the cell of each spike"
        )
    cells = _vector(fields["spike_cells"]).astype(np.int64)
    wanted = np.unique(cells).tolist()
    # Cells are counted from 0 where there are names for them, so silent ones can be named.
    if names and wanted[0] >= 0 and wanted[-1] < len(names):
        wanted = list(range(len(names)))
    return group_spikes(_vector(times), cells, wanted), names or tuple(map(str, wanted))


def _vector(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64).ravel()


def _rows(values: ArrayLike, length: int) -> NDArray:
    """Return a matrix with so many rows, turned where it lies on its side."""
    matrix = np.asarray(values)
    if matrix.ndim == 2 and matrix.shape[0] != length and matrix.shape[1] == length:
        return matrix.T
    return matrix.reshape(-1, 1) if matrix.ndim == 1 else matrix


def _step(times: Array, name: str) -> float:
    if len(times) < 2:
        raise ValueError(f"{name}: counts need the times of two bins at least, got {len(times)}")
    return float(np.median(np.diff(times)))


def _check_bin(seconds: float, name: str) -> None:
    if not (np.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{name} must be a positive number of seconds, got {seconds}")


def _check_increasing(times: Array, what: str) -> None:
    if not np.isfinite(times).all():
        raise ValueError(f"{what} hold {(~np.isfinite(times)).sum()} values that are not numbers")
    if (np.diff(times) < 0).any():
        i = int(np.flatnonzero(np.diff(times) < 0)[0])
        raise ValueError(f"{what} must increase, got {times[i]:g} s before {times[i + 1]:g} s")
