"""Layout of pictures, and how they are written: panels in rows, or axes in a grid."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from solo_ldm.files import write_atomically
from solo_ldm.plotting.style import MUTED, fit, one_line, styled

# 1600 pixels across. A single picture has fewer inches, hence larger text, than a report.
WIDTH_INCHES, DOTS_PER_INCH = 12.8, 125
REPORT = {"width": 16.0, "height": 10.0, "dots_per_inch": 100}

# Room in inches: for tick labels and names of axes, for headings, for the title of the page.
_LEFT, _RIGHT, _BETWEEN = 0.8, 0.3, 0.8
_ABOVE, _BELOW = 0.68, 0.6
_TITLE, _NOTE = 0.6, 0.3


class Panel(NamedTuple):
    """A part of a page: some axes below each other, or rows of smaller panels.

    Args:
        name: by which a report finds it.
        draw: draws it on its axes.
        width: share of its row's width.
        height: of the axes, in inches, on a page that may be as high as it needs; otherwise the
            row's share of the height.
        stack: number of axes.
        left: room for long tick labels, in inches beyond the usual.
        right: likewise.
        below: likewise.
        rows: panels that take its place.
    """

    name: str
    draw: Callable[[list[Axes]], None] = lambda axes: None
    width: float = 1.0
    height: float = 3.9
    stack: int = 1
    left: float = 0.0
    right: float = 0.0
    below: float = 0.0
    rows: Sequence[Sequence[Panel]] = ()


Rows = Sequence[Sequence[Panel]]


def write_page(
    path: str | os.PathLike[str], rows: Rows, description: str = "", **layout: Any
) -> Path:
    """Draw panels and write them as a PNG, whole or not at all.

    Args:
        path: of the PNG; its folder is made.
        rows: of panels.
        description: for the file's metadata; the title if left out.
        layout: see `compose`.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png.
    """
    figure = compose(rows, **layout)
    figure.set_label(description or figure.get_label())
    return save(path, figure)


@styled
def compose(
    rows: Rows,
    title: str = "",
    note: str = "",
    width: float = WIDTH_INCHES,
    height: float | None = None,
    dots_per_inch: int = DOTS_PER_INCH,
) -> Figure:
    """Lay panels out in rows and draw them.

    Args:
        rows: of panels; empty rows are left out.
        title: of the whole, if any.
        note: a line below the title.
        width: of the figure, in inches.
        height: of the figure, in inches; as much as the panels ask for if left out.
        dots_per_inch: of the figure.

    Returns:
        The figure.
    """
    rows = [row for row in rows if row]
    head = (_TITLE if title else 0.0) + (_NOTE if note else 0.0)
    height = round(head + _height(rows), 2) if height is None else height
    figure = new_figure(width, height, dots_per_inch, title)
    room = (width - _LEFT - _RIGHT) * dots_per_inch
    for text, at, look in (
        (title, 0.42, {"size": 19, "weight": "bold"}),
        (note, 0.74, {"size": 13, "color": MUTED}),
    ):
        place = (_LEFT / width, 1 - at / height)
        fit(figure.text(*place, one_line(text, 150), va="center", **look), room, 12.0)
    _place(figure, rows, (_LEFT, width - _RIGHT), (height - head, 0.0))
    return figure


def _height(rows: Rows) -> float:
    """Return the height that rows ask for, in inches."""
    return sum(_share(row) + _ABOVE + _below(row) for row in rows)


def _share(row: Sequence[Panel]) -> float:
    return max(panel.height for panel in row)


def _below(row: Sequence[Panel]) -> float:
    return _BELOW + max(panel.below for panel in row)


def _place(
    figure: Figure, rows: Rows, across: tuple[float, float], down: tuple[float, float]
) -> None:
    """Place rows between left and right, top and bottom, in inches, and draw them."""
    width, height = figure.get_size_inches()
    top = down[0]
    scale = 1 + (top - down[1] - _height(rows)) / sum(_share(row) for row in rows)
    for row in rows:
        top -= _ABOVE
        bottom = top - scale * _share(row)
        rooms = _BETWEEN * (len(row) - 1) + sum(panel.left + panel.right for panel in row)
        unit = (across[1] - across[0] - rooms) / sum(panel.width for panel in row)
        left = across[0]
        for panel in row:
            left += panel.left
            right = left + unit * panel.width
            if panel.rows:
                _place(figure, panel.rows, (left, right), (top + _ABOVE, bottom - _BELOW))
            else:
                # Of a stack, the distance is a share of the axes' mean height.
                grid = figure.add_gridspec(
                    panel.stack, 1, left=left / width, right=right / width, top=top / height,
                    bottom=bottom / height, hspace=0.14 if panel.stack < 4 else 0.25,
                )  # fmt: skip
                panel.draw([figure.add_subplot(grid[i]) for i in range(panel.stack)])
            left = right + panel.right + _BETWEEN
        top = bottom - _below(row)


def grid_of_axes(
    rows: int, columns: int, size: tuple[float, float], title: str, dots_per_inch: int = 110,
    **settings: Any,
) -> tuple[Figure, np.ndarray]:  # fmt: skip
    """Return a figure with a title and axes (rows, columns), spaced by what is drawn on them."""
    figure = new_figure(*size, dots_per_inch, title)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.07)
    text = "\n".join(one_line(line, 110) for line in title.splitlines())
    fit(figure.suptitle(text, x=0.01, ha="left"), 0.98 * size[0] * dots_per_inch, 8.0)
    return figure, figure.subplots(rows, columns, squeeze=False, **settings)


def legend_below(
    figure: Figure, handles: Sequence[Any], labels: Sequence[str] | None = None
) -> None:
    """Put a legend below all axes of `grid_of_axes`."""
    names = [handle.get_label() for handle in handles] if labels is None else labels
    figure.legend(handles, names, loc="outside lower left", ncols=len(names), fontsize=9)


def new_figure(width: float, height: float, dots_per_inch: int, title: str) -> Figure:
    """Return a white figure of a size in inches; not pyplot's, whose figures are global state."""
    figure = Figure(figsize=(width, height), dpi=dots_per_inch, facecolor="white")
    figure.set_label(title)
    FigureCanvasAgg(figure)
    return figure


def save(path: str | os.PathLike[str], figure: Figure) -> Path:
    """Write a figure as a PNG with its label as the title, whole or not at all.

    Args:
        path: of the PNG; its folder is made.
        figure: what to write.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path: expected a name that ends in .png, got {path.name!r}")
    metadata = {"Title": str(figure.get_label())}
    write_atomically(path, lambda to: figure.savefig(to, format="png", metadata=metadata))
    return path


def save_pdf(path: Path, figure: Figure) -> None:
    """Write a figure as a PDF for print; the same figure gives the same file."""
    metadata = {"Title": str(figure.get_label()), "CreationDate": None}
    write_atomically(path, lambda to: figure.savefig(to, format="pdf", metadata=metadata))
