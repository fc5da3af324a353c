"""Latents over time, with what the filter knew of them."""

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
    WIDTH_INCHES,
    Floats,
    Values,
    as_array,
    check_shape,
    few_ticks,
    heading,
    known_bins,
    label,
    legend_above,
)
from solo_ldm.plotting.style import BLUE, INK, ORANGE, check_path, save, say, style

MAX_DIMS = 4
MAX_BINS = 150
# Share of a normal distribution within two standard deviations, erf(√2).
_WITHIN_TWO_SIGMA = 0.9545


@dataclass(frozen=True, eq=False)
class LatentTrajectory:
    """Latents of one held-out sequence of T bins, and the filter's beliefs.

    Args:
        seconds: time of each bin, (T,).
        latents: z_t = f(x_t), (T, D).
        predicted_mean: of p(z_t | z_<t), (T, D).
        predicted_variance: of p(z_t | z_<t), (T, D).
        filtered_mean: D E[h_t | z_≤t], the state in the dimensions of the latents, (T, D).
        filtered_variance: its variance, (T, D).
        within_band: share of held-out z_t within the predicted two-sigma band, 0 to 1; counted in
            this sequence if left out.
    """

    seconds: Values
    latents: Values
    predicted_mean: Values | None = None
    predicted_variance: Values | None = None
    filtered_mean: Values | None = None
    filtered_variance: Values | None = None
    within_band: float | None = None


def write_latents(path: str | os.PathLike[str], data: LatentTrajectory) -> Path:
    """Write the first dimensions of the latents over time, with two-sigma bands.

    Args:
        path: of the PNG, 1600 x 1000 pixels or fewer dimensions lower; its folder is made.
        data: what to show.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png or shapes that do not fit.
    """
    path = check_path(path)
    dims = num_dims(data, MAX_DIMS)
    panel = Panel(lambda axes: draw_latents(axes, data), stack=dims)
    height = {1: 4.4, 2: 6.0, 3: 7.2}.get(dims, 8.0)
    return save(path, compose([[panel]], size=(WIDTH_INCHES, height)), "latents over time")


def num_dims(data: LatentTrajectory, limit: int) -> int:
    """Return how many dimensions there are to show, at least one and at most `limit`."""
    return max(1, min(as_array("latents", data.latents, "time", "dimensions").shape[1], limit))


def draw_latents(panels: Sequence[Axes], data: LatentTrajectory, max_bins: int = MAX_BINS) -> None:
    """Draw a dimension of the latents over time on each of the panels."""
    latents = as_array("latents", data.latents, "time", "dimensions")
    seconds = as_array("seconds", data.seconds, "time")
    check_shape("seconds", seconds, latents.shape[:1], "latents, without their dimensions")
    beliefs = {
        name: _belief(name, latents, *values)
        for name, *values in (
            ("predicted", data.predicted_mean, data.predicted_variance),
            ("filtered", data.filtered_mean, data.filtered_variance),
        )
    }
    known = known_bins(latents[None])
    shown = choose(seconds[None], known, max_bins, max_stretches=1)
    if not shown.num_shown:
        say(panels[0], "There are no finite latents to show.")
        for axes in panels[1:]:
            axes.set_axis_off()
        return

    looks = (
        ("filtered", "filtered state", ORANGE, "-", 0.30),
        ("predicted", r"predicted $p(z_t\,|\,z_{<t})$", BLUE, "-", 0.22),
    )
    x = shown.positions
    for dim, axes in enumerate(panels):
        for name, text, colour, line, strength in looks:
            mean, deviation = beliefs[name]
            if mean is None:
                continue
            middle = shown.take(mean[None])[:, dim]
            axes.plot(x, middle, color=colour, linestyle=line, linewidth=1.6, label=text, zorder=3)
            if deviation is not None:
                reach = 2.0 * shown.take(deviation[None])[:, dim]
                axes.fill_between(
                    x, middle - reach, middle + reach, color=colour, alpha=strength, linewidth=0
                )
        dots = shown.take(latents[None])[:, dim]
        axes.plot(x, dots, "o", color=INK, markersize=3.2, label=r"$z_t = f(x_t)$", zorder=4)
        style(axes)
        axes.set_xlim(np.nanmin(x), max(np.nanmax(x), np.nanmin(x) + 1e-9))
        few_ticks(axes, y=4 if len(panels) > 2 else 5, stacked=len(panels) > 1)
        label(axes, y=f"$z_{{{dim + 1}}}$")
        if dim < len(panels) - 1:
            axes.tick_params(labelbottom=False)
    label(panels[-1], x="time (s)")
    # The last drawn comes first: what is seen matters more than what is thought of it.
    handles, names = panels[0].get_legend_handles_labels()
    legend_above(panels[0], 3, handles=handles[::-1], labels=names[::-1])
    banded = any(deviation is not None for _, deviation in beliefs.values())
    note = "bands: 2 σ" if banded else "one held-out sequence"
    share = _share_within(latents, *beliefs["predicted"], given=data.within_band)
    title = "Latents over time"
    if share is not None:
        title += f": {share:.1%} within the predicted band"
        note += f" ({_WITHIN_TWO_SIGMA:.1%} if calibrated)"
    heading(panels[0], title, note)


def _belief(
    name: str, latents: Floats, mean: Values | None, variance: Values | None
) -> tuple[Floats | None, Floats | None]:
    """Return mean and standard deviation, each where given."""
    if mean is None:
        if variance is not None:
            raise ValueError(f"{name}_variance: expected {name}_mean beside it, got none")
        return None, None
    middle = as_array(f"{name}_mean", mean, "time", "dimensions")
    check_shape(f"{name}_mean", middle, latents.shape, "latents")
    if variance is None:
        return middle, None
    spread = as_array(f"{name}_variance", variance, "time", "dimensions")
    check_shape(f"{name}_variance", spread, latents.shape, "latents")
    return middle, np.sqrt(np.maximum(spread, 0.0))


def _share_within(
    latents: Floats, mean: Floats | None, deviation: Floats | None, given: float | None
) -> float | None:
    if given is not None and np.isfinite(given):
        return given
    if mean is None or deviation is None:
        return None
    distance = np.abs(latents - mean) / np.where(deviation > 0, deviation, np.nan)
    known = np.isfinite(distance)
    return float((distance[known] <= 2.0).mean()) if known.any() else None
