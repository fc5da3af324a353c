"""Decoded position over held-out time, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from solo_ldm.plotting.arrays import Floats, Values, as_rows, check_shape, known_bins
from solo_ldm.plotting.page import Panel, Rows
from solo_ldm.plotting.stretches import Stretches, choose
from solo_ldm.plotting.style import (
    BLUE,
    INK,
    LIGHT,
    ORANGE,
    decimals,
    few_ticks,
    grid_along,
    heading,
    legend_above,
    one_line,
    write_instead,
)

MAX_COORDINATES = 2


@dataclass(frozen=True, eq=False)
class Decoded:
    """Position decoded from one set of features, in the unit of the position.

    Args:
        mean: (N, T, k), or of one sequence (T, k); NaN where padded.
        lower: lower end of the 95% interval, of the same shape.
        upper: upper end of the 95% interval, of the same shape.
        r2: R² over all held-out bins.
        coverage: share of held-out bins whose true position lies in the interval, 0 to 1; counted
            in what is given if left out.
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
    truth, times = as_rows("true", true, "coordinates"), as_rows("seconds", seconds)
    check_shape("seconds", times, truth.shape[:2], "true, without its coordinates")
    sources = {"latent": latent} if spikes is None else {"latent": latent, "spikes": spikes}
    arrays = {source: _arrays(source, decoded, truth) for source, decoded in sources.items()}
    means = [found["mean"] for found in arrays.values()]
    # The same stretches and limits for every source, so that they can be compared.
    shown = choose(
        times, known_bins(truth) & known_bins(means[0]), 800 if compact else 1200,
        max_stretches=5 if compact else 6,
    )  # fmt: skip
    name = one_line(name, 24)
    unit = f" ({one_line(unit, 12)})" if unit else ""

    def draw(panels: list[Axes], source: str) -> None:
        if not shown.num_shown:
            write_instead(panels, "There is no held-out bin with a known position.")
            return
        found, decoded = arrays[source], sources[source]
        for k, axes in enumerate(panels):
            _draw_coordinate(axes, shown, truth, found, k)
            axes.set_ylim(_limits(truth[..., k], [mean[..., k] for mean in means]))
            few_ticks(axes, x=10, y=5, stacked=len(panels) > 1)
            axes.set_ylabel(("xy"[k] if len(panels) > 1 else name) + unit)
            axes.tick_params(labelbottom=axes is panels[-1])
        panels[-1].set_xlabel(shown.axis_name)
        handles = dict(zip(*panels[0].get_legend_handles_labels()[::-1], strict=True))
        order = [handles[key] for key in ("true", "decoded", "95% interval") if key in handles]
        legend_above(panels[0], handles=order)
        origin = "the latent state" if source == "latent" else "the spikes directly"
        title = f"{name[:1].upper()}{name[1:]} decoded from {origin}{decimals(decoded.r2)}"
        note = f"{shown.num_shown} of {shown.num_all} held-out stretches"
        coverage = decoded.coverage
        if coverage is None or not np.isfinite(coverage):
            coverage = _coverage(truth, found)
        if coverage is not None:
            note += f"; the 95% interval covers {coverage:.1%} of all bins"
        heading(panels[0], title, note)

    coordinates = max(1, min(truth.shape[2], MAX_COORDINATES))
    stack = 1 if compact and spikes is not None else coordinates
    height = 1.2 + 1.5 * coordinates
    return [
        [Panel("position", lambda axes, s=source: draw(axes, s), 2.6, height, stack)]
        for source in (["latent"] if compact else sources)
    ]


def _arrays(source: str, decoded: Decoded, true: Floats) -> dict[str, Floats]:
    """Return "mean", and "lower" and "upper" where given."""
    given = {"mean": decoded.mean, "lower": decoded.lower, "upper": decoded.upper}
    if (decoded.lower is None) != (decoded.upper is None):
        raise ValueError(f"{source}: expected both lower and upper or neither, got one of them")
    found = {}
    for name, values in given.items():
        if values is not None:
            found[name] = as_rows(f"{source}.{name}", values, "coordinates")
            check_shape(f"{source}.{name}", found[name], true.shape, "true")
    return found


def _draw_coordinate(
    axes: Axes, shown: Stretches, true: Floats, found: dict[str, Floats], k: int
) -> None:
    x = shown.positions
    for at in shown.breaks:
        axes.axvline(at, color=LIGHT, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
    if "lower" in found:
        low, high = (shown.take(found[end])[:, k] for end in ("lower", "upper"))
        look = {"color": ORANGE, "alpha": 0.32, "linewidth": 0, "zorder": 2}
        axes.fill_between(x, low, high, label="95% interval", **look)
    axes.plot(x, shown.take(true)[:, k], color=INK, linewidth=1.8, label="true", zorder=4)
    mean = shown.take(found["mean"])[:, k]
    axes.plot(x, mean, color=BLUE, linewidth=1.4, label="decoded", zorder=3)
    grid_along(axes, "y")
    axes.set_xlim(0, max(float(np.nanmax(x)), 1e-9))


def _coverage(true: Floats, found: dict[str, Floats]) -> float | None:
    if "lower" not in found:
        return None
    lower, upper = found["lower"], found["upper"]
    known = np.isfinite(true) & np.isfinite(lower) & np.isfinite(upper)
    within = (true >= lower) & (true <= upper)
    return float(within[known].mean()) if known.any() else None


def _limits(true: Floats, means: list[Floats]) -> tuple[float, float]:
    """Return limits that hold the true position and nearly all decoded ones, not wild intervals."""
    ends = [np.nanmin(true), np.nanmax(true)] if np.isfinite(true).any() else []
    for mean in means:
        if np.isfinite(mean).any():
            ends += list(np.nanquantile(mean, (0.005, 0.995)))
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = 0.12 * (high - low) or 0.5
    return float(low - margin), float(high + margin)
