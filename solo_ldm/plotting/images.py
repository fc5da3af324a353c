"""Images on axes of their own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from solo_ldm.plotting.style import INK, LIGHT, MUTED, beside

# Distances between images, as shares of one.
GAP, ROW_GAP = 0.08, 0.26


def draw_image(
    axes: Axes, pixels: np.ndarray, x: float, y: float, caption: str = "", **settings: Any
) -> Rectangle:
    """Draw pixels (rows, columns[, 3]) with the centre of the first at (x, y); return the frame."""
    rows, columns = pixels.shape[:2]
    extent = (x - 0.5, x + columns - 0.5, y + rows - 0.5, y - 0.5)
    axes.imshow(pixels, extent=extent, interpolation="nearest", zorder=1, **settings)
    return draw_frame(axes, x, y, (rows, columns), caption)


def draw_frame(
    axes: Axes, x: float, y: float, shape: tuple[int, int], caption: str = ""
) -> Rectangle:
    """Draw the frame of an image of a shape, with a caption below."""
    rows, columns = shape
    frame = Rectangle((x - 0.5, y - 0.5), columns, rows, fill=False, edgecolor=LIGHT, zorder=2)
    axes.add_patch(frame)
    below = (x + columns / 2 - 0.5, y + rows - 0.5)
    beside(axes, caption, below, (0, -3), size=9.5, color=MUTED, ha="center", va="top")
    return frame


def draw_image_rows(
    axes: Axes,
    rows: Sequence[Sequence[tuple[np.ndarray, str]]],
    columns: int,
    names: Sequence[str] = (),
) -> None:
    """Draw rows of images of one shape.

    Args:
        axes: to draw on.
        rows: of (pixels (H, W, 3) in [0, 1], caption).
        columns: room for so many images in a row.
        names: of the rows, on the left.
    """
    height, width = next((pixels.shape[:2] for row in rows for pixels, _ in row), (1, 1))
    for number, row in enumerate(rows):
        y = number * height * (1 + ROW_GAP)
        for column, (pixels, caption) in enumerate(row):
            draw_image(axes, pixels, column * width * (1 + GAP), y, caption)
        if number < len(names):
            middle = (-0.5, y + height / 2 - 0.5)
            beside(
                axes, names[number], middle, (-8, 0), color=INK, ha="right", annotation_clip=False
            )
    across = columns * (1 + GAP) - GAP
    fit_images(
        axes, width * across, height * (len(rows) * (1 + ROW_GAP) - ROW_GAP), (height, width)
    )


def fit_images(axes: Axes, across: float, down: float, shape: tuple[int, int]) -> None:
    """Show so many pixels, from the upper left, and no axis."""
    rows, columns = shape
    axes.set(xlim=(-0.5 - 0.01 * columns, across - 0.5), ylim=(down - 0.5, -0.5 - 0.01 * rows))
    axes.set_aspect("equal", anchor="NW")
    axes.set_axis_off()
