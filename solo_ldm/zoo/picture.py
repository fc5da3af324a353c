"""zoo/scores.png: every score of the zoo, beside what it is to be compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from solo_ldm.plotting.page import grid_of_axes, legend_below, save
from solo_ldm.plotting.style import BLUE, MUTED, ORANGE, beside, name_rows, styled
from solo_ldm.weights.published.entry import Entry, Result
from solo_ldm.zoo.cards import METRICS, formatted

# A panel of more entries is of one protocol.
_FEW = 6
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
    """Draw every score beside the untrained network and others' figures.

    A panel is of a metric and, for accuracies, of a data set; where it has many entries, of a
    protocol, the entries in the order of their scores.
    """
    panels: dict[str, list[_Row]] = {}
    counts = Counter(entry.dataset for entry in entries.values())
    for metric, label in METRICS.items():
        for entry in entries.values():
            for one in entry.results:
                if one.metric == metric:
                    title = f"{label} on {entry.dataset}" if metric == "top1" else label
                    if metric == "top1" and counts[entry.dataset] > _FEW:
                        title = f"{one.protocol} on {entry.dataset}"
                    panels.setdefault(title, []).append((entry, one))
    heights = [len(found) + 1.6 for found in panels.values()]
    size = (_WIDTH_INCHES, _FRAME_INCHES + _ROW_INCHES * sum(heights))
    figure, drawn = grid_of_axes(len(panels), 1, size, _TITLE, height_ratios=heights)
    for axes, (title, found) in zip(drawn[:, 0], panels.items(), strict=True):
        _draw_panel(axes, title, found)
    labelled = [axes.get_legend_handles_labels() for axes in drawn[:, 0]]
    handles = {name: one for found in labelled for one, name in zip(*found, strict=True)}
    names = [name for name in _NAMES if name in handles]
    legend_below(figure, [handles[name] for name in names], names)
    save(path, figure)


def _draw_panel(axes: Axes, title: str, rows: Sequence[_Row]) -> None:
    axes.set_title(title)
    (metric,) = {one.metric for _, one in rows}
    several = len({one.protocol for _, one in rows}) > 1
    if not several:
        rows = sorted(rows, key=lambda row: -row[1].value)
    name_rows(
        axes, [f"{entry.name}, {one.protocol}" if several else entry.name for entry, one in rows]
    )
    for row, (entry, one) in enumerate(rows):
        _draw_row(axes, row, entry, one)
    values = [value for entry, one in rows for value in _values(entry, one)]
    low, high = min(values), max(values)
    if metric == "top1":
        room = 0.02 + 0.05 * (high - low)
        axes.set_xlim(max(0.0, low - room), min(1.0, high + room))
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
