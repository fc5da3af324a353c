"""The pictures of a comparison that holds a grid: its cells on one axis, and their differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from solo_ldm.commands.compare.contrasts import NEGLIGIBLE, Contrast, Contrasts, words
from solo_ldm.commands.compare.picture import title_of
from solo_ldm.commands.compare.ranking import Standing, margin_text, spread_text, untrained_spreads
from solo_ldm.commands.compare.table import Comparison
from solo_ldm.plotting.page import grid_of_axes, legend_below
from solo_ldm.plotting.style import (
    BLUE,
    COLOURS,
    GRID,
    INK,
    LIGHT,
    MUTED,
    ORANGE,
    beside,
    name_rows,
    one_line,
    styled,
)

_WIDTH, _FRAME, _ROW = 12.0, 1.9, 0.36
_COLOURS = (BLUE, ORANGE, COLOURS[4])

# Classic results without a network: data set -> top-1 in percent and where from.
_CLASSIC = {
    name: (79.6, "k-means features of the original images, Coates & Ng")
    for name in ("cifar10", "cifar10-jpeg")
}


@styled
def draw_cells(comparison: Comparison, found: Contrasts) -> Figure:
    """Draw the cells by latent and estimator, what the entropy is over side by side, and the rest.

    All on one axis, that of the protocol that ranks; the untrained network, the best that learns
    from labels and a classic result are lines.
    """
    protocol = comparison.rank_by
    families = list(dict.fromkeys(cell[:2] for cell in found.cells))
    overs = list(dict.fromkeys(cell[2] for cell in found.cells))
    inside = {one.label for one in found.cells.values()}
    bounds = [one for one in comparison.standings if one.is_bound]
    bounds = sorted(bounds, key=lambda one: -one.scores[protocol].mean)[:1]
    others = [
        one
        for one in comparison.standings
        if one.scores and one.label not in inside and one not in bounds
    ]
    names = [" ".join(family) for family in families] + [one_line(o.label, 30) for o in others]
    size = (_WIDTH, _FRAME + _ROW * len(names))
    figure, grid = grid_of_axes(1, 1, size, title_of(comparison))
    axes: Axes = grid[0][0]
    for row, family in enumerate(families):
        shown = [found.cells[(*family, over)] for over in overs]
        for number, one in enumerate(shown):
            _draw(axes, row + _offset(number, len(shown)), one, protocol, _COLOURS[number])
        _at_right(axes, row, " | ".join(spread_text(one.scores[protocol]) for one in shown))
    for row, one in enumerate(others, start=len(families)):
        _draw(axes, row, one, protocol, INK if one.is_bound else COLOURS[7])
        _at_right(axes, row, spread_text(one.scores[protocol]))
    if len(overs) > 1:
        _at_right(axes, -0.8, " | ".join(overs))
    if others:
        axes.axhline(len(families) - 0.5, color=LIGHT, linewidth=1)
    name_rows(axes, names, top=1.9)
    _draw_lines(axes, comparison, bounds)
    axes.set_xlabel(f"{protocol}, top-1 (%)")
    handles = [_point(_COLOURS[number], f"over: {over}") for number, over in enumerate(overs)]
    handles += [_point(COLOURS[7], "another cell or method")] if others else []
    labelled = [one for one in others if one.is_bound]
    handles += [_point(INK, "another that learns from labels")] if labelled else []
    if any(len(one.finished) > 1 for one in (*found.cells.values(), *others)):
        mean: dict[str, Any] = {"linestyle": "none", "marker": "|", "markeredgewidth": 1.8}
        handles.append(Line2D([], [], color=INK, label="mean of seeds", markersize=11, **mean))
    legend_below(figure, handles)
    return figure


@styled
def draw_contrasts(comparison: Comparison, found: Contrasts) -> Figure:
    """Draw each contrast with its interval over seeds and what the test images would add."""
    protocol = comparison.rank_by
    groups = [part for part in (found.axes, found.pairs, found.leading) if part]
    rows: list[tuple[float, Contrast]] = []
    for number, group in enumerate(groups):
        rows += [(len(rows) + 0.6 * number + i, one) for i, one in enumerate(group)]
    last = rows[-1][0]
    size = (_WIDTH, _FRAME + _ROW * (last + 1))
    figure, grid = grid_of_axes(1, 1, size, f"{comparison.name}: differences by {protocol}")
    axes: Axes = grid[0][0]
    axes.axvspan(-100 * NEGLIGIBLE, 100 * NEGLIGIBLE, color=GRID, alpha=0.6, linewidth=0, zorder=0)
    axes.axvline(0, color=MUTED, linewidth=1, zorder=1)
    for row, one in rows:
        margin = one.margins[protocol]
        mean, images = 100 * margin.mean, 100 * one.images[protocol]
        axes.plot([mean - images, mean + images], [row, row], color=LIGHT, linewidth=7, zorder=1)
        colour = BLUE if one.reads(protocol) == "differs" else INK
        if margin.half_width is not None:
            half = 100 * margin.half_width
            axes.plot([mean - half, mean + half], [row, row], color=colour, linewidth=2, zorder=2)
        axes.scatter([mean], [row], s=44, color=colour, linewidths=0, zorder=3)
        _at_right(axes, row, f"{margin_text(margin)}   {words(one, protocol)}")
    # An interval of two seeds may be many times wider than what it is about.
    seen = [abs(100 * one.margins[protocol].mean) + 100 * one.images[protocol] for _, one in rows]
    reach = 1.6 * max(seen)
    axes.set_xlim(-reach, reach)
    axes.set_yticks([row for row, _ in rows], [one.name for _, one in rows])
    axes.set_ylim(last + 0.6, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.yaxis.grid(False)
    axes.set_xlabel("first − second, in points")
    legend_below(
        figure,
        [
            *_what_is_drawn([one for _, one in rows], protocol),
            Line2D([], [], color=LIGHT, linewidth=7, label="another draw of test images, at most"),
            Line2D([], [], color=GRID, linewidth=10, label="within a point"),
        ],
    )
    return figure


def _what_is_drawn(contrasts: Sequence[Contrast], protocol: str) -> list[Line2D]:
    """Return the legend's entries of the points: those that there are."""
    if all(one.margins[protocol].half_width is None for one in contrasts):
        return [_point(INK, "the difference; one seed tells nothing apart")]
    differ = {one.reads(protocol) == "differs" for one in contrasts}
    means = "mean and 95 % interval over seeds"
    entries = [_point(BLUE, f"different: {means}", "-")] if True in differ else []
    alike = f"equal, or not told apart: {means}"
    return entries + ([_point(INK, alike, "-")] if False in differ else [])


