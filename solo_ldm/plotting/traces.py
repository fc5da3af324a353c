"""Traces over stretches of time, with no line across a gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from solo_ldm.plotting.arrays import Floats
from solo_ldm.plotting.style import LIGHT, few_ticks, legend_above, write_instead

# Shorter ones show nothing beside the others.
_SHORTEST_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Stretches:
    """Some stretches, laid one after the other on one axis.

    Args:
        positions: on the axis, in seconds, NaN between two stretches.
        sequence: which sequence each position is of; any where it is NaN.
        bins: which time bin of the sequence.
        num_shown: how many stretches these are.
        num_all: out of how many.
    """

    positions: Floats
    sequence: NDArray[np.int64]
    bins: NDArray[np.int64]
    num_shown: int
    num_all: int

    def take(self, values: Floats) -> Floats:
        """Return values (N, T) or (N, T, k) at the positions, NaN between two stretches."""
        taken = values[self.sequence, self.bins].copy()
        taken[np.isnan(self.positions)] = np.nan
        return taken

    @property
    def breaks(self) -> Floats:
        """Positions at the middle between two stretches."""
        (gaps,) = np.nonzero(np.isnan(self.positions))
        return (self.positions[gaps - 1] + self.positions[gaps + 1]) / 2.0

    @property
    def axis_name(self) -> str:
        """The name of the axis, with its unit."""
        return "time (s)" if self.num_shown == 1 else "time shown, gaps left out (s)"


def split(seconds: Floats, known: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return stretches as (sequence, first bin, bin after the last).

    A stretch ends at a bin that is not known, and where time jumps by other than about a step
    (the median difference), so that sessions may also be given as one long sequence.

    Args:
        seconds: time of each bin, (N, T).
        known: whether there is anything to draw, (N, T).
    """
    known = known & np.isfinite(seconds)
    differences = np.diff(seconds, axis=1)
    both = known[:, 1:] & known[:, :-1] & (differences > 0)
    step = np.median(differences[both]) if both.any() else 1.0
    joined = both & (differences < 1.5 * step)
    found = []
    for row, linked in enumerate(joined):
        bins = np.flatnonzero(known[row])
        starts = np.flatnonzero(~np.append(False, linked)[bins])
        parts = np.split(bins, starts[1:])
        found += [(row, part[0], part[-1] + 1) for part in parts if len(part)]
    return found


def choose(
    seconds: Floats, known: NDArray[np.bool_], max_bins: int, max_stretches: int
) -> Stretches:
    """Choose stretches, evenly over all, and lay them one after the other.

    Args:
        seconds: time of each bin, (N, T).
        known: whether there is anything to draw, (N, T).
        max_bins: bins that are shown in all; longer stretches are cut.
        max_stretches: how many at most.
    """
    found = split(seconds, known)
    if not found:
        none = np.zeros(0, dtype=np.int64)
        return Stretches(np.zeros(0), none, none, 0, 0)
    longest = max(end - first for _, first, end in found)
    good = [s for s in found if s[2] - s[1] >= _SHORTEST_SHARE * min(longest, max_bins)]
    count = min(max_stretches, len(good))
    chosen = [good[i] for i in np.linspace(0, len(good) - 1, count).round().astype(int)]
    pieces = [
        (row, np.arange(first, min(end, first + max(2, max_bins // count))))
        for row, first, end in chosen
    ]
    times = [seconds[row, bins] - seconds[row, bins[0]] for row, bins in pieces]
    gap = 0.03 * sum(stretch[-1] for stretch in times)
    starts = np.cumsum([0.0, *(stretch[-1] + gap for stretch in times)])
    # After each stretch but the last, a position that is not drawn.
    laid = [
        np.append(start + stretch, np.nan)
        for start, stretch in zip(starts[:-1], times, strict=True)
    ]
    sequence = [np.full(len(bins) + 1, row) for row, bins in pieces]
    every_bin = [np.append(bins, bins[0]) for _, bins in pieces]
    parts = (np.concatenate(part)[:-1] for part in (laid, sequence, every_bin))
    return Stretches(*parts, num_shown=count, num_all=len(found))


class Trace(NamedTuple):
    """A line over time, for each of k dimensions.

    Args:
        name: for the legend.
        values: (N, T, k).
        look: of the line, for matplotlib.
        band: lower and upper end, (N, T, k) each.
        band_name: for the legend; none if left out.
        band_colour: that of the line if left out.
    """

    name: str
    values: Floats
    look: dict[str, Any]
    band: tuple[Floats, Floats] | None = None
    band_name: str = ""
    band_colour: str = ""


def draw_traces(
    panels: list[Axes],
    shown: Stretches,
    traces: Sequence[Trace],
    names: Sequence[str],
    limits: Sequence[tuple[float, float]] | None = None,
    empty: str = "There is nothing to show.",
) -> bool:
    """Draw a dimension on each of the panels, with a legend above the first.

    Args:
        panels: to draw on.
        shown: which stretches.
        traces: in the order of the legend.
        names: of the dimensions, (k,).
        limits: of the dimensions, (k,).
        empty: what to write where there is no stretch.

    Returns:
        Whether there was anything to draw.
    """
    if not shown.num_shown:
        write_instead(panels, empty)
        return False
    x = shown.positions
    for k, axes in enumerate(panels):
        for at in shown.breaks:
            axes.axvline(at, color=LIGHT, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
        for trace in traces:
            look = {"label": trace.name, "zorder": 3, **trace.look}
            axes.plot(x, shown.take(trace.values)[:, k], **look)
            if trace.band is not None:
                low, high = (shown.take(end)[:, k] for end in trace.band)
                look: dict[str, Any] = {
                    "alpha": 0.3,
                    "linewidth": 0,
                    "label": trace.band_name or "_",
                }
                look["color"] = trace.band_colour or trace.look["color"]
                axes.fill_between(x, low, high, **look)
        axes.set_xlim(0.0, max(float(np.nanmax(x)), 1e-9))
        axes.set_ylabel(names[k])
        if limits is not None:
            axes.set_ylim(limits[k])
        few_ticks(axes, x=10, y=4 if len(panels) > 2 else 5, stacked=len(panels) > 1)
        axes.tick_params(labelbottom=axes is panels[-1])
    panels[-1].set_xlabel(shown.axis_name)
    legend_above(panels[0])
    return True
