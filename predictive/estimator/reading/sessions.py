"""What callers hold recordings in: arrays, tensors, tables and time series of other libraries.

A library is looked for only if it has been imported: an object of it cannot be there otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictive.estimator.reading.names import names_of
from predictive.estimator.reading.session import Session, seconds_of


def sessions_of(given: Any, bin_seconds: float | None) -> tuple[list[Session], bool]:
    """Return the recordings that an argument X holds, and whether they are a list.

    Args:
        given: X.
        bin_seconds: of the bins in which spikes of a TsGroup are counted.
    """
    own = _is_sparse(given) or _is_labelled(given) or _is_of_pynapple(given)
    if getattr(given, "ndim", 2) == 3 and not own:
        return [_recording_of(given[i], bin_seconds) for i in range(len(given))], True
    given = listed(given)
    if isinstance(given, list | tuple) and given and _is_recording(given[0]):
        return [_recording_of(one, bin_seconds) for one in given], True
    return [_recording_of(given, bin_seconds)], False


def listed(given: Any) -> Any:
    """Return an array of arrays, as a MATLAB cell array is read, as a list; others as they are."""
    if isinstance(given, np.ndarray) and given.dtype.kind == "O" and given.size:
        one = given.flat[0]
        if isinstance(one, list | tuple) or getattr(one, "ndim", 0):
            return [*given.flat]
    return given


def _recording_of(given: Any, bin_seconds: float | None) -> Session:
    """Return one recording, or say what to do with another object of pynapple or xarray."""
    kind = type(given).__name__
    if (pynapple := sys.modules.get("pynapple")) is not None:
        if isinstance(given, pynapple.TsdTensor):
            raise ValueError(
                f"X: expected a TsdFrame (T, F), got a TsdTensor {given.shape}; flatten it: "
                "nap.TsdFrame(t=X.t, d=X.d.reshape(len(X), -1))"
            )
        if isinstance(given, pynapple.Tsd):
            raise ValueError("X: expected a TsdFrame (T, F), got a Tsd; take X[:, None]")
        if isinstance(given, pynapple.Ts):
            raise ValueError("X: expected a TsGroup, got a Ts; take nap.TsGroup({0: X})")
    if _is_labelled(given) and getattr(given, "ndim", 0) != 2:
        how = "give a list of DataArrays, one for each trial"
        if hasattr(given, "data_vars"):
            how = f"take one of its variables ({', '.join(map(str, given.data_vars))})"
        raise ValueError(
            f"X: expected a DataArray of time and features, got a {kind} of the dimensions "
            f"{', '.join(map(str, given.dims))}; {how}"
        )
    if fields := getattr(getattr(given, "dtype", None), "names", None):
        raise ValueError(
            f"X: expected (T, F), bins and features, got records of {', '.join(fields)}; give "
            "pandas.DataFrame(X)"
        )
    return session_of(given, bin_seconds)


def session_of(given: Any, bin_seconds: float | None = None) -> Session:
    """Return one recording, of (T, F)."""
    kinds = (("pandas", _of_pandas), ("xarray", _of_xarray), ("torch", _of_torch))
    if (pynapple := sys.modules.get("pynapple")) is not None:
        if isinstance(given, pynapple.TsGroup):
            if bin_seconds is None:
                raise ValueError(
                    "bin_seconds: expected a duration to count the spikes of a TsGroup in, got "
                    "None; set it, for example to 0.25"
                )
            given = given.count(bin_seconds)
        if isinstance(given, pynapple.TsdFrame | pynapple.Tsd):
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
    if _is_of_pynapple(given):
        return True
    return isinstance(given, list | tuple) and bool(given) and isinstance(given[0], list | tuple)


def _is_of_pynapple(given: Any) -> bool:
    return type(given).__module__.startswith("pynapple.")


def _is_sparse(given: Any) -> bool:
    return hasattr(given, "tocsr")


def _is_labelled(given: Any) -> bool:
    """Whether it is of xarray."""
    return hasattr(given, "coords") and hasattr(given, "dims")


def _of_torch(given: Any, torch: Any) -> Session | None:
    if not isinstance(given, torch.Tensor):
        return None
    given = given.detach().cpu().to_dense()
    values = (given.float() if given.dtype == torch.bfloat16 else given).numpy()

    def wrap(found: NDArray, names: Sequence[str], first: int) -> Any:
        return torch.from_numpy(found.copy()) if found.dtype.kind in "biuf" else found

    return Session(values, None, (), wrap)


def _of_pandas(given: Any, pandas: Any) -> Session | None:
    if not isinstance(given, pandas.DataFrame | pandas.Series):
        return None
    index, said = given.index, ""
    clock = index.to_timestamp() if isinstance(index, pandas.PeriodIndex) else index
    stamps = None
    if isinstance(clock, pandas.DatetimeIndex | pandas.TimedeltaIndex):
        stamps = clock.to_numpy()
        if stamps.dtype.kind == "O":  # dates with a time zone
            stamps = clock.tz_convert("UTC").tz_localize(None).to_numpy()
    elif clock.dtype.kind in "fiu":
        stamps = _clock(clock.to_numpy())
    elif len(clock):
        kind = "of several levels" if clock.nlevels > 1 else f"of {clock.dtype}"
        said = f"X: an index {kind} is no time: rows are taken to follow each other"

    def wrap(values: NDArray, names: Sequence[str], first: int) -> Any:
        if first == 0 and len(values) == len(index):
            rows = index
        elif stamps is None or len(index) < 2:
            rows = pandas.RangeIndex(first, first + len(values), name=index.name)
        else:
            ahead: Any = _ahead(stamps, first, len(values))
            if stamps.dtype.kind in "mM":
                ahead = pandas.to_timedelta(ahead, unit="s")
            rows = pandas.Index(clock[-1] + ahead, name=index.name)
        if values.ndim == 1:
            return pandas.Series(values, index=rows, name=names[0])
        return pandas.DataFrame(values, index=rows, columns=list(names))

    if isinstance(given, pandas.Series):
        return Session(given, stamps, (), wrap)
    names = names_of(given.columns)
    return Session(given.set_axis(range(len(names)), axis=1), stamps, (), wrap, names, said)


def _of_xarray(given: Any, xarray: Any) -> Session | None:
    if not isinstance(given, xarray.DataArray):
        return None
    time = given.dims[0] if given.ndim == 1 else _time_of(given)
    table = given.transpose(time, ...)
    along = table.coords[time].values if time in table.coords else None
    stamps = None
    if along is not None and along.dtype.kind in "fiumM":
        stamps = _clock(along)

    def wrap(values: NDArray, names: Sequence[str], first: int) -> Any:
        dims, coords = [time], {}
        if along is not None and first == 0 and len(values) == len(along):
            coords[time] = along
        elif along is not None and stamps is not None and len(along) > 1:
            ahead = _ahead(stamps, first, len(values))
            if along.dtype.kind in "mM":
                ahead = np.round(ahead * 1e9).astype("m8[ns]")
            coords[time] = along[-1] + ahead
        if values.ndim == 2:
            dims.append("state")
            coords["state"] = list(names)
        return xarray.DataArray(values, coords=coords, dims=dims)

    names = None
    if table.ndim == 2 and (labels := table.coords.get(table.dims[1])) is not None:
        names = names_of(labels.values.tolist())
    return Session(table.values, stamps, (), wrap, names)


def _time_of(given: Any) -> Any:
    """Return the dimension of a table that is time: by its name, else by its coordinates."""
    kinds = {one: given.coords[one].dtype.kind for one in given.dims if one in given.coords}
    increase = [one for one in kinds if kinds[one] in "fmM" and _increases(given.coords[one])]
    named = [one for one in given.dims if _is_time(one)]
    numbers = [one for one in given.dims if kinds.get(one, "f") not in "OSTU"]
    for found in (named, increase, numbers):
        if len(found) == 1:
            return found[0]
    first, second = given.dims
    longer = str(max(given.dims, key=lambda one: given.sizes[one]))
    raise ValueError(
        f"X: expected a DataArray with a dimension named time, got {first} and {second}; name it, "
        f"as X.rename({{{longer!r}: 'time'}}) does"
    )


def _is_time(name: Any) -> bool:
    text = str(name).lower()
    return text == "t" or text.startswith("time")


def _increases(coordinate: Any) -> bool:
    values = coordinate.values
    return bool((values[1:] > values[:-1]).all())


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

    names = names_of(given.columns) if isinstance(given, pynapple.TsdFrame) else None
    return Session(np.asarray(given.d), times, cuts, wrap, names)


def _clock(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return an index of numbers as stamps; None for the numbers of rows from 0."""
    if values.dtype.kind not in "iu":
        return values.astype(np.float64) if values.dtype.kind == "f" else values
    numbers = values.astype(np.int64)
    return None if np.array_equal(numbers, np.arange(len(numbers))) else numbers


def _ahead(stamps: NDArray[Any], first: int, count: int) -> NDArray[Any]:
    """Return how long after the last of some stamps the bins from `first` come, in seconds."""
    rows = np.arange(1, count + 1) + first - len(stamps)
    times = seconds_of(stamps)
    return rows if times is None else rows * np.median(np.diff(times))
