"""The look of every picture: colours, headings, legends, ticks and texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

# Petroff 2021 (arXiv 2107.02270): ten colours that any colour vision can tell apart.
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#717581", "#92dadd", "#b9ac70",
)  # fmt: skip
# A second cue beside the colour; it separates the 11th and 12th class from the first two.
MARKERS = ("o", "s", "^", "D", "v", "P", "o", "X", "s", "^", "*", "p")

BLUE, ORANGE, RED = COLOURS[0], COLOURS[1], COLOURS[2]
INK, MUTED, LIGHT, GRID = "#222222", "#6b6f76", "#c3c7cc", "#e3e5e8"

LOOK: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "grid.color": GRID,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelsize": 10,
    "xtick.major.size": 3,
    "ytick.color": MUTED,
    "ytick.labelsize": 10,
    "ytick.major.size": 3,
}
# A decorator: what the function draws has this look.
styled = matplotlib.rc_context(LOOK)

# Heights above the axes, in points.
_TITLE_AT, _NOTE_AT = 24.0, 8.0


def one_line(text: str, length: int) -> str:
    """Cut a user's text to a length, on one line, with dollar signs escaped: it is no TeX."""
    text = " ".join(str(text).split())
    text = text if len(text) <= length else text[: length - 1].rstrip() + "…"
    return text.replace("$", r"\$")


def decimals(value: float | None, name: str = "R²") -> str:
    """Return ", R² 0.991", or nothing for a value that is absent or not finite."""
    if value is None or not math.isfinite(value):
        return ""
    return f", {name} {value:.3f}".replace("-", "−")


def grid_along(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Keep the grid lines of one axis only."""
    (axes.yaxis if axis == "x" else axes.xaxis).grid(False)


def name_rows(axes: Axes, names: Sequence[str], top: float = 0.6, least: int = 0) -> None:
    """Name rows from the top down, with grid lines along x alone and room for `least` rows."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(len(names), least) - 0.4, -top)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    grid_along(axes, "x")


def box(axes: Axes) -> None:
    """Draw a light frame without a grid, for images, matrices and maps."""
    axes.grid(False)
    axes.spines[:].set(visible=True, color=GRID)


def write_instead(panels: Axes | list[Axes], text: str) -> None:
    """Write a sentence on the first of the axes where there is nothing to draw."""
    panels = [panels] if isinstance(panels, Axes) else panels
    for axes in panels:
        axes.set_axis_off()
    panels[0].text(0, 0.95, text, transform=panels[0].transAxes, size=11, va="top")


def beside(
    axes: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **settings: Any
) -> Text:
    """Write a text some points away from a place in the data."""
    settings = {"size": 10, "color": INK, "va": "center", **settings}
    return axes.annotate(text, at, offset, textcoords="offset points", **settings)


def above(axes: Axes, text: str, points: float, x: float = 0.0, **settings: Any) -> Text:
    """Write a text some points above the axes."""
    return beside(
        axes, text, (x, 1), (0, points), xycoords="axes fraction", va="baseline", **settings
    )


def heading(axes: Axes, title: str, note: str = "") -> None:
    """Write a title and a note above the axes, no wider than these; call it after the legend."""
    whole, legend = axes.get_window_extent(), axes.get_legend()
    width, used = whole.width, 0.0
    if legend is not None and (extent := legend.get_window_extent()).y0 >= whole.y1 - 1:
        used = extent.width + 12
    fit(above(axes, title, _TITLE_AT, size=13, weight="bold"), width, 9.0)
    fit(above(axes, note, _NOTE_AT, color=MUTED), width - used, 8.0)


def fit(drawn: Text, width: float, smallest: float) -> None:
    """Shrink a text, then cut it, to a width in pixels; remove one that still does not fit."""
    while drawn.get_window_extent().width > width:
        text, size = drawn.get_text(), float(drawn.get_fontsize())
        if size > smallest:
            drawn.set_fontsize(size - 0.5)
        elif len(text) > 12:
            # A dollar sign that lost its backslash would start TeX.
            drawn.set_text(text[:-2].rstrip(" ,;…\\") + "…")
        else:
            drawn.remove()
            return


def legend_above(axes: Axes, **settings: Any) -> None:
    """Put the legend above the axes on the right, where no data are, beside the note.

    One that is too wide goes into the lower right corner, on a translucent ground.
    """
    handles = settings.get("handles") or axes.get_legend_handles_labels()[0]
    settings = {"handlelength": 1.8, "handletextpad": 0.5, **settings}
    for size in (10.0, 9.0, 8.0):
        legend = axes.legend(
            fontsize=size, ncols=max(len(handles), 1), loc="lower right", bbox_to_anchor=(1.0, 1.0),
            borderpad=0.1, borderaxespad=0.25, columnspacing=1.4, **settings,
        )  # fmt: skip
        if legend.get_window_extent().width <= axes.get_window_extent().width:
            return
    settings |= {"frameon": True, "edgecolor": "none", "framealpha": 0.85}
    axes.legend(fontsize=8.5, loc="lower right", **settings)


def few_ticks(
    axes: Axes, x: int | None = None, y: int | None = None, stacked: bool = False
) -> None:
    """Limit the number of ticks; in a stack, keep those on y off the ends, where others are."""
    if x is not None:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=x))
    if y is not None:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=y))
    if stacked:
        low, high = axes.get_ylim()
        margin = 0.1 * (high - low)
        axes.set_yticks([t for t in axes.get_yticks() if low + margin <= t <= high - margin])
        axes.set_ylim(low, high)
