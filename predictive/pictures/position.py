"""Decoded position over held-out time, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from solo_ldm.plotting.arrays import Floats, Values, as_rows, known_bins
from solo_ldm.plotting.page import Panel, Rows
from solo_ldm.plotting.style import BLUE, INK, ORANGE, decimals, heading, one_line
from solo_ldm.plotting.traces import Trace, choose, draw_traces

MAX_COORDINATES = 2


@dataclass(frozen=True, eq=False)
class Decoded:
    """Position decoded from one set of features, in the unit of the position.

    Args:
        mean: (N, T, k), or of one sequence (T, k); NaN where padded.
        lower: lower end of the 95% interval, of the same shape.
        upper: upper end of the 95% interval, of the same shape.
        r2: R² over all held-out bins.
        coverage: share of held-out bins whose true position lies in the interval, 0 to 1.
    """

    mean: Values
    lower: Values | None = None
    upper: Values | None = None
    r2: float | None = None
    coverage: float | None = None


def position_rows(
    seconds: Values,
    true: Values,
    latent: Decoded,
    spikes: Decoded | None = None,
    name: str = "position",
    unit: str = "",
    compact: bool = False,
) -> Rows:
    """Show true and decoded position with its 95% interval, over several held-out stretches.

    Args:
        seconds: time of each bin, (N, T), or of one sequence (T,). A line is broken where time
            jumps, between sequences, and where nothing is known.
        true: (N, T, k) or (T, k); NaN where unknown or padded.
        latent: decoded from the latent state.
        spikes: decoded directly from the spikes, for comparison.
        name: what the position is.
        unit: of the position, "" without one.
        compact: what was decoded from the latent state alone, for a report.

    Returns:
        A row of one panel for each source.

    Raises:
        ValueError: in one line, for shapes that do not fit.
    """
    truth = as_rows("true", true, "coordinates")
    times = as_rows("seconds", seconds, like=("true", truth))
    sources = {"latent": latent} if spikes is None else {"latent": latent, "spikes": spikes}
    decoded = {source: _trace(source, given, truth) for source, given in sources.items()}
    # The same stretches and limits for every source, so that they can be compared.
    known = known_bins(truth) & known_bins(decoded["latent"].values)
    shown = choose(times, known, 800 if compact else 1200, max_stretches=5 if compact else 6)
    limits = [
        _limits(truth[..., k], [trace.values[..., k] for trace in decoded.values()])
        for k in range(truth.shape[2])
    ]
    name = one_line(name, 24)
    unit = f" ({one_line(unit, 12)})" if unit else ""

    def draw(panels: list[Axes], source: str) -> None:
        look = {"color": INK, "linewidth": 1.8, "zorder": 4}
        traces = [Trace("true", truth, look), decoded[source]]
        names = [f"{'xy'[k]}{unit}" for k in range(2)] if len(panels) > 1 else [name + unit]
        empty = "There is no held-out bin with a known position."
        if not draw_traces(panels, shown, traces, names, limits, empty):
            return
        origin = "the latent state" if source == "latent" else "the spikes directly"
        given = sources[source]
        title = f"{name[:1].upper()}{name[1:]} decoded from {origin}{decimals(given.r2)}"
        note = f"{shown.num_shown} of {shown.num_all} held-out stretches"
        if given.coverage is not None:
            note += f"; the 95% interval covers {given.coverage:.1%} of all bins"
        heading(panels[0], title, note)

    coordinates = max(1, min(truth.shape[2], MAX_COORDINATES))
    stack = 1 if compact and spikes is not None else coordinates
    height = 1.2 + 1.5 * coordinates
    return [
        [Panel("position", lambda axes, s=source: draw(axes, s), 2.6, height, stack)]
        for source in (["latent"] if compact else sources)
    ]


def _trace(source: str, decoded: Decoded, true: Floats) -> Trace:
    if (decoded.lower is None) != (decoded.upper is None):
        raise ValueError(f"{source}: expected both lower and upper or neither, got one of them")
    mean, *ends = (
        as_rows(f"{source}.{name}", values, "coordinates", like=("true", true))
        for name, values in vars(decoded).items()
        if name in ("mean", "lower", "upper") and values is not None
    )
    look = {"color": BLUE, "linewidth": 1.4}
    return Trace(
        "decoded", mean, look, (ends[0], ends[1]) if ends else None, "95% interval", ORANGE
    )


def _limits(true: Floats, means: list[Floats]) -> tuple[float, float]:
    """Return limits that hold the true position and nearly all decoded ones, not wild intervals."""
    ends = [np.nanmin(true), np.nanmax(true)] if np.isfinite(true).any() else []
    for mean in means:
        if np.isfinite(mean).any():
            ends += list(np.nanquantile(mean, (0.005, 0.995)))
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = 0.12 * (high - low) or 0.5
    return float(low - margin), float(high + margin)
