"""Frames of a video with the true and the decoded path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from predictive.pictures.layout import Panel, compose
from predictive.pictures.style import (
    WIDTH_INCHES,
    Floats,
    Values,
    as_rows,
    check_shape,
    figures,
    heading,
    known_bins,
    legend_above,
)
from solo_ldm.plotting.style import BLUE, INK, LIGHT, MUTED, ORANGE, check_path, save, say

NUM_FRAMES = 8
MAX_SEQUENCES = 4
# Distance between frames, and more before the plane, as shares of a frame.
_GAP, _PLANE_GAP, _ROW_GAP = 0.08, 0.28, 0.26


@dataclass(frozen=True, eq=False)
class FramePaths:
    """Frames of held-out sequences, with the paths of the dot in them.

    A position p of the dot lies at row (p_0 + h) · rows / 2h and column (p_1 + h) · columns / 2h,
    h the half width of the plane.

    Args:
        frames: (N, T, rows, columns) or of one sequence (T, rows, columns); NaN where padded.
        true: true position, (N, T, 2), in units of the plane; NaN where unknown or padded.
        decoded: decoded position, (N, T, 2); NaN where padded.
        r2: R² of the decoded position, over all held-out sequences.
        seconds: time of each bin, (N, T) or (T,); numbers of the bins are written if left out.
        swirled: true where positions do not lie on the frames; they are then drawn on the plane
            alone.
        half_width: h of the plane, which reaches from −h to h.

    Source:
        The map to pixels, h = 3 and the swirl: Mikulasch & Zenke, arXiv 2605.03517, and its code,
        fmi-basel/latent_distribution_matching.
    """

    frames: Values
    true: Values | None = None
    decoded: Values | None = None
    r2: float | None = None
    seconds: Values | None = None
    swirled: bool = False
    half_width: float = 3.0


def write_frames(path: str | os.PathLike[str], data: FramePaths) -> Path:
    """Write frames over time with true and decoded path, a row for each of up to four sequences.

    Args:
        path: of the PNG, 1600 pixels wide; its folder is made.
        data: what to show.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png or shapes that do not fit.
    """
    path = check_path(path)
    frames = as_rows("frames", data.frames, "rows", "columns")
    num_rows = min(max(len(frames), 1), MAX_SEQUENCES)
    rows, columns = frames.shape[2:]
    across, down = _extent(num_rows, rows, columns)
    height = 1.28 + (WIDTH_INCHES - 1.1) * down / across
    panel = Panel(lambda axes: draw_frames(axes[0], data, num_rows))
    figure = compose([[panel]], size=(WIDTH_INCHES, round(height, 1)))
    return save(path, figure, "frames and paths")


def draw_frames(axes: Axes, data: FramePaths, max_sequences: int = 1) -> None:
    """Draw `NUM_FRAMES` frames of each sequence over time, and the plane with the whole path."""
    frames = as_rows("frames", data.frames, "rows", "columns")
    num_sequences, num_bins, rows, columns = frames.shape
    paths = {
        name: as_rows(name, values, "2")
        for name, values in (("true", data.true), ("decoded", data.decoded))
        if values is not None
    }
    for name, values in paths.items():
        check_shape(name, values, (num_sequences, num_bins, 2), "frames, with 2 coordinates")
    seconds = None if data.seconds is None else as_rows("seconds", data.seconds)
    if seconds is not None:
        if len(seconds) == 1:
            seconds = np.repeat(seconds, num_sequences, axis=0)
        check_shape("seconds", seconds, (num_sequences, num_bins), "frames, without their pixels")
    seen = known_bins(frames)
    chosen = [i for i in range(num_sequences) if seen[i].any()][:max_sequences]
    if not chosen:
        say(axes, "There are no finite frames to show.")
        return

    size = np.array([rows, columns])
    pixels = {
        name: (values + data.half_width) * size / (2.0 * data.half_width)
        for name, values in paths.items()
    }
    finite = frames[chosen][np.isfinite(frames[chosen])]
    # The ground is nearly white, so that the paths are seen on it.
    reach = (float(np.quantile(finite, 0.15)), float(np.quantile(finite, 0.998)))
    for line, sequence in enumerate(chosen):
        (bins,) = np.nonzero(seen[sequence])
        shown = bins[np.linspace(0, len(bins) - 1, min(NUM_FRAMES, len(bins))).round().astype(int)]
        y = line * rows * (1 + _ROW_GAP)
        for i, now in enumerate(shown):
            x = i * columns * (1 + _GAP)
            place = (x - 0.5, x + columns - 0.5, y + rows - 0.5, y - 0.5)
            axes.imshow(
                frames[sequence, now], cmap="Greys", vmin=reach[0], vmax=reach[1] + 1e-12,
                extent=place, interpolation="nearest", zorder=1,
            )  # fmt: skip
            cell = _border(axes, x, y, rows, columns)
            time = f"bin {now}" if seconds is None else f"{seconds[sequence, now]:.3g} s"
            _caption(axes, x + columns / 2 - 0.5, y + rows - 0.5, time)
            if not data.swirled:
                since = slice(shown[i - 1] if i else now, now + 1)
                for name, points in pixels.items():
                    _path(axes, name, points[sequence, since], (y, x), cell)
        if pixels:
            x = columns * (NUM_FRAMES * (1 + _GAP) + _PLANE_GAP)
            cell = _border(axes, x, y, rows, columns)
            for name, points in pixels.items():
                _path(axes, name, points[sequence], (y, x), cell, whole=True)
            caption = f"whole path, ±{data.half_width:g}"
            _caption(axes, x + columns / 2 - 0.5, y + rows - 0.5, caption)

    across, down = _extent(len(chosen), rows, columns)
    axes.set(xlim=(-0.5 - 0.01 * columns, across - 0.5), ylim=(down - 0.5, -0.5 - 0.01 * rows))
    axes.set_aspect("equal", anchor="NW")
    axes.set_axis_off()
    # Handles of their own: a path that leaves the frame at once has a line of one point.
    handles = [axes.plot([], [], label=name, **_line(name))[0] for name in paths]
    if handles:
        legend_above(axes, 2, handles=handles)
    what = "position decoded from the latent state" if "decoded" in paths else "frames"
    note = "held-out sequences; paths lead from one frame shown to the next"
    if data.swirled:
        note = "held-out sequences; the frames are swirled, so that paths are beside them"
    heading(axes, what[0].upper() + what[1:] + figures(data.r2), note if paths else "")


def _extent(num_sequences: int, rows: int, columns: int) -> tuple[float, float]:
    """Width and height in pixels of the frames and the plane, without the last captions."""
    across = columns * (NUM_FRAMES * (1 + _GAP) + _PLANE_GAP + 1.01)
    return across, rows * (num_sequences * (1 + _ROW_GAP) - _ROW_GAP + 0.01)


def _border(axes: Axes, x: float, y: float, rows: int, columns: int) -> Rectangle:
    cell = Rectangle(
        (x - 0.5, y - 0.5), columns, rows, facecolor="none", edgecolor=LIGHT, linewidth=1, zorder=2
    )
    axes.add_patch(cell)
    return cell


def _caption(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(
        text, (x, y), (0, -3), textcoords="offset points", size=9.5, color=MUTED,
        ha="center", va="top",
    )  # fmt: skip


def _line(name: str) -> dict[str, Any]:
    # The decoded path is thinner and lies on the true one, so that both are seen where they agree.
    if name == "true":
        return {"color": BLUE, "linewidth": 4.0, "solid_capstyle": "round"}
    return {"color": ORANGE, "linewidth": 1.8, "solid_capstyle": "round"}


def _path(
    axes: Axes,
    name: str,
    points: Floats,
    corner: tuple[float, float],
    cell: Rectangle,
    whole: bool = False,
) -> None:
    """Draw points (rows, columns) of a path in a cell, with a mark where it has come to."""
    y, x = (points + np.array(corner)).T
    above = 4 if name == "decoded" else 3
    settings = _line(name)
    if whole:
        settings["linewidth"] = 2.6 if name == "true" else 1.2
    (line,) = axes.plot(x, y, zorder=above, **settings)
    line.set_clip_path(cell)
    (known,) = np.nonzero(np.isfinite(x) & np.isfinite(y))
    if len(known) and not whole:
        last = known[-1]
        size = 8 if name == "true" else 5
        (mark,) = axes.plot(
            x[last], y[last], marker="o", markersize=size, color=settings["color"],
            markeredgecolor=INK, markeredgewidth=0.7, zorder=above + 2,
        )  # fmt: skip
        mark.set_clip_path(cell)
