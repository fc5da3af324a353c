"""Panels in rows: the part of drawing that single pictures and the report share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from predictive.pictures.style import DOTS_PER_INCH, WIDTH_INCHES, fit
from solo_ldm.plotting.style import INK, new_figure, shorten

# In inches: what tick labels and names of axes need, and headings.
_LEFT, _RIGHT, _BETWEEN = 0.8, 0.3, 0.8
_ABOVE, _BELOW = 0.68, 0.6
_TITLE = 0.6


class Panel(NamedTuple):
    """A part of a picture.

    Args:
        draw: draws it on its axes, which lie on top of each other.
        width: share of the row's width.
        stack: how many axes it has.
    """

    draw: Callable[[Sequence[Axes]], None]
    width: float = 1.0
    stack: int = 1


def compose(
    rows: Sequence[Sequence[Panel]],
    size: tuple[float, float] = (WIDTH_INCHES, 8.0),
    heights: Sequence[float] | None = None,
    title: str = "",
    dots_per_inch: int = DOTS_PER_INCH,
) -> Figure:
    """Lay panels out in rows and draw them.

    Args:
        rows: of panels; empty rows are left out.
        size: of the figure, in inches.
        heights: share of each row; equal if left out.
        title: of the whole, if any.
        dots_per_inch: of the figure.

    Returns:
        The figure.
    """
    figure = new_figure(*size, dots_per_inch)
    width, height = size
    shares = [1.0] * len(rows) if heights is None else list(heights)
    kept = [(row, share) for row, share in zip(rows, shares, strict=True) if row]
    top = height
    if title:
        top -= _TITLE
        place = (_LEFT / width, 1 - 0.42 / height)
        text = figure.text(
            *place, shorten(title, 150), size=19, color=INK, weight="bold", va="center"
        )
        fit(text, (width - _LEFT - _RIGHT) * dots_per_inch, 14.0)
    free = top - len(kept) * (_ABOVE + _BELOW)
    total = sum(share for _, share in kept)
    for row, share in kept:
        top -= _ABOVE
        bottom = top - free * share / total
        across = width - _LEFT - _RIGHT - _BETWEEN * (len(row) - 1)
        left = _LEFT
        for panel in row:
            right = left + across * panel.width / sum(p.width for p in row)
            # Of a stack, the distance is a share of the axes' mean height.
            grid = figure.add_gridspec(
                panel.stack, 1, left=left / width, right=right / width,
                bottom=bottom / height, top=top / height, hspace=0.14 if panel.stack < 4 else 0.25,
            )  # fmt: skip
            panel.draw([figure.add_subplot(grid[i]) for i in range(panel.stack)])
            left = right + _BETWEEN
        top = bottom - _BELOW
    return figure
