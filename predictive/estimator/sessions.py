"""What callers hold recordings in: arrays, tensors, tables and time series of other libraries.

A library is looked for only if it has been imported: an object of it cannot be there otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Steps between bins above this share of the usual one are gaps; others may differ by `_JITTER`.
_GAP, _JITTER = 1.5, 0.1


class Session(NamedTuple):
    """A recording as a caller gave it.

    Args:
        values: what scikit-learn can check, of (T, F): an array or a table.
        times: of the bins in seconds, (T,); None where the caller gave none.
        cuts: first bins of the stretches after gaps that the caller marked.
        wrap: makes of values (S, k), and of names of their columns, what the caller gave. Its
            last argument is the number of the bin that the first row stands for.
    """

    values: Any
    times: NDArray[np.float64] | None
    cuts: tuple[int, ...]
    wrap: Callable[[NDArray, Sequence[str], int], Any]

    def stretches(self, count: int) -> tuple[list[slice], float | None]:
        """Return the bins of each stretch without a gap, and the duration of a bin in seconds.

        Args:
            count: T.

        Raises:
            ValueError: in one line: times that do not increase, or bins of several durations.
        """
        edges = set(self.cuts)
        if self.times is None or count < 2:
            return _between(edges, count), None
        steps = np.diff(self.times)
        if not (steps > 0).all():
            at = int(np.flatnonzero(~(steps > 0))[0])
            raise ValueError(
                f"X: expected increasing times, got {self.times[at + 1]:g} s after "
                f"{self.times[at]:g} s in row {at + 1}; sort them"
            )
        usual = float(np.median(steps))
        edges |= set((np.flatnonzero(steps > _GAP * usual) + 1).tolist())
        inside = np.delete(steps, [edge - 1 for edge in edges])
        if len(inside) and np.abs(inside / usual - 1.0).max() > _JITTER:
            raise ValueError(
                f"X: expected bins of one duration, got steps from {inside.min():g} to "
                f"{inside.max():g} s; bin or resample it first"
            )
        return _between(edges, count), usual


def sessions_of(given: Any, bin_seconds: float | None) -> tuple[list[Session], bool]:
    """Return the recordings that an argument X holds, and whether they are a list.

    Args:
        given: X.
        bin_seconds: of the bins in which spikes of a TsGroup are counted.
    """
    if getattr(given, "ndim", 2) == 3 and not _is_sparse(given):
        return [session_of(given[i], bin_seconds) for i in range(len(given))], True
    if isinstance(given, list | tuple) and given and _is_recording(given[0]):
        return [session_of(one, bin_seconds) for one in given], True
    return [session_of(given, bin_seconds)], False


def session_of(given: Any, bin_seconds: float | None = None) -> Session:
    """Return one recording, of (T, F)."""
    kinds = (("pandas", _of_pandas), ("xarray", _of_xarray), ("torch", _of_torch))
    if (pynapple := sys.modules.get("pynapple")) is not None:
        if isinstance(given, pynapple.TsGroup):
            if bin_seconds is None:
                raise ValueError(
                    "bin_seconds: expected a duration to count the spikes of a TsGroup in, got "
                    "None; set it, for example to 0.025"
                )
            given = given.count(bin_seconds)
        if isinstance(given, (pynapple.TsdFrame, pynapple.Tsd)):
            return _of_pynapple(given, pynapple)
    for name, read in kinds:
        module = sys.modules.get(name)
        if module is not None and (found := read(given, module)) is not None:
            return found
    if isinstance(given, np.ma.MaskedArray):
        given = (
            given.filled()
            if given.dtype.kind not in "biuf"
            else np.where(np.ma.getmaskarray(given), np.nan, given.data)
        )
    return Session(given, None, (), lambda values, names, first: values)


def _is_recording(given: Any) -> bool:
    """Whether an element of a list is a recording, rather than a row of one."""
    if getattr(given, "ndim", None) == 2:
        return True
    pynapple = sys.modules.get("pynapple")
    if pynapple is not None and isinstance(given, pynapple.TsGroup):
        return True
    return isinstance(given, list | tuple) and bool(given) and isinstance(given[0], list | tuple)


def _is_sparse(given: Any) -> bool:
    return hasattr(given, "tocsr")


def _of_torch(given: Any, torch: Any) -> Session | None:
    if not isinstance(given, torch.Tensor):
        return None
    values = given.detach().cpu().numpy()

    def wrap(found: NDArray, names: Sequence[str], first: int) -> Any:
        return torch.from_numpy(found.copy()) if found.dtype.kind in "biuf" else found

    return Session(values, None, (), wrap)


def _of_pandas(given: Any, pandas: Any) -> Session | None:
    if not isinstance(given, pandas.DataFrame | pandas.Series):
        return None
    index, times = given.index, None
    if isinstance(index, pandas.DatetimeIndex | pandas.TimedeltaIndex):
        times = np.asarray((index - index[0]).total_seconds(), dtype=np.float64)
    elif index.dtype.kind == "f":
        times = index.to_numpy(dtype=np.float64)

    def wrap(values: NDArray, names: Sequence[str], first: int) -> Any:
        if first == 0 and len(values) == len(index):
            rows = index
        elif times is None or len(index) < 2:
            rows = pandas.RangeIndex(first, first + len(values), name=index.name)
        else:
            ahead: Any = _ahead(times, first, len(values))
            if index.dtype.kind != "f":
                ahead = pandas.to_timedelta(ahead, unit="s")
            rows = pandas.Index(index[-1] + ahead, name=index.name)
        if values.ndim == 1:
            return pandas.Series(values, index=rows, name=names[0])
        return pandas.DataFrame(values, index=rows, columns=list(names))

    return Session(given, times, (), wrap)


def _of_xarray(given: Any, xarray: Any) -> Session | None:
    if not isinstance(given, xarray.DataArray):
        return None
    if given.ndim not in (1, 2):
        raise ValueError(
            f"X: expected a DataArray of time and features, got the dimensions {given.dims}"
        )
    time, times, along = given.dims[0], None, None
    if time in given.coords:
        along = given.coords[time].values
        if along.dtype.kind == "f":
            times = along.astype(np.float64)
        elif along.dtype.kind in "mM":
            times = (along - along[0]) / np.timedelta64(1, "s")

    def wrap(values: NDArray, names: Sequence[str], first: int) -> Any:
        dims, coords = [time], {}
        if along is not None and first == 0 and len(values) == len(along):
            coords[time] = along
        elif along is not None and times is not None and len(along) > 1:
            ahead = _ahead(times, first, len(values))
            is_float = along.dtype.kind == "f"
            ahead = ahead if is_float else np.round(ahead * 1e9).astype("m8[ns]")
            coords[time] = along[-1] + ahead
        if values.ndim == 2:
            dims.append("state")
            coords["state"] = list(names)
        return xarray.DataArray(values, coords=coords, dims=dims)

    return Session(given.values, times, (), wrap)


def _of_pynapple(given: Any, pynapple: Any) -> Session:
    times = np.asarray(given.t, dtype=np.float64)
    epochs = np.asarray(given.time_support.values, dtype=np.float64)
    which = np.searchsorted(epochs[:, 0], times, side="right")
    cuts = tuple((np.flatnonzero(np.diff(which)) + 1).tolist())

    def wrap(values: NDArray, names: Sequence[str], first: int) -> Any:
        rows, support = times, given.time_support
        if first or len(values) != len(times):
            rows, support = times[-1] + _ahead(times, first, len(values)), None
        if values.dtype.kind not in "biuf":
            return values
        if values.ndim == 1:
            return pynapple.Tsd(t=rows, d=values, time_support=support)
        return pynapple.TsdFrame(t=rows, d=values, columns=list(names), time_support=support)

    return Session(np.asarray(given.d), times, cuts, wrap)


def _ahead(times: NDArray[np.float64], first: int, count: int) -> NDArray[np.float64]:
    """Return how long after the last of some times the bins from `first` come, in seconds."""
    rows = np.arange(1, count + 1, dtype=np.float64) + first - len(times)
    return np.multiply(rows, np.median(np.diff(times)), dtype=np.float64)


def _between(edges: set[int], count: int) -> list[slice]:
    ends = [0, *sorted(edges), count]
    return [slice(a, b) for a, b in pairwise(ends)]