def _draw(axes: Axes, row: float, one: Standing, protocol: str, colour: str) -> None:
    spread = one.scores[protocol]
    at = [100 * value for value in spread.values]
    axes.scatter(at, [row] * len(at), s=30, color=colour, alpha=0.85, linewidths=0, zorder=3)
    if len(at) > 1:
        mean = [100 * spread.mean] * 2
        axes.plot(mean, [row - 0.17, row + 0.17], color=INK, linewidth=1.8, zorder=4)


def _draw_lines(axes: Axes, comparison: Comparison, bounds: Sequence[Standing]) -> None:
    """Draw the bounds and, where it is near, the classic result; set the limits of the axis."""
    protocol, low, high = comparison.rank_by, *axes.dataLim.intervalx
    untrained = next(iter(untrained_spreads(comparison.standings, protocol).values()), None)
    lines: list[tuple[float, str, Any]] = []
    lines += [] if untrained is None else [(100 * untrained.mean, "untrained", "--")]
    lines += [(100 * one.scores[protocol].mean, one.label, "-.") for one in bounds]
    low, high = (pick([end, *(at for at, *_ in lines)]) for pick, end in ((min, low), (max, high)))
    classic = _CLASSIC.get(comparison.finished[0].results["dataset"])
    if classic is not None and low <= classic[0] <= high + 4:
        lines.append((*classic, ":"))
        high = max(high, classic[0])
    pad = 0.03 * (high - low)
    axes.set_xlim(low - pad, high + pad)
    for number, (at, name, style) in enumerate(sorted(lines)):
        axes.axvline(at, color=MUTED, linestyle=style, linewidth=1.4, zorder=1)
        left = at < (low + high) / 2
        beside(
            axes, f"{name} {at:.1f}", (at, -1.45 + 0.45 * (number % 2)), (4 if left else -4, 0),
            size=9, color=MUTED, ha="left" if left else "right",
            bbox={"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 1},
        )  # fmt: skip


def _offset(number: int, count: int) -> float:
    """Return how far beside its row a cell lies, of several in one row."""
    return float(np.linspace(-1, 1, count)[number] * 0.2) if count > 1 else 0.0


def _at_right(axes: Axes, row: float, text: str) -> None:
    beside(
        axes, text, (1, row), (8, 0), xycoords=axes.get_yaxis_transform(), size=9.5,
        va="center_baseline",
    )  # fmt: skip


def _point(colour: str, label: str, line: Any = "none") -> Line2D:
    return Line2D([], [], color=colour, label=label, linestyle=line, marker="o", markersize=6)
