"""The space of the latents, coloured by what was never told to the model."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.lines import Line2D

from predictive.pictures.layout import Panel, compose
from predictive.pictures.style import (
    Floats,
    Values,
    as_array,
    as_rows,
    check_shape,
    few_ticks,
    heading,
    label,
)
from solo_ldm.plotting.style import (
    BLUE,
    GRID,
    INK,
    LIGHT,
    MUTED,
    ORANGE,
    check_path,
    save,
    say,
    shorten,
)

# More hide each other.
MAX_POINTS = 5000
_PROJECTIONS = ((0, 1), (0, 2), (1, 2))


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """Latent states of held-out bins, with position and direction.

    Args:
        latents: (N, T, D) or (M, D); NaN where padded.
        position: (N, T, k) or (M, k), NaN where unknown; the first two coordinates are shown.
        direction: −1 or 1, (N, T) or (M,); 0 or NaN where unknown, for example at rest.
        position_name: what the position is.
        unit: of the position, "" without one.
        direction_names: of −1 and of 1.
    """

    latents: Values
    position: Values | None = None
    direction: Values | None = None
    position_name: str = "position"
    unit: str = ""
    direction_names: tuple[str, str] = ("direction −", "direction +")


def write_space(path: str | os.PathLike[str], data: LatentSpace) -> Path:
    """Write principal components of the latents, a row for each colouring.

    From three dimensions on, three projections stand beside each other.

    Args:
        path: of the PNG, 1600 pixels wide with three projections; its folder is made.
        data: what to show.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png or shapes that do not fit.
    """
    path = check_path(path)
    projections = _PROJECTIONS if _flat(data)[0].shape[1] > 2 else _PROJECTIONS[:1]
    colourings = colourings_of(data)
    panels = [
        [Panel(lambda axes, c=c, p=p: draw_space(axes[0], data, c, p)) for p in projections]
        for c in colourings
    ]
    if len(projections) == 1:
        # With one projection the colourings stand beside each other.
        panels = [[row[0] for row in panels]]
        size = {1: (8.0, 6.4), 2: (12.8, 6.0)}.get(len(colourings), (12.8, 5.0))
    else:
        size = (12.8, {1: 4.8, 2: 8.0}.get(len(colourings), 11.2))
    return save(path, compose(panels, size), "space of the latents")


def colourings_of(data: LatentSpace) -> list[str]:
    """Return what colours there are: "position 1", "position 2" and "direction", or "none"."""
    _, position, direction = _flat(data)
    found = [f"position {i + 1}" for i in range(0 if position is None else position.shape[1])][:2]
    return [*found, *([] if direction is None else ["direction"])] or ["none"]


def draw_space(
    axes: Axes, data: LatentSpace, colouring: str, components: tuple[int, int] = (0, 1)
) -> None:
    """Draw two principal components of the latents, coloured as one of `colourings_of`."""
    latents, position, direction = _flat(data)
    known = np.isfinite(latents).all(axis=1)
    if known.sum() < 2:
        say(axes, "There are no finite latents to show.")
        return
    points, shares = _principal(latents[known])
    # Shuffled, or what comes last in time would hide the rest.
    order = np.random.default_rng(0).permutation(len(points))[:MAX_POINTS]
    points = points[order]
    x, y = points[:, components[0]], points[:, components[1]]
    size = float(np.clip(24000 / len(points), 5, 24))
    dots = {"s": size, "linewidths": 0}
    axes.spines[:].set_color(GRID)
    axes.tick_params(colors=MUTED, labelsize=10, length=3)
    few_ticks(axes, x=4, y=4)
    axes.margins(0.05)
    first, second = (f"PC {c + 1} ({shares[c]:.0%})" for c in components)
    if latents.shape[1] == 1 and position is not None and position.shape[1]:
        # A line has no plane, so that its other axis may say what it is about.
        y, second = position[known][order][:, 0], shorten(data.position_name, 24)
    else:
        # Distances are those of the space; the box stays as it is.
        axes.set_aspect("equal", adjustable="datalim")
    label(axes, x=first, y=second)
    note = f"{len(points)} of {known.sum()}" if len(points) < known.sum() else f"all {known.sum()}"
    note += " bins"

    if colouring == "direction" and direction is not None:
        values = direction[known][order]
        looks = ((np.sign(values) == -1, BLUE), (np.sign(values) == 1, ORANGE))
        unknown = ~(looks[0][0] | looks[1][0])
        axes.scatter(x[unknown], y[unknown], color=LIGHT, **dots)
        # Both directions in one call, so that neither lies on top.
        either = ~unknown
        colours = np.where(values[either] < 0, BLUE, ORANGE)
        axes.scatter(x[either], y[either], c=list(colours), **dots)
        names = [(BLUE, data.direction_names[0]), (ORANGE, data.direction_names[1])]
        if unknown.any():
            names.append((LIGHT, "unknown"))
        _name_colours(axes, names)
        heading(axes, "Latents by direction")
        return
    if colouring.startswith("position") and position is not None:
        index = int(colouring.split()[1]) - 1
        values = position[known][order][:, index]
        seen = np.isfinite(values)
        axes.scatter(x[~seen], y[~seen], color=LIGHT, **dots)
        if seen.any():
            drawn = axes.scatter(x[seen], y[seen], c=values[seen], cmap="viridis", **dots)
            _colour_bar(axes, drawn)
        unit = f" ({shorten(data.unit, 12)})" if data.unit else ""
        which = f" {'xy'[index]}" if position.shape[1] > 1 else ""
        heading(axes, f"Latents by {shorten(data.position_name, 24)}{which}{unit}", note)
        return
    axes.scatter(x, y, color=BLUE, **dots)
    heading(axes, "Latents", note)


def _colour_bar(axes: Axes, drawn: ScalarMappable) -> None:
    """Put the scale of the colours above the axes on the right, between its ends."""
    low, high = drawn.get_clim()
    span = high - low
    end = axes.annotate(
        _number(high, span), (1, 1), (0, 8), "axes fraction", "offset points", size=10, color=INK,
        ha="right",
    )  # fmt: skip
    box = axes.get_window_extent()
    # One text in height, a quarter of the axes in width.
    text = end.get_window_extent()
    right = (text.x0 - box.x0) / box.width - 0.02
    place = (right - 0.25, (text.y0 - box.y0) / box.height, 0.25, text.height / box.height)
    bar = axes.inset_axes(place)
    axes.figure.colorbar(drawn, cax=bar, orientation="horizontal")
    bar.set_axis_off()
    axes.annotate(
        _number(low, span), (right - 0.27, 1), (0, 8), "axes fraction", "offset points", size=10,
        color=INK, ha="right",
    )  # fmt: skip


def _number(value: float, span: float) -> str:
    """Return a value with as many decimals as tell three digits of the span."""
    decimals = 2 - math.floor(math.log10(span)) if span > 0.0 else 2
    return f"{round(value, decimals) + 0.0:g}".replace("-", "−")


def _name_colours(axes: Axes, names: Sequence[tuple[str, str]]) -> None:
    handles = [
        Line2D(
            [], [], marker="o", linestyle="", markersize=6, color=colour, label=shorten(name, 18)
        )
        for colour, name in names
    ]
    axes.legend(
        handles=handles, frameon=False, fontsize=10, labelcolor=INK, ncols=3, loc="lower left",
        bbox_to_anchor=(0.0, 1.0), borderpad=0.1, borderaxespad=0.25, handlelength=0.8,
        columnspacing=1.2, handletextpad=0.4,
    )  # fmt: skip


def _flat(data: LatentSpace) -> tuple[Floats, Floats | None, Floats | None]:
    """Return latents (M, D), position (M, k) and direction (M,), with lengths checked."""
    latents = as_rows("latents", data.latents, "dimensions")
    shape = latents.shape[:2]
    position = direction = None
    if data.position is not None:
        position = as_rows("position", data.position, "coordinates")
        check_shape("position", position, (*shape, position.shape[2]), "latents, by coordinate")
        position = position.reshape(-1, position.shape[2])
    if data.direction is not None:
        direction = as_rows("direction", data.direction)
        check_shape("direction", direction, shape, "latents, without their dimensions")
        direction = direction.reshape(-1)
    return (
        as_array("latents", latents.reshape(-1, latents.shape[2]), "bins", "dimensions"),
        position,
        direction,
    )


def _principal(latents: Floats) -> tuple[Floats, Floats]:
    """Return the first three principal components (M, 3), and their shares of the variance."""
    centred = latents - latents.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(values)[::-1][:3]
    shares = np.maximum(values[order], 0) / max(values.sum(), 1e-300)
    missing = (0, 3 - len(order))
    return np.pad(centred @ vectors[:, order], ((0, 0), missing)), np.pad(shares, missing)
