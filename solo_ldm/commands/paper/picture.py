"""A figure for a claim: what was measured, seed by seed, and what its rules ask for."""

from __future__ import annotations

from pathlib import Path

from solo_ldm.commands.paper.verdicts import CONFIDENCE, Estimate, Judgement
from solo_ldm.files import write_text
from solo_ldm.plotting.page import new_figure, save
from solo_ldm.plotting.style import BLUE, INK, MUTED, ORANGE, RED, name_rows, one_line, styled

# A column of a paper's page is 3.4 inches, a page 7.
_WIDTH, _ROW, _AROUND, _DOTS = 7.0, 0.28, 1.0, 200


@styled
def write_figure(stem: Path, judgement: Judgement) -> None:
    """Draw a claim's measures and tests as STEM.png and STEM.pdf, with STEM.txt as the caption.

    Args:
        stem: path without an ending.
        judgement: of the claim.
    """
    claim = judgement.claim
    measured = [(name, one) for name, one in judgement.measures.items() if one is not None]
    differences = [
        (f"{one.test.of} − {one.test.minus}", one.estimate, one.test.rule)
        for one in judgement.decisions
        if one.test.minus and one.estimate is not None
    ]
    rows = len(measured), len(differences)
    height = _AROUND + _ROW * sum(rows) + (0.7 if differences else 0.0)
    figure = new_figure(_WIDTH, height, _DOTS, claim.claim)
    figure.set_layout_engine("constrained")
    parts = 2 if differences else 1
    shares = [max(1, count) for count in rows][:parts]
    panels = figure.subplots(parts, 1, squeeze=False, height_ratios=shares)[:, 0]
    _draw(panels[0], measured, BLUE)
    for one in judgement.decisions:
        if not one.test.minus:
            panels[0].axvline(one.test.rule[1], color=RED, linewidth=1, linestyle="--")
    panels[-1].set_xlabel(claim.unit)
    if differences:
        _draw(panels[1], [(name, one) for name, one, _ in differences], ORANGE)
        panels[1].axvline(0, color=MUTED, linewidth=1)
        for rule, value in {rule for _, _, rule in differences}:
            ends = (value,) if rule in ("above", "below") else (-value, value)
            for end in ends:
                panels[1].axvline(end, color=RED, linewidth=1, linestyle="--")
    for ending in (".png", ".pdf"):
        save(stem.with_suffix(ending), figure)
    write_text(stem.with_suffix(".txt"), _caption(judgement) + "\n")


def _draw(axes, rows: list[tuple[str, Estimate]], colour: str) -> None:
    for row, (_, estimate) in enumerate(rows):
        axes.plot(
            estimate.values,
            [row] * len(estimate.values),
            "o",
            color=colour,
            alpha=0.45,
            markersize=4,
        )
        half = estimate.half_width
        axes.errorbar(
            estimate.mean,
            row,
            xerr=half,
            fmt="|",
            color=INK,
            markersize=9,
            capsize=3,
            linewidth=1.2,
        )
    name_rows(axes, [one_line(name, 48) for name, _ in rows])


def _caption(judgement: Judgement) -> str:
    claim = judgement.claim
    seeds = sorted({one.seeds for one in judgement.measures.values() if one is not None})
    count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    paper = f" The paper: {claim.paper}." if claim.paper else ""
    unit = f" Unit: {claim.unit}." if claim.unit else ""
    note = f" {claim.note}" if claim.note else ""
    return (
        f"{claim.claim} ({claim.figure} of Mikulasch & Zenke, arXiv 2605.03517). Dots: runs (n = "
        f"{count} seeds); bars: mean and its {CONFIDENCE:.0%} t-interval over seeds, of "
        f"differences paired over seeds; dashed: what the rule asks for.{unit}{paper}{note} "
        f"Verdict: {judgement.verdict}."
    )
