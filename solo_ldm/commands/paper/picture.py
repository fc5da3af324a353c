"""A figure for a claim: what was measured, value by value, and what its rules ask for."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from solo_ldm.commands.paper.entries import Test
from solo_ldm.commands.paper.verdicts import CONFIDENCE, Decision, Estimate, Judgement
from solo_ldm.files import write_text
from solo_ldm.plotting.page import new_figure, save, save_pdf
from solo_ldm.plotting.style import BLUE, INK, MUTED, ORANGE, RED, name_rows, one_line, styled

# A column of a paper's page is 3.4 inches wide, a page 7.
_WIDTH, _ROW, _AROUND, _DOTS = 7.0, 0.3, 1.1, 200
_SCATTER = 2.9  # inches, of a panel with the points of a correlation
_RULE = {"color": RED, "linewidth": 1.2, "linestyle": "--"}


@styled
def write_figure(stem: Path, judgement: Judgement) -> None:
    """Draw a claim's measures and tests as STEM.png and STEM.pdf, with STEM.txt as the caption.

    Args:
        stem: path without an ending.
        judgement: of the claim.
    """
    claim = judgement.claim
    found = [one for one in judgement.decisions if one.estimate is not None]
    correlations = [one for one in found if one.test.correlates]
    differences = [one for one in found if one.test.minus]
    measured = [(name, one) for name, one in judgement.measures.items() if one is not None]
    rows = [0 if correlations else len(measured), len(differences)]
    heights = [_ROW * count + 0.5 for count in rows if count]
    height = _AROUND + (_SCATTER if correlations else sum(heights))
    figure = new_figure(_WIDTH, height, _DOTS, claim.claim)
    figure.set_layout_engine("constrained")
    title = textwrap.fill(claim.claim, 84)
    figure.suptitle(f"{title}\nVerdict: {judgement.verdict}", x=0.01, ha="left", size=9.5)
    if correlations:
        panels = figure.subplots(1, len(correlations), squeeze=False)[0]
        for axes, one in zip(panels, correlations, strict=True):
            _scatter(axes, one)
    else:
        panels = list(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
        if measured:
            tests = {one.test.of: one.test for one in found if one.test.alone}
            _dots(panels[0], [(name, one, tests.get(name)) for name, one in measured], BLUE)
        if differences:
            drawn = [(one.test.name, one.estimate, one.test) for one in differences]
            _dots(panels[-1], drawn, ORANGE)
            panels[-1].axvline(0, color=MUTED, linewidth=1)
        panels[-1].set_xlabel(claim.unit)
    save(stem.with_name(f"{stem.name}.png"), figure)
    save_pdf(stem.with_name(f"{stem.name}.pdf"), figure)
    write_text(stem.with_name(f"{stem.name}.txt"), _caption(judgement) + "\n")


def _dots(
    axes: Axes, rows: Sequence[tuple[str, Estimate | None, Test | None]], colour: str
) -> None:
    """Draw values as dots, means with their intervals, and the rule of each row beside it."""
    for row, (_, estimate, test) in enumerate(rows):
        assert estimate is not None
        heights = [row] * len(estimate.values)
        axes.plot(estimate.values, heights, "o", color=colour, alpha=0.45, markersize=4)
        ends = estimate.interval
        reach = None if ends is None else [[estimate.mean - ends[0]], [ends[1] - estimate.mean]]
        look = {"fmt": "|", "color": INK, "markersize": 9, "capsize": 3, "linewidth": 1.2}
        axes.errorbar(estimate.mean, row, xerr=reach, **look)  # pyright: ignore[reportArgumentType]
        for end in () if test is None else test.ends:
            if math.isfinite(end):
                axes.plot([end, end], [row - 0.42, row + 0.42], **_RULE)  # pyright: ignore
    axes.locator_params(axis="x", nbins=6)
    name_rows(axes, [one_line(name, 52) for name, _, _ in rows])


def _scatter(axes: Axes, decision: Decision) -> None:
    """Draw what is correlated, a dot for each cell."""
    estimate, test = decision.estimate, decision.test
    assert estimate is not None
    first, second = zip(*estimate.points, strict=True)
    axes.plot(first, second, "o", color=BLUE, markersize=4)
    axes.set(xlabel=test.of, ylabel=test.correlates)
    low, high = estimate.interval or (math.nan, math.nan)
    axes.set_title(f"r = {estimate.mean:.2f} ({low:.2f} to {high:.2f})".replace("-", "−"), size=9)


def _caption(judgement: Judgement) -> str:
    claim = judgement.claim
    seeds = sorted({one.seeds for one in judgement.measures.values() if one is not None})
    count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    seeds_word = "seed" if seeds == [1] else "seeds"
    where = (
        f" ({claim.figure} of Mikulasch & Zenke, arXiv 2605.03517)" if claim.figure != "–" else ""
    )
    parts = [f"{claim.claim.rstrip('.')}{where}.", f"n = {count} {seeds_word}."]
    tests = [one.test for one in judgement.decisions]
    if any(test.correlates for test in tests):
        parts.append("Dots: cells; in brackets the 95 % interval of Spearman's correlation.")
    else:
        parts.append(f"Blue: seeds, their mean and its {CONFIDENCE:.0%} t-interval.")
        over = (
            "pairs of cells, taken as independent"
            if any(test.across for test in tests)
            else "seeds"
        )
        if any(test.minus for test in tests):
            parts.append(f"Orange: differences, mean and {CONFIDENCE:.0%} t-interval over {over}.")
        parts.append("Dashed: what the rule asks for.")
    parts += [f"Unit: {claim.unit}."] * bool(claim.unit)
    parts += [f"The paper: {claim.paper}."] * bool(claim.paper)
    parts += [claim.note] * bool(claim.note)
    return " ".join([*parts, f"Verdict: {judgement.verdict}."])
