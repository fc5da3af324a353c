"""The look that all pictures share: colours, texts, axes, and how a picture is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from solo_ldm.files import write_atomically

# Of a report: 1600 x 1000 pixels.
SIZE_INCHES = (16.0, 10.0)
DOTS_PER_INCH = 100

# Petroff 2021 (arXiv 2107.02270): ten colours, apart from each other with any colour vision.
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#717581", "#92dadd", "#b9ac70",
)  # fmt: skip
# A second cue beside the colour, and what tells the 11th and 12th class from the first two.
MARKERS = ("o", "s", "^", "D", "v", "P", "o", "X", "s", "^", "*", "p")

BLUE, ORANGE, RED = COLOURS[0], COLOURS[1], COLOURS[2]
INK, MUTED, LIGHT, GRID = "#222222", "#6b6f76", "#c3c7cc", "#e3e5e8"


def new_figure(width: float, height: float, dots_per_inch: int) -> Figure:
    """Return a white figure of a size in inches; not pyplot's, whose figures are global state."""
    figure = Figure(figsize=(width, height), dpi=dots_per_inch, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def check_path(path: str | os.PathLike[str]) -> Path:
    """Return the path.

    Raises:
        ValueError: in one line, for another ending than .png.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path: expected a name that ends in .png, got {path.name!r}")
    return path


def save(path: Path, figure: Figure, title: str) -> Path:
    """Write a figure as a PNG, whole or not at all, and return its path."""
    metadata = {"Title": title}
    write_atomically(path, lambda to: figure.savefig(to, format="png", metadata=metadata))
    return path


def shorten(text: str, length: int) -> str:
    """Fit a text of the user into its place, and keep matplotlib from reading it as TeX."""
    text = " ".join(text.split())
    text = text if len(text) <= length else text[: length - 1].rstrip() + "…"
    return text.replace("$", r"\$")


def style(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Draw quiet axes and a quieter grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, which="both", labelsize=10, length=3)
    axes.grid(True, axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def say(axes: Axes, text: str) -> None:
    """Write a sentence where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0, 0.95, text, transform=axes.transAxes, size=11, color=INK, va="top")
