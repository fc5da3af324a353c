"""Decoded position over held-out time, with its interval."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from predictive.pictures.layout import Panel, compose
from predictive.pictures.stretches import choose
from predictive.pictures.style import (
    Floats,
    Values,
    as_rows,
    check_shape,
    few_ticks,
    figures,
    heading,
    known_bins,
    label,
    legend_above,
)
from solo_ldm.plotting.style import BLUE, INK, LIGHT, ORANGE, check_path, save, say, shorten, style

MAX_BINS = 1200
MAX_STRETCHES = 6
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


@dataclass(frozen=True, eq=False)
class DecodedPosition:
    """True and decoded position over held-out time.

    Args:
        seconds: time of each bin, (N, T), or of one sequence (T,). A line is broken where time
            jumps, between sequences, and where nothing is known.
        true: (N, T, k) or (T, k); NaN where unknown or padded.
        latent: decoded from the latent state.
        spikes: decoded directly from the spikes, for comparison.
        name: what the position is.
        unit: of the position, "" without one.
    """

    seconds: Values
    true: Values
    latent: Decoded
    spikes: Decoded | None = None
    name: str = "position"
    unit: str = ""


def write_position(path: str | os.PathLike[str], data: DecodedPosition) -> Path:
    """Write true and decoded position with its 95% interval, over several held-out stretches.

    Args:
        path: of the PNG, 1600 pixels wide; its folder is made.
        data: what to show.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png or shapes that do not fit.
    """
    path = check_path(path)
    rows = [
        [Panel(lambda axes, s=source: draw_position(axes, data, s), stack=num_coordinates(data))]
        for source in sources(data)
    ]
    num_axes = len(rows) * num_coordinates(data)
    height = {1: 5.2, 2: 8.0}.get(num_axes, 10.5)
    return save(path, compose(rows, size=(12.8, height)), "decoded position")


def sources(data: DecodedPosition) -> list[str]:
    """Return what the position was decoded from: "latent", and "spikes" if given."""
    return ["latent"] if data.spikes is None else ["latent", "spikes"]


def num_coordinates(data: DecodedPosition) -> int:
    """Return how many coordinates of the position are shown."""
    return max(1, min(as_rows("true", data.true, "coordinates").shape[2], MAX_COORDINATES))


def draw_position(
    panels: Sequence[Axes], data: DecodedPosition, source: str = "latent",
    max_bins: int = MAX_BINS, max_stretches: int = MAX_STRETCHES,
) -> None:  # fmt: skip
    """Draw a coordinate of the position over time on each of the panels, decoded from a source."""
    true = as_rows("true", data.true, "coordinates")
    seconds = as_rows("seconds", data.seconds)
    check_shape("seconds", seconds, true.shape[:2], "true, without its coordinates")
    every = {"latent": data.latent, **({"spikes": data.spikes} if data.spikes else {})}
    means = {name: as_rows(f"{name}.mean", d.mean, "coordinates") for name, d in every.items()}
    for name, values in means.items():
        check_shape(f"{name}.mean", values, true.shape, "true")
    decoded, mean = every[source], means[source]
    lower, upper = _interval(source, decoded, true)
    # The same stretches and limits for every source, so that they can be compared.
    known = known_bins(true) & known_bins(means["latent"])
    shown = choose(seconds, known, max_bins, max_stretches)
    if not shown.num_shown:
        say(panels[0], "There is no held-out bin with a known position.")
        for axes in panels[1:]:
            axes.set_axis_off()
        return

    x = shown.positions
    for k, axes in enumerate(panels):
        for at in shown.breaks:
            axes.axvline(at, color=LIGHT, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
        if lower is not None and upper is not None:
            low, high = shown.take(lower)[:, k], shown.take(upper)[:, k]
            axes.fill_between(
                x, low, high, color=ORANGE, alpha=0.32, linewidth=0, label="95% interval", zorder=2
            )
        axes.plot(x, shown.take(true)[:, k], color=INK, linewidth=1.8, label="true", zorder=4)
        axes.plot(x, shown.take(mean)[:, k], color=BLUE, linewidth=1.4, label="decoded", zorder=3)
        style(axes, grid="y")
        axes.set_xlim(0, max(float(np.nanmax(x)), 1e-9))
        axes.set_ylim(_limits(true[..., k], [values[..., k] for values in means.values()]))
        few_ticks(axes, x=10, y=5, stacked=len(panels) > 1)
        which = "xy"[k] if len(panels) > 1 else shorten(data.name, 20)
        label(axes, y=which + (f" ({shorten(data.unit, 12)})" if data.unit else ""))
        if k < len(panels) - 1:
            axes.tick_params(labelbottom=False)
    label(panels[-1], x=shown.axis_name)
    handles, names = panels[0].get_legend_handles_labels()
    order = np.argsort([("true", "decoded", "95% interval").index(name) for name in names])
    legend_above(panels[0], 3, handles=[handles[i] for i in order])
    origin = "the latent state" if source == "latent" else "the spikes directly"
    name = shorten(data.name, 24)
    title = f"{name[:1].upper()}{name[1:]} decoded from {origin}{figures(decoded.r2)}"
    note = f"{shown.num_shown} of {shown.num_all} held-out stretches"
    coverage = _coverage(true, lower, upper, decoded.coverage)
    if coverage is not None:
        note += f"; the 95% interval covers {coverage:.1%} of all bins"
    heading(panels[0], title, note)


def _interval(
    source: str, decoded: Decoded, true: Floats
) -> tuple[Floats, Floats] | tuple[None, None]:
    if decoded.lower is None and decoded.upper is None:
        return None, None
    if decoded.lower is None or decoded.upper is None:
        raise ValueError(f"{source}: expected both lower and upper or neither, got one of them")
    lower = as_rows(f"{source}.lower", decoded.lower, "coordinates")
    upper = as_rows(f"{source}.upper", decoded.upper, "coordinates")
    check_shape(f"{source}.lower", lower, true.shape, "true")
    check_shape(f"{source}.upper", upper, true.shape, "true")
    return lower, upper


def _coverage(
    true: Floats, lower: Floats | None, upper: Floats | None, given: float | None
) -> float | None:
    if given is not None and np.isfinite(given):
        return given
    if lower is None or upper is None:
        return None
    known = np.isfinite(true) & np.isfinite(lower) & np.isfinite(upper)
    within = (true >= lower) & (true <= upper)
    return float(within[known].mean()) if known.any() else None


def _limits(true: Floats, means: Sequence[Floats]) -> tuple[float, float]:
    """Limits that hold the true position and nearly all decoded ones, not wild intervals."""
    ends = [np.nanmin(true), np.nanmax(true)] if np.isfinite(true).any() else []
    for mean in means:
        if np.isfinite(mean).any():
            ends += list(np.nanquantile(mean, (0.005, 0.995)))
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = 0.12 * (high - low) or 0.5
    return float(low - margin), float(high + margin)
