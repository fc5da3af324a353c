"""The picture of the theorem: a row a case, a grid before and after, scores and losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from solo_ldm.plotting.page import grid_of_axes
from solo_ldm.plotting.style import BLUE, INK, LIGHT, MUTED, ORANGE, RED, box, name_rows, styled
from solo_ldm.theorem.trial import Trial

_ROW_INCHES = 2.75
# Latents are drawn this much beyond the true grid.
_MARGIN = 0.35


@styled
def draw_picture(cases: Mapping[str, Sequence[Trial]], threshold: float, verdict: str) -> Figure:
    """Draw trials, a row a case: true grid, observed, recovered, R² of each seed, loss gaps.

    Args:
        cases: the trials of each case, one a seed; grids are the first's.
        threshold: R² from which sources count as found.
        verdict: a sentence, for the title.

    Returns:
        The figure.
    """
    sentence = verdict[0].upper() + verdict[1:]
    title = f"Predictive LDM finds sources up to an affine map: when, and when not\n{sentence}"
    size, widths = (16.0, 1.3 + _ROW_INCHES * len(cases)), [1, 1, 1, 1.15, 1.15]
    figure, panels = grid_of_axes(len(cases), 5, size, title, 80, width_ratios=widths)
    values = [gap for trials in cases.values() for one in trials for gap in one.gaps.values()]
    reach = max(1.25 * max(map(abs, values), default=0.0), 1e-3)
    lowest = min(one.learned.r2 for trials in cases.values() for one in trials)
    for row, trials in zip(panels, cases.values(), strict=True):
        first = trials[0]
        row[0].set_ylabel(fill(first.problem.case.title, 18), size=12, color=INK, labelpad=8)
        _draw_grid(row[0], first, first.grid.true, first.sources)
        _draw_grid(row[1], first, first.grid.observed, None)
        _draw_grid(row[2], first, first.grid.recovered, first.recovered)
        _draw_scores(row[3], trials, threshold, lowest)
        _draw_gaps(row[4], trials, reach)
    titles = (
        "sources 1 and 2",
        "from observations",
        "from latents",
        "affine R² on held-out samples",
        "loss of wrong latents less true",
    )
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title)
    panels[-1, 3].set_xlabel("R²")
    panels[-1, 4].set_xlabel("nats a dimension")
    note = (
        f"grids and points: seed {next(iter(cases.values()))[0].problem.seed}, through the best "
        "affine map to the sources, at the mean of source 3; bars and points: each seed; dotted: "
        "untrained; dashed: threshold"
    )
    figure.text(0.008, 0.004, note, size=9, color=MUTED, va="bottom")
    figure.get_layout_engine().set(rect=(0.0, 0.022, 1.0, 0.978))  # pyright: ignore
    return figure


def _draw_grid(axes: Axes, trial: Trial, grid: np.ndarray, points: np.ndarray | None) -> None:
    true = trial.grid.true
    low, high = true.min(axis=(0, 1, 2)), true.max(axis=(0, 1, 2))
    if points is not None:
        axes.plot(points[:, 0], points[:, 1], ".", color=LIGHT, markersize=2, zorder=1)
    for lines, colour in zip(grid, (BLUE, ORANGE), strict=True):
        axes.add_collection(LineCollection(list(lines), colors=colour, linewidths=1.0, zorder=2))
    margin = _MARGIN * (high - low)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    axes.set(xticks=[], yticks=[])
    box(axes)


def _draw_scores(axes: Axes, trials: Sequence[Trial], threshold: float, lowest: float) -> None:
    case = trials[0].problem.case
    rows = {"all sources": (0, 1, 2)}
    if len(case.affected) < 3:
        rest = tuple(i for i in range(3) if i not in case.affected)
        rows |= {_named(case.affected): case.affected, _named(rest): rest}
    for height, sources in enumerate(rows.values()):
        scores = [one.learned.over(sources) for one in trials]
        before = float(np.mean([one.untrained.over(sources) for one in trials]))
        found = min(scores) >= threshold
        axes.barh(height, float(np.mean(scores)), 0.55, color=BLUE if found else RED, alpha=0.35)
        axes.plot(scores, [height] * len(scores), "o", color=BLUE if found else RED, markersize=5)
        axes.plot([before] * 2, [height - 0.3, height + 0.3], ":", color=MUTED, linewidth=1.5)
        low, high = min(scores), max(scores)
        text = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
        axes.text(0.02, height, text, size=9, va="center")
    axes.axvline(threshold, color=INK, linewidth=1, linestyle="--")
    name_rows(axes, list(rows), least=3)
    axes.set_xlim(min(0.0, lowest), 1.03)


def _draw_gaps(axes: Axes, trials: Sequence[Trial], reach: float) -> None:
    names = list(trials[0].gaps)
    for height, name in enumerate(names):
        gaps = [one.gaps[name] for one in trials]
        mean = float(np.mean(gaps))
        colour = BLUE if trials[0].problem.case.recovers else RED
        axes.barh(height, mean, 0.55, color=colour, alpha=0.35)
        axes.plot(gaps, [height] * len(gaps), "o", color=colour, markersize=5)
        axes.text(
            0.98, height, f"{mean:+.3f}", size=9, va="center", ha="right",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    axes.axvline(0.0, color=INK, linewidth=1)
    name_rows(axes, names, least=3)
    axes.set_xlim(-reach, 1.35 * reach)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _named(sources: tuple[int, ...]) -> str:
    numbers = " and ".join(str(i + 1) for i in sources)
    return f"source{'s' if len(sources) > 1 else ''} {numbers}"
