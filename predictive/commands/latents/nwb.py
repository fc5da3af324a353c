"""Latents as an NWB file: a processing module of time series, and their sequences as intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

_MODULE = "predictive"
_MEANINGS = {
    "latents": "output of the encoder in each bin",
    "states": "mean of the state given the bins up to each",
    "variances": "variances of the states",
    "smoothed": "mean of the state given all bins of its sequence",
    "smoothed_variances": "variances of the smoothed states",
}


def check_nwb(seconds: NDArray, sessions: int) -> None:
    """Raise a one-line ValueError where latents cannot be one NWB file, which has one clock.

    Args:
        seconds: times of all bins, in the order of their sequences.
        sessions: how many there are.
    """
    if find_spec("pynwb") is None:
        raise ValueError(
            "format: expected npz or csv without pynwb, got nwb; pip install 'solo-ldm[neuro]'"
        )
    if sessions > 1 or not (np.diff(seconds) > 0).all():
        raise ValueError(
            "format: expected npz or csv for sequences with clocks of their own (several sessions, "
            "simulations), got nwb; give one session as data.path=FILE"
        )


def write_nwb(
    path: Path,
    columns: Mapping[str, NDArray],
    cells: Sequence[str],
    step_seconds: float,
    source: Path | None,
    run: str,
) -> None:
    """Write latents as TimeSeries of the processing module "predictive".

    Every series has the times of the centres of the bins. The table of intervals "sequences" has
    the stretches without a gap, the table "cells" of the module the names of the encoder's inputs.

    Args:
        path: of the file.
        columns: "seconds" and "sequence", (M,), and series, (M,) or (M, k).
        cells: names of the encoder's inputs, in their order.
        step_seconds: duration of a bin.
        source: the NWB file that they are of, whose clock they keep; None where it is no NWB file.
        run: the run, for the description.
    """
    from hdmf.common import DynamicTable, VectorData
    from pynwb import NWBHDF5IO, NWBFile, TimeSeries
    from pynwb.epoch import TimeIntervals

    seconds, sequence = columns["seconds"], columns["sequence"]
    nwb: Any = NWBFile(identifier=str(uuid4()), **_session(source, run))
    module = nwb.create_processing_module(_MODULE, f"latents of {run}, by solo-ldm latents")
    first = None
    for name, values in columns.items():
        if name in ("seconds", "sequence"):
            continue
        series = TimeSeries(
            name=name,
            data=values,
            unit="unknown" if name.startswith("target_") else "a.u.",
            timestamps=seconds if first is None else first,
            description=_MEANINGS.get(name, "at the centres of the bins"),
        )
        module.add(series)
        first = first or series
    names = VectorData(name="cell_name", description="name", data=list(cells))
    table = DynamicTable(name="cells", description="the encoder's inputs", columns=[names])
    module.add(table)
    intervals = TimeIntervals(name="sequences", description="stretches of bins without a gap")
    starts = np.flatnonzero(np.diff(sequence, prepend=-1))
    for begin, end in zip(starts, [*starts[1:], len(sequence)], strict=True):
        intervals.add_interval(
            start_time=float(seconds[begin] - step_seconds / 2),
            stop_time=float(seconds[end - 1] + step_seconds / 2),
        )
    nwb.add_time_intervals(intervals)
    file: Any = NWBHDF5IO(path=str(path), mode="w")
    with file:
        file.write(nwb)


def _session(source: Path | None, run: str) -> dict[str, Any]:
    """Return what a file says of its session: as the source does, or that the date is unknown."""
    about: dict[str, Any] = {
        "session_description": f"latents of {run}; the date of the recording is not known",
        "session_start_time": datetime(1970, 1, 1, tzinfo=timezone.utc),
    }
    if source is None:
        return about
    from pynwb import NWBHDF5IO

    file: Any = NWBHDF5IO(path=str(source), mode="r")
    with file:
        nwb = file.read()
        about["session_description"] = f"latents of {run} on: {nwb.session_description}"
        for key in ("session_start_time", "timestamps_reference_time", "session_id"):
            if (value := getattr(nwb, key)) is not None:
                about[key] = value
    return about
