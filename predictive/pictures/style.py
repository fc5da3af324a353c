"""What pictures of a predictive run share: headings, legends, and checks of what is drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from solo_ldm.plotting.style import INK, MUTED

Floats = NDArray[np.float64]
# What pictures are made of: arrays, nested lists, or tensors on any device.
Values = ArrayLike | Tensor

# 1600 pixels across. Single pictures have fewer inches, and hence larger text, than the report.
WIDTH_INCHES = 12.8
DOTS_PER_INCH = 125
# Of heights above the axes, in points.
_TITLE_AT, _NOTE_AT = 24.0, 8.0


def as_array(name: str, values: Values, *axes: str) -> Floats:
    """Return values as float64 with as many axes as are named, infinities as NaN.

    Raises:
        ValueError: in one line, for another number of axes.
    """
    array = _floats(values).copy()
    if array.ndim != len(axes):
        raise ValueError(f"{name}: expected ({', '.join(axes)}), got shape {array.shape}")
    array[~np.isfinite(array)] = np.nan
    return array


def as_rows(name: str, values: Values, *axes: str) -> Floats:
    """Return values as (sequences, time, …), also when there is one sequence or one dimension.

    Raises:
        ValueError: in one line, for another number of axes.
    """
    array = _floats(values)
    if array.ndim == len(axes) + 1:
        array = array[None]
    return as_array(name, array, "sequences", "time", *axes)


def _floats(values: Values) -> Floats:
    values = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    return np.asarray(values, dtype=np.float64)


def check_shape(name: str, values: Floats, expected: tuple[int, ...], like: str) -> None:
    """Check a shape.

    Raises:
        ValueError: in one line, naming what the shape should be like.
    """
    if values.shape != expected:
        raise ValueError(f"{name}: expected {expected}, the shape of {like}, got {values.shape}")


def known_bins(values: Floats) -> NDArray[np.bool_]:
    """Return where anything of values (N, T, …) is known, (N, T)."""
    return np.asarray(np.isfinite(values).any(axis=tuple(range(2, values.ndim))))


def figures(value: float | None, name: str = "R²") -> str:
    """Return ", R² 0.991", or nothing for a value that is absent or not finite."""
    if value is None or not math.isfinite(value):
        return ""
    return f", {name} {value:.3f}".replace("-", "−")


def label(axes: Axes, x: str | None = None, y: str | None = None) -> None:
    """Name the axes."""
    if x is not None:
        axes.set_xlabel(x, color=MUTED, size=10.5)
    if y is not None:
        axes.set_ylabel(y, color=MUTED, size=10.5)


def legend_above(axes: Axes, columns: int, **settings: Any) -> None:
    """Put the legend above the axes on the right, beside the note, where no data are.

    One that is too wide goes into the lower right corner, behind a veil.
    """
    settings.update(labelcolor=INK, handlelength=1.8, handletextpad=0.5)
    for size in (10.0, 9.0, 8.0):
        legend = axes.legend(
            frameon=False, fontsize=size, ncols=columns, loc="lower right",
            bbox_to_anchor=(1.0, 1.0), borderpad=0.1, borderaxespad=0.25, columnspacing=1.4,
            **settings,
        )  # fmt: skip
        if legend.get_window_extent().width <= axes.get_window_extent().width:
            return
    axes.legend(fontsize=8.5, loc="lower right", edgecolor="none", framealpha=0.85, **settings)


def heading(axes: Axes, title: str, note: str = "") -> None:
    """Write a title and a note above the axes, no wider than these; after the legend."""
    width = axes.get_window_extent().width
    legend = axes.get_legend()
    above = legend is not None and not legend.get_frame_on()
    used = legend.get_window_extent().width + 12 if legend is not None and above else 0.0
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    drawn = axes.annotate(title, (0, 1), (0, _TITLE_AT), size=13, weight="bold", color=INK, **place)
    fit(drawn, width, 9.0)
    fit(
        axes.annotate(note, (0, 1), (0, _NOTE_AT), size=10, color=MUTED, **place), width - used, 8.0
    )


def fit(drawn: Text, width: float, smallest: float) -> None:
    """Make a text smaller, then shorter, until it is as narrow as wanted, in pixels; or drop it."""
    text = drawn.get_text()
    while drawn.get_window_extent().width > width:
        size = float(drawn.get_fontsize())
        if size > smallest:
            drawn.set_fontsize(size - 0.5)
        elif len(text) > 12:
            # A dollar sign that lost its backslash would start TeX.
            text = text[:-2].rstrip(" ,;…\\") + "…"
            drawn.set_text(text)
        else:
            drawn.remove()
            return


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
