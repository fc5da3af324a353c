"""The picture of a comparison: a row a method in rank order, a panel a protocol, a point a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from solo_ldm.commands.compare.ranking import Standing, is_equal, rank_text, untrained_spreads
from solo_ldm.commands.compare.table import Comparison, agreed, marks
from solo_ldm.plotting.page import grid_of_axes, legend_below
from solo_ldm.plotting.style import BLUE, COLOURS, INK, MUTED, beside, name_rows, one_line, styled

_ROW_INCHES, _PANEL_INCHES, _FRAME_INCHES = 0.34, 4.3, 1.75
_LABEL_LENGTH = 44
# Seeds of a method lie apart by this much of a row, so that equal scores are all seen.
_SEED_BAND = 0.36
# Room for a rank between a method's name and the panel.
_RANK_POINTS = 44
# A score further below the median of the means than this many times what lies above it would press
# the others together: it is written at the edge instead.
_FAR = 4.0

_GREY = COLOURS[7]


@styled
def draw_comparison(comparison: Comparison) -> Figure:
    """Draw top-1 of every run and of the untrained backbone."""
    protocols, rows = comparison.protocols, len(comparison.standings)
    names = [_name(comparison, one) for one in comparison.standings]
    # The layout makes the room for names and ranks; this is about what they need.
    margin = 0.8 + 0.085 * max(map(len, names))
    width = max(8.0, margin + _PANEL_INCHES * len(protocols))
    size = (width, _FRAME_INCHES + _ROW_INCHES * rows)
    figure, grid = grid_of_axes(1, len(protocols), size, title_of(comparison), sharey=True)
    panels = grid[0]
    for axes, protocol in zip(panels, protocols, strict=True):
        _draw_panel(axes, comparison, protocol)
        name_rows(axes, names, top=1.05)
        axes.tick_params(axis="y", pad=_RANK_POINTS)
    for row, one in enumerate(comparison.standings):
        _at_edge(panels[0], row, rank_text(one).rstrip("="), INK, (-20, 0), "right")
        if rank_text(one).endswith("="):
            _at_edge(panels[0], row, "=", INK, (-19, 0))
    _explain(figure, comparison)
    return figure


def visible_range(means: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Choose what a panel shows: all values, but for those that lie far below the others.

    >>> visible_range([0.97, 0.98, 0.99, 0.99], [0.965, 0.985, 0.995, 0.2])
    (0.965, 0.995)

    Args:
        means: of the methods.
        values: of the runs, and of the untrained backbone.

    Returns:
        The lowest and the highest value that are shown as points.
    """
    high = max(values)
    median = float(np.median(means))
    # Two points at least: the spread of a few methods that are nearly equal says nothing.
    floor = median - _FAR * max(high - median, 0.02)
    return min(value for value in values if value >= floor), high


def _draw_panel(axes: Axes, comparison: Comparison, protocol: str) -> None:
    axes.set_title(protocol)
    axes.set_xlabel("top-1 (%)")
    axes.xaxis.set_major_locator(MaxNLocator(6, min_n_ticks=3))
    scored = [one for one in comparison.standings if one.scores]
    untrained = [one.mean for one in untrained_spreads(comparison.standings, protocol).values()]
    if scored:
        means = [one.scores[protocol].mean for one in scored]
        values = [value for one in scored for value in one.scores[protocol].values]
        low, high = visible_range(means, values + untrained)
        pad = max(0.04 * (high - low), 0.001)
        # What lies outside is written at the left.
        left = pad if min(values) >= low else 4 * pad
        left = left if len(untrained) < 2 or min(untrained) >= low else 8 * pad
        axes.set_xlim(100 * (low - left), 100 * (high + pad))
        if len(untrained) == 1:
            _draw_untrained(axes, untrained[0], low)
        elif untrained:
            _draw_own_untrained(axes, scored, protocol, low)
        for row, one in enumerate(comparison.standings):
            if one.scores:
                _draw_row(axes, row, one, protocol, low)
    for row, one in enumerate(comparison.standings):
        if not one.scores:
            _at_edge(axes, row, "failed" if one.failed else "not trained")


