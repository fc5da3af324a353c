"""Scores as bars, with folds and what chance or an untrained network gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from solo_ldm.plotting.arrays import Values, as_array
from solo_ldm.plotting.style import (
    BLUE,
    COLOURS,
    INK,
    LIGHT,
    MUTED,
    ORANGE,
    beside,
    grid_along,
    heading,
    one_line,
    write_instead,
)

# Bars below are cut here: a decoder that is worse than the mean.
_LOWEST = -0.3
_NULL = "#d5d8dc"
# From the end of a bar to its value, in points.
_GAP = 9.0


class Bar(NamedTuple):
    """One bar.

    Args:
        group: its heading, for example "latent state" or "knn-20".
        name: for example "linear" or "untrained".
        value: at most 1.
        folds: the value of each fold.
        null: values where there is nothing to find, for example with targets shifted in time.
    """

    group: str
    name: str
    value: float
    folds: Values = ()
    null: Values = ()


def draw_scores(
    axes: Axes, scores: Sequence[Bar], title: str, note: str = "", xlabel: str = "",
    percent: bool = False,
) -> None:  # fmt: skip
    """Draw scores as horizontal bars below the name of their group, values beside them.

    Raises:
        ValueError: in one line, for folds or nulls that are no list.
    """
    names = [name for name in dict.fromkeys(score.name for score in scores) if name != "untrained"]
    colours = dict(zip(names, (BLUE, ORANGE, *COLOURS[4:]), strict=False), untrained=LIGHT)
    row, lowest, notes = 0.0, 0.0, {note: None} if note else {}
    # How far each value reaches: the end of its bar, and points to the right of that.
    reaches: list[tuple[float, float]] = []
    for group in dict.fromkeys(score.group for score in scores):
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        look = {"size": 11, "weight": "bold", "zorder": 6, "bbox": ground}
        beside(axes, one_line(group, 36), (0, row), (4, 0), **look)
        row += 0.75
        for score in (one for one in scores if one.group == group):
            folds, null = as_array("folds", score.folds, "folds"), as_array("null", score.null, "n")
            folds, null = folds[np.isfinite(folds)], null[np.isfinite(null)]
            value = score.value if np.isfinite(score.value) else 0.0
            lowest, end = min(lowest, value, *folds, *null), max(value, 0.0, *folds)
            axes.barh(row, max(value, _LOWEST), 0.5, color=colours.get(score.name, MUTED), zorder=2)
            if len(null):
                low, high = np.clip(np.quantile(null, (0.025, 0.975)), _LOWEST, None)
                # Wide enough to be seen.
                axes.barh(row, max(high - low, 0.006), 0.86, left=low, color=_NULL, zorder=1)
                notes["grey: 95% of the null"] = None
            if len(folds) > 1:
                axes.plot(
                    np.clip(folds, _LOWEST, None), np.full(len(folds), row), "o", color="white",
                    markersize=5.5, markeredgecolor=INK, markeredgewidth=0.9, zorder=4,
                )  # fmt: skip
                notes["dots: folds"] = None
            text = f"{value:.1%}" if percent else f"{value:.3f}".replace("-", "−")
            text = f"{one_line(score.name, 16)}: {text if score.value == value else 'not finite'}"
            drawn = beside(axes, text, (end, row), (_GAP, 0), annotation_clip=False, zorder=5)
            reaches.append((end, drawn.get_window_extent().width * 72 / axes.figure.dpi + _GAP))
            row += 0.85
        row += 0.2
    if not scores:
        write_instead(axes, "Nothing was measured.")
        heading(axes, title)
        return
    grid_along(axes, "x")
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=MUTED, linewidth=1, zorder=3)
    left = max(_LOWEST, lowest) - 0.02 if lowest < 0 else 0.0
    # Wide enough that each value, so many points wide, fits beside its bar.
    width = axes.get_window_extent().width * 72 / axes.figure.dpi
    shares = [(end, min(points / width, 0.6)) for end, points in reaches]
    right = max([1.02, *((end - share * left) / (1 - share) for end, share in shares)])
    axes.set(yticks=[], xlim=(left, right), ylim=(max(row, 2.4) - 0.45, -0.5), xlabel=xlabel)
    ticks = np.arange(-1, 6) / 5 if width > 250 else np.array([0.0, 0.5, 1.0])
    axes.set_xticks(ticks[ticks >= left])
    if percent:
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    heading(axes, title, "; ".join(notes))
