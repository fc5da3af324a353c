"""What one axis of the grid makes of the score, all else equal; and what the paper says of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from scipy.stats import norm

from solo_ldm.commands.compare.entries import whole_grid
from solo_ldm.commands.compare.ranking import (
    CONFIDENCE,
    Margin,
    Standing,
    margin_of,
    margin_text,
    percent,
)
from solo_ldm.commands.compare.table import Comparison

AXES = ("latent", "entropy", "over")
Cell = tuple[str, ...]
Pattern = tuple[str | None, ...]

# Differences below this, a point, are called none.
NEGLIGIBLE = 0.01

# Words of the verdicts.
HOLDS, CONTRADICTED = "holds here", "contradicted here"


@dataclass(frozen=True)
class Contrast:
    """The difference between two sides of cells that correspond to each other.

    With d_s the mean over the cells of (first − second) at seed s, it is the mean of d_s over the
    seeds at which all of them are finished, with the interval of a paired t-test over seeds.

    Args:
        axis: in which the sides differ; "" where they differ in several.
        sides: their names.
        pairs: of cells.
        seeds: at which all are finished.
        margins: the difference by protocol.
        images: by protocol, the most that the choice of test images adds: half the width of the
            95 % interval of a difference of two independent shares. Scores of the same images
            agree more.
    """

    axis: str
    sides: tuple[str, str]
    pairs: int
    seeds: tuple[int, ...]
    margins: dict[str, Margin]
    images: dict[str, float]

    @property
    def name(self) -> str:
        """The difference in words."""
        first, second = (side.split() for side in self.sides)
        shared = " ".join(first[:-1]) if self.axis else ""
        return f"{shared}: {first[-1]} − {second[-1]}" if shared else " − ".join(self.sides)

    def reads(self, protocol: str) -> Literal["differs", "equal", "open"]:
        """Return what the seeds say.

        equal: the whole interval lies within a point of zero; differs: it does not, and leaves out
        zero; open: neither, or there is one seed.
        """
        margin = self.margins[protocol]
        if margin.half_width is None:
            return "open"
        if abs(margin.mean) + margin.half_width < NEGLIGIBLE:
            return "equal"
        return "differs" if margin.significant else "open"


@dataclass(frozen=True)
class Contrasts:
    """The contrasts of a comparison that holds a whole grid.

    Args:
        cells: method by cell: all combinations of some levels of each axis.
        axes: the contrasts of each axis, averaged over the other axes.
        pairs: of each pair of cells that differ in `over` alone.
        leading: of plane LogDet to each other latent and estimator, averaged over `over`.
    """

    cells: dict[Cell, Standing]
    axes: tuple[Contrast, ...]
    pairs: tuple[Contrast, ...]
    leading: tuple[Contrast, ...]


def contrasts_of(comparison: Comparison) -> Contrasts | None:
    """Return the contrasts between the cells of a comparison.

    The cells have no predictor and one network for both views. Levels are left out so that all
    combinations of the others are there, as many as possible; of methods in the same cell the
    first counts.

    Returns:
        None where no two cells are left that differ in one axis, or no seed has them all.
    """
    every = _cells(comparison)
    cells = {cell: every[cell] for cell in whole_grid(every)}
    levels = [list(dict.fromkeys(cell[axis] for cell in cells)) for axis in range(len(AXES))]
    families = list(dict.fromkeys(cell[:2] for cell in cells))

    def between(axis: str, first: Pattern, second: Pattern) -> Contrast | None:
        names = [" ".join(filter(None, pattern)) for pattern in (first, second)]
        sides = [_side(cells, pattern) for pattern in (first, second)]
        return _contrast(axis, names, sides, comparison.protocols)

    def along(axis: int, within: Pattern = (None, None, None)) -> list[Contrast | None]:
        return [
            between(AXES[axis], *((*within[:axis], one, *within[axis + 1 :]) for one in pair))
            for pair in combinations(levels[axis], 2)
        ]

    lead = ("plane", "logdet")
    others = [one for one in families if one != lead] if lead in families else []
    axes = [one for axis in range(len(AXES)) for one in along(axis)]
    split = families if len(families) > 1 else []
    pairs = [one for family in split for one in along(2, (*family, None))]
    leading = [between("", (*lead, None), (*other, None)) for other in others]
    found = Contrasts(cells, *(tuple(filter(None, part)) for part in (axes, pairs, leading)))
    return found if found.axes else None


def _side(cells: Mapping[Cell, Standing], pattern: Pattern) -> list[Standing]:
    """Return the methods of the cells that a pattern leaves, None standing for any level."""
    fits = {
        c for c in cells if all(p in (None, level) for p, level in zip(pattern, c, strict=True))
    }
    return [one for cell, one in cells.items() if cell in fits]


def _cells(comparison: Comparison) -> dict[Cell, Standing]:
    """Return the cells of the grid without predictor and target, in the order of the methods."""
    by_label = {one.label: one for one in comparison.standings if one.finished}
    cells: dict[Cell, Standing] = {}
    for label in comparison.cells:
        if label not in by_label:
            continue
        found = by_label[label].finished[0].results
        cell = tuple(str(found[axis]) for axis in AXES if found.get(axis))
        plain = (found.get("predictor"), found.get("target")) == ("none", "same")
        if plain and len(cell) == len(AXES):
            cells.setdefault(cell, by_label[label])
    return cells


def _contrast(
    axis: str,
    names: Sequence[str],
    sides: Sequence[Sequence[Standing]],
    protocols: Sequence[str],
) -> Contrast | None:
    runs = [[{run.seed: run for run in one.finished} for one in side] for side in sides]
    every = [one for side in runs for one in side]
    seeds = sorted(set.intersection(*map(set, every))) if every else []
    if not seeds or len(runs[0]) != len(runs[1]):
        return None
    images = min(run.results["num_val_images"] for one in every for run in one.values())
    margins, by_images = {}, {}
    for protocol in protocols:
        first, second = (
            [statistics.fmean(one[seed].top1(protocol) for one in side) for seed in seeds]
            for side in runs
        )
        differences = [one - other for one, other in zip(first, second, strict=True)]
        margins[protocol] = margin_of(differences, images)
        variance = sum(p * (1 - p) for p in map(statistics.fmean, (first, second))) / images
        by_images[protocol] = float(norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(variance)
    return Contrast(axis, (names[0], names[1]), len(sides[0]), tuple(seeds), margins, by_images)


def verdicts(found: Contrasts, protocol: str) -> list[tuple[str, str, str]]:
    """Return what the paper says, the differences that tell, and whether it holds.

    - no difference: holds where the contrast is "equal", contradicted where it "differs".
    - a difference: holds where one contrast of the axis "differs", contradicted where all are
      "equal".
    - the lead: holds where it is ahead of every other, contradicted where another is ahead of it,
      each by an interval that leaves out zero.
    """

    def verdict(claim: str, told_by: Sequence[Contrast], holds: bool, against: bool) -> None:
        count = min(len(one.seeds) for one in told_by)
        words = CONTRADICTED if against else f"not told apart by {count} seeds"
        words = "one seed: no verdict" if count == 1 else HOLDS if holds else words
        # Of those that compare the lead with others, the closest.
        shown = [one for one in told_by if one.axis] or told_by[:1]
        numbers = (f"{one.name} {margin_text(one.margins[protocol])}" for one in shown)
        rows.append((claim, "; ".join(numbers), words))

    rows: list[tuple[str, str, str]] = []
    for axis, claim in (
        ("over", "mutual information (joint or marginal entropy) makes no difference"),
        ("latent", "the latent space (plane or sphere) makes a difference"),
        ("entropy", "the estimator (kernel, neighbour or logdet) makes a difference"),
    ):
        of_axis = [one for one in found.axes if one.axis == axis]
        reads = [one.reads(protocol) for one in of_axis]
        equal, differs = all(one == "equal" for one in reads), "differs" in reads
        if reads:
            verdict(claim, of_axis, *((equal, differs) if axis == "over" else (differs, equal)))
    if found.leading:
        ahead = [one.margins[protocol] for one in found.leading]
        holds = all(one.significant and one.mean > 0 for one in ahead)
        against = any(one.significant and one.mean < 0 for one in ahead)
        closest = sorted(found.leading, key=lambda one: one.margins[protocol].mean)
        verdict("plane LogDet leads", closest, holds, against)
    return rows


def grid_text(found: Contrasts) -> str:
    """Name the levels of each axis, of which all combinations are there."""
    levels = (dict.fromkeys(cell[axis] for cell in found.cells) for axis in range(len(AXES)))
    return " × ".join(f"{{{', '.join(one)}}}" for one in levels)


def contrasts_markdown(found: Contrasts, comparison: Comparison, picture: str) -> list[str]:
    """Return the part of table.md on contrasts, in lines."""
    protocols, rank_by = comparison.protocols, comparison.rank_by
    heads = ["difference", "pairs of cells", "seeds", *protocols, "test images", "reads"]
    rows = [heads, ["---", "---:", "---:", *["---"] * len(protocols), "---", "---"]]
    for one in (*found.axes, *found.pairs, *found.leading):
        rows.append(
            [
                one.name,
                str(one.pairs),
                str(len(one.seeds)),
                *(margin_text(one.margins[name]) for name in protocols),
                f"± {percent(one.images[rank_by])} at most",
                words(one, rank_by),
            ]
        )
    table = [f"| {' | '.join(row)} |" for row in rows]
    claims = [f"| {' | '.join(row)} |" for row in verdicts(found, rank_by)]
    return [
        "## Differences between cells",
        "",
        *table,
        "",
        f"Over the {len(found.cells)} cells {grid_text(found)}: in points, the mean over pairs of "
        "cells that agree on the other axes, each with the settings of its entry, and over the "
        "seeds that have them all, with its 95 % interval (Student's t over seeds; none of one "
        f"seed). By {rank_by}, a difference reads equal where its whole interval lies within a "
        "point of 0, different where it does not and leaves out 0, and is not told apart "
        "otherwise. Test images: what another draw of as many would add, 95 %, if the two sides "
        "erred independently. There is no correction for multiple comparisons.",
        *_one_seed(found, rank_by),
        "",
        f"![Differences between cells]({picture})",
        "",
        *([f"| the paper says | by {rank_by} | here |", "|---|---|---|", *claims, ""]),
    ]


def words(one: Contrast, protocol: str) -> str:
    """Return what the seeds say of a contrast."""
    reads = one.reads(protocol)
    if reads == "differs":
        return f"{one.sides[one.margins[protocol].mean < 0]} is higher"
    if reads == "equal":
        return "equal"
    return "one seed" if len(one.seeds) == 1 else f"not told apart by {len(one.seeds)} seeds"


def _one_seed(found: Contrasts, protocol: str) -> list[str]:
    """Say what the pairs of a single seed say of mutual information."""
    if len(found.pairs) < 2 or {len(one.seeds) for one in found.pairs} != {1}:
        return []
    differences = [one.margins[protocol].mean for one in found.pairs]
    smallest = min(s.results["num_val_images"] for c in found.cells.values() for s in c.finished)
    text = margin_text(margin_of(differences, smallest))
    return [
        "",
        f"With one seed, {len(differences)} pairs of latent and estimator are a sample of another "
        f"kind: {found.pairs[0].axis} differs by {text} by {protocol} (95 %, Student's t over the "
        "pairs). It says nothing about other seeds, and the pairs are no independent draws.",
    ]