def _draw_row(axes: Axes, row: int, standing: Standing, protocol: str, low: float) -> None:
    spread = standing.scores[protocol]
    colour = _GREY if standing.margin is not None and standing.margin.significant else BLUE
    colour = INK if standing.is_bound else colour
    shown = [value for value in spread.values if value >= low]
    hidden = [f"{100 * value:.1f}" for value in spread.values if value < low]
    offsets = np.linspace(-1, 1, len(shown)) * (_SEED_BAND / 2 if len(shown) > 1 else 0.0)
    at = [100 * value for value in shown]
    axes.scatter(at, row + offsets, s=26, color=colour, alpha=0.8, linewidths=0, zorder=3)
    if spread.mean < low:
        _at_edge(axes, row, f"◂ mean {100 * spread.mean:.1f}")
        return
    if hidden:
        _at_edge(axes, row, f"◂ {', '.join(hidden)}")
    if len(spread.values) > 1:
        mean = [100 * spread.mean] * 2
        axes.plot(mean, [row - 0.33, row + 0.33], color=INK, linewidth=1.8, zorder=2)


def _draw_untrained(axes: Axes, mean: float, low: float) -> None:
    if mean < low:
        _at_edge(axes, -0.75, f"◂ untrained {100 * mean:.1f}")
        return
    axes.axvline(100 * mean, color=MUTED, linestyle="--", linewidth=1.2, zorder=1)
    left, right = axes.get_xlim()
    inner = 100 * mean < (left + right) / 2
    beside(
        axes, f"untrained {100 * mean:.1f}", (100 * mean, -0.75), (4 if inner else -4, 0), size=9,
        color=MUTED, ha="left" if inner else "right",
    )  # fmt: skip


def _draw_own_untrained(
    axes: Axes, standings: Sequence[Standing], protocol: str, low: float
) -> None:
    """Mark each method's own untrained network, where methods have several networks."""
    for row, one in enumerate(standings):
        for mean in (spread.mean for spread in untrained_spreads([one], protocol).values()):
            if mean < low:
                _at_edge(axes, row, f"◂ untrained {100 * mean:.1f}")
            else:
                band = [row - 0.33, row + 0.33]
                axes.plot([100 * mean] * 2, band, color=MUTED, linestyle=":", linewidth=2, zorder=1)


def _at_edge(
    axes: Axes,
    row: float,
    text: str,
    colour: str = MUTED,
    offset: tuple[float, float] = (4, 0),
    side: Literal["left", "right"] = "left",
) -> None:
    """Write beside the left edge of a panel; the offset is in points."""
    ground = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
    beside(
        axes, text, (0, row), offset, xycoords=axes.get_yaxis_transform(), ha=side,
        va="center_baseline", size=9 if colour == MUTED else 10, color=colour, bbox=ground,
    )  # fmt: skip


def _name(comparison: Comparison, standing: Standing) -> str:
    text = one_line(standing.label, _LABEL_LENGTH)
    return f"{text} {marks(comparison, standing)}".rstrip()


def title_of(comparison: Comparison) -> str:
    """Return what was compared, in a line."""
    seeds = ", ".join(map(str, comparison.seeds))
    plural = "s" if len(comparison.seeds) > 1 else ""
    title = f"{comparison.name}: {len(comparison.standings)} methods, seed{plural} {seeds}"
    runs = comparison.finished
    if not runs:
        return title
    what = agreed(runs, lambda run: f"{run['backbone']} on {run['dataset']}")
    epochs = agreed(runs, lambda run: run["epochs"])
    return f"{title}; {what}, {epochs} epoch{'' if epochs == '1' else 's'}"


def _explain(figure: Figure, comparison: Comparison) -> None:
    def point(colour: str, label: str) -> Line2D:
        return Line2D([], [], color=colour, label=label, linestyle="none", marker="o", markersize=6)

    standings = comparison.standings
    several = max((len(one.finished) for one in standings), default=0) > 1
    told_by = f"not told from the best by {comparison.rank_by}"
    words = f"a seed of a method {told_by}" if several else "the run; one seed tells nothing apart"
    handles = [point(BLUE, words)]
    if any(one.margin is not None and one.margin.significant for one in standings):
        handles.append(point(_GREY, "of one told from it"))
    if any(one.is_bound for one in standings):
        handles.append(point(INK, "of one that learns from labels"))
    bare: dict[str, Any] = {"color": INK, "linestyle": "none"}
    if several:
        handles.append(
            Line2D([], [], label="mean", marker="|", markersize=11, markeredgewidth=1.8, **bare)
        )
    if len(untrained_spreads(standings, comparison.rank_by)) > 1:
        handles.append(Line2D([], [], color=MUTED, label="untrained", linestyle=":", linewidth=2))
    if any(map(is_equal, standings)):
        label = "beside a rank: not told from the best"
        handles.append(Line2D([], [], label=label, marker="$=$", markersize=8, **bare))
    legend_below(figure, handles)
