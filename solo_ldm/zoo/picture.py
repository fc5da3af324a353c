"""zoo/scores.png: every score of the zoo, beside what it is to be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from solo_ldm.plotting.page import grid_of_axes, legend_below, save
from solo_ldm.plotting.style import BLUE, MUTED, ORANGE, beside, name_rows, styled
from solo_ldm.weights.published.entry import Entry, Result
from solo_ldm.zoo.cards import METRICS, formatted

_WIDTH_INCHES, _ROW_INCHES, _FRAME_INCHES = 11.0, 0.34, 1.0
_TITLE = "The zoo: scores of the published weights"
_NAMES = _OURS, _SEEDS, _UNTRAINED, _OTHERS = (
    "published weights",
    "mean ± standard deviation over seeds",
    "untrained",
    "published elsewhere",
)
_Row = tuple[Entry, Result]


@styled
def write_picture(path: Path, entries: Mapping[str, Entry]) -> None:
    """Draw every score, a panel a metric, beside the untrained network and others' figures."""
    rows = {
        metric: [
            (entry, one)
            for entry in entries.values()
            for one in entry.results
            if one.metric == metric
        ]
        for metric in METRICS
    }
    shown = {metric: found for metric, found in rows.items() if found}
    heights = [len(found) + 1.6 for found in shown.values()]
    size = (_WIDTH_INCHES, _FRAME_INCHES + _ROW_INCHES * sum(heights))
    figure, panels = grid_of_axes(len(shown), 1, size, _TITLE, height_ratios=heights)
    for axes, (metric, found) in zip(panels[:, 0], shown.items(), strict=True):
        _draw_panel(axes, metric, found)
    drawn = [axes.get_legend_handles_labels() for axes in panels[:, 0]]
    handles = {name: one for found in drawn for one, name in zip(*found, strict=True)}
    names = [name for name in _NAMES if name in handles]
    legend_below(figure, [handles[name] for name in names], names)
    save(path, figure)


def _draw_panel(axes: Axes, metric: str, rows: Sequence[_Row]) -> None:
    axes.set_title(METRICS[metric])
    name_rows(axes, [f"{entry.name}, {one.protocol}" for entry, one in rows])
    for row, (entry, one) in enumerate(rows):
        _draw_row(axes, row, entry, one)
    low = min(value for entry, one in rows for value in _values(entry, one))
    if metric == "top1":
        axes.set_xlim(max(0.0, low - 0.02), 1.0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    else:
        axes.set_xlim(min(0.0, low), 1.0)


def _draw_row(axes: Axes, row: int, entry: Entry, one: Result) -> None:
    known = entry.reference_for(one.protocol)
    if one.baseline is not None:
        axes.plot([one.baseline, one.value], [row, row], color=MUTED, linewidth=1, zorder=1)
        look: dict[str, Any] = {"color": MUTED, "markerfacecolor": "white", "label": _UNTRAINED}
        axes.plot(one.baseline, row, "o", zorder=2, **look)
    if one.std is not None:
        axes.plot(
            [one.mean - one.std, one.mean + one.std], [row, row], color=BLUE, linewidth=5,
            alpha=0.35, solid_capstyle="butt", zorder=2, label=_SEEDS,
        )  # fmt: skip
    axes.plot(one.value, row, "o", color=BLUE, clip_on=False, zorder=3, label=_OURS)
    if known is not None:
        axes.plot(known.value, row, "D", color=ORANGE, markersize=5, zorder=4, label=_OTHERS)
    beside(
        axes, formatted(one, one.value), (1.0, row), (8, 0), size=9, va="center_baseline",
        xycoords=axes.get_yaxis_transform(), annotation_clip=False,
    )  # fmt: skip


def _values(entry: Entry, one: Result) -> list[float]:
    known = entry.reference_for(one.protocol)
    others = [one.baseline, None if known is None else known.value]
    return [one.value, one.mean - (one.std or 0.0), *(x for x in others if x is not None)]
