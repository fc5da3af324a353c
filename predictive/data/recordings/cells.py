"""The cells of a recording: whose spikes they are, and whether sessions have the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictive.data.recordings.epochs import Array
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.recordings.values import whole_numbers


def group_spikes(times: Array, cells: NDArray, wanted: Sequence[int]) -> tuple[Array, ...]:
    """Return the times of the spikes of each wanted cell, in the order in which they came."""
    if times.shape != cells.shape:
        raise ValueError(f"spike_cells: expected {len(times)}, one for each time, got {len(cells)}")
    order = np.argsort(cells, kind="stable")
    first = np.searchsorted(cells[order], wanted, side="left")
    last = np.searchsorted(cells[order], wanted, side="right")
    return tuple(times[order[a:b]] for a, b in zip(first, last, strict=True))


def spikes_of_cells(
    times: Array, cells: Any, names: tuple[str, ...], source: str
) -> tuple[tuple[Array, ...], tuple[str, ...]]:
    """Give flat spike times to their cells.

    Args:
        times: of all spikes, (n,).
        cells: the cell of each: its name, or its number. Numbers index the names from 0 or, where
            one of them is the number of names, from 1; other numbers are as many as the names, in
            their order.
        names: of all cells, the silent ones included; empty takes the cells that have spikes.
        source: the file, for errors.

    Returns:
        The times of each cell, and the names.

    Raises:
        ValueError: numbers that index the names from 0 as well as from 1, or names that are none.
    """
    given = np.atleast_1d(np.asarray(cells)).ravel()
    if given.dtype.kind in "US":
        given = given.astype(np.str_)
        found = np.unique(given).tolist()
        wanted: list[Any] = list(names) or found
        if strange := sorted(set(found) - set(wanted)):
            raise ValueError(
                f"{source}: spike_cells: expected names among the {len(names)} cell_names, got "
                f"{', '.join(strange[:5])}"
            )
        return group_spikes(times, given, wanted), tuple(wanted)
    numbered = whole_numbers(given, f"{source}: spike_cells")
    wanted = np.unique(numbered).tolist()
    if names and wanted:
        wanted = _indexed(wanted, len(names), source)
    return group_spikes(times, numbered, wanted), names or tuple(map(str, wanted))


def _indexed(found: list[int], count: int, source: str) -> list[int]:
    """Return the number of each name, silent cells included."""
    low, high = found[0], found[-1]
    if low == 0 and high < count:
        return list(range(count))
    if low >= 1 and high == count:
        return list(range(1, count + 1))
    if low >= 1 and high < count:
        raise ValueError(
            f"{source}: spike_cells: expected numbers that say whether they start at 0 or at 1, "
            f"got {low} to {high} for {count} cell_names, so that the first or the last is silent; "
            "give each spike's cell by its name"
        )
    if len(found) != count:
        raise ValueError(
            f"{source}: spike_cells: expected numbers of the {count} cell_names, got {len(found)} "
            f"different ones from {low} to {high}"
        )
    return found


def in_order(times: Sequence[Array]) -> tuple[tuple[Array, ...], tuple[str, ...]]:
    """Return spike times in the order of time, and a note if some were not."""
    wrong = [bool((np.diff(one) < 0).any()) for one in times]
    note = f"spike times of {sum(wrong)} cells put in order"
    ordered = (np.sort(one) if swap else one for one, swap in zip(times, wrong, strict=True))
    return tuple(ordered), (note,) if any(wrong) else ()


def with_cells_of(session: SpikeRecording, first: SpikeRecording) -> SpikeRecording:
    """Return a session with its cells in the order of another's.

    Raises:
        ValueError: cells of other names.
    """
    names, wanted = session.cell_names, first.cell_names
    if names == wanted:
        return session
    missing, besides = (
        [one for one in a if one not in b] for a, b in ((wanted, names), (names, wanted))
    )
    if missing or besides or len(names) != len(wanted) or len(set(names)) < len(names):
        differ = [
            f"{how} {', '.join(some[:5])}{', …' if some[5:] else ''}"
            for how, some in (("without", missing), ("with other", besides))
            if some
        ]
        raise ValueError(
            f"{session.source}: expected the {len(wanted)} cells of {first.source}, got "
            f"{len(names)} {' and '.join(differ) or 'of the same names'}; train on sessions with "
            "different cells in separate runs"
        )
    order = [names.index(one) for one in wanted]
    return replace(
        session,
        cell_names=wanted,
        counts=None if session.counts is None else session.counts[:, order],
        spike_times=session.spike_times and tuple(session.spike_times[i] for i in order),
    )
