"""Frames of a video with the true and the decoded path."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from solo_ldm.plotting.arrays import Floats, Values, as_rows, known_bins
from solo_ldm.plotting.images import GAP, ROW_GAP, draw_frame, draw_image, fit_images
from solo_ldm.plotting.page import Panel, Rows
from solo_ldm.plotting.style import (
    BLUE,
    INK,
    ORANGE,
    decimals,
    heading,
    legend_above,
    write_instead,
)

NUM_FRAMES = 8
MAX_SEQUENCES = 4
# Distance between the last frame and the plane, as a share of a frame.
_PLANE_GAP = 0.28
# The decoded path is thinner and lies on the true one, so that both are seen where they agree.
_LINES: dict[str, dict[str, Any]] = {
    "true": {"color": BLUE, "linewidth": 4.0, "zorder": 3},
    "decoded": {"color": ORANGE, "linewidth": 1.8, "zorder": 4},
}


def frame_rows(
    frames: Values,
    true: Values | None = None,
    decoded: Values | None = None,
    r2: float | None = None,
    seconds: Values | None = None,
    swirled: bool = False,
    half_width: float = 3.0,
    compact: bool = False,
) -> Rows:
    """Show frames over time with true and decoded path, a line for each of up to four sequences.

    A position p of the dot lies at row (p_0 + h) · rows / 2h and column (p_1 + h) · columns / 2h,
    h the half width of the plane.

    Args:
        frames: (N, T, rows, columns) or of one sequence (T, rows, columns); NaN where padded.
        true: true position, (N, T, 2), in units of the plane; NaN where unknown or padded.
        decoded: decoded position, (N, T, 2); NaN where padded.
        r2: R² of the decoded position, over all held-out sequences.
        seconds: time of each bin, (N, T); numbers of the bins are written if left out.
        swirled: true where positions do not lie on the frames; they are then drawn on the plane
            alone.
        half_width: h of the plane, which reaches from −h to h.
        compact: one sequence, for a report.

    Returns:
        Rows of one panel.

    Raises:
        ValueError: in one line, for shapes that do not fit.

    Source:
        The map to pixels, h = 3 and the swirl: Mikulasch & Zenke, arXiv 2605.03517, and its code,
        fmi-basel/latent_distribution_matching.
    """
    images = as_rows("frames", frames, "rows", "columns")
    known = known_bins(images)
    like = ("frames, with 2 coordinates", np.zeros((*known.shape, 2)))
    paths = {
        name: as_rows(name, path, "2", like=like)
        for name, path in (("true", true), ("decoded", decoded))
        if path is not None
    }
    times = None if seconds is None else as_rows("seconds", seconds, like=like)
    size = np.array(images.shape[2:])
    pixels = {name: (path + half_width) * size / (2 * half_width) for name, path in paths.items()}
    chosen = np.flatnonzero(known.any(axis=1))[: 1 if compact else MAX_SEQUENCES]
    across = size[1] * (NUM_FRAMES * (1 + GAP) + _PLANE_GAP + 1.01)
    down = size[0] * (max(len(chosen), 1) * (1 + ROW_GAP) - ROW_GAP + 0.01)
    note = "held-out sequences; paths lead from one frame shown to the next"
    if swirled:
        note = "held-out sequences; the frames are swirled, so that paths are beside them"

    def draw(panels: list[Axes]) -> None:
        axes = panels[0]
        if not len(chosen):
            write_instead(axes, "There are no finite frames to show.")
            return
        finite = images[chosen][np.isfinite(images[chosen])]
        # The ground is nearly white, so that the paths are seen on it.
        low, high = np.quantile(finite, (0.15, 0.998))
        look = {"cmap": "Greys", "vmin": low, "vmax": high + 1e-12}
        for line, sequence in enumerate(chosen):
            bins = np.flatnonzero(known[sequence])
            places = np.linspace(0, len(bins) - 1, min(NUM_FRAMES, len(bins))).round()
            shown = bins[places.astype(int)]
            y = line * size[0] * (1 + ROW_GAP)
            for i, now in enumerate(shown):
                x = i * size[1] * (1 + GAP)
                time = f"bin {now}" if times is None else f"{times[sequence, now]:.3g} s"
                frame = draw_image(axes, images[sequence, now], x, y, time, **look)
                since = slice(shown[i - 1] if i else now, now + 1)
                for name, points in pixels.items() if not swirled else ():
                    _draw_path(axes, name, points[sequence, since] + (y, x), frame)
            if pixels:
                x = size[1] * (NUM_FRAMES * (1 + GAP) + _PLANE_GAP)
                frame = draw_frame(axes, x, y, tuple(size), f"whole path, ±{half_width:g}")
                for name, points in pixels.items():
                    _draw_path(axes, name, points[sequence] + (y, x), frame, whole=True)
        fit_images(axes, across, down, tuple(size))
        # Handles of their own: a path that leaves the frame at once has a line of one point.
        handles = [axes.plot([], [], label=name, **_LINES[name])[0] for name in paths]
        if handles:
            legend_above(axes, handles=handles)
        what = "Position decoded from the latent state" if "decoded" in paths else "Frames"
        heading(axes, what + decimals(r2), note if paths else "")

    return [[Panel("frames", draw, height=11.7 * down / across)]]


def _draw_path(
    axes: Axes, name: str, points: Floats, frame: Rectangle, whole: bool = False
) -> None:
    """Draw points (row, column) of a path in a frame, with a mark at its end."""
    y, x = points.T
    look = dict(_LINES[name], solid_capstyle="round")
    if whole:
        look["linewidth"] *= 0.65
    artists = axes.plot(x, y, **look)
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(known) and not whole:
        last = known[-1]
        artists += axes.plot(
            x[last], y[last], marker="o", markersize=8 if name == "true" else 5,
            color=look["color"], markeredgecolor=INK, markeredgewidth=0.7,
            zorder=look["zorder"] + 2,
        )  # fmt: skip
    for artist in artists:
        artist.set_clip_path(frame)
