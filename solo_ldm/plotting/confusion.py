"""Which classes are taken for which, and how many samples of each are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.ticker import MaxNLocator, PercentFormatter

from solo_ldm.plotting.page import Panel, write_page
from solo_ldm.plotting.style import BLUE, GRID, INK, RED, beside, box, heading, name_rows, one_line

# More counts and names than this are too small to read.
MAX_NAMED = 20


def write_confusion(
    path: str | Path,
    confusion: Sequence[Sequence[int]],
    classes: Sequence[str],
    title: str,
    interval: tuple[float, float],
) -> Path:
    """Draw a confusion matrix beside the accuracy of each class, and write it whole or not at all.

    Rows of the matrix are shares of their class. Up to 20 classes have names and counts; of more,
    the 20 with the lowest accuracy are named.

    Args:
        path: of the PNG; its folder is made.
        confusion: (C, C) counts, a row a true class, a column a predicted one.
        classes: C names, or more, of which the rest has no samples.
        title: what was classified, in a line.
        interval: of the top-1 accuracy, at 95 %.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png, a matrix that is not square or is
            empty, or too few names.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.sum() == 0:
        raise ValueError(
            f"confusion: expected (classes, classes) counts, some of them positive, "
            f"got {counts.shape} with sum {counts.sum()}"
        )
    if len(classes) < len(counts):
        raise ValueError(f"classes: expected {len(counts)} names, got {len(classes)}")
    names = [one_line(name, 18) for name in classes[: len(counts)]]
    low, high = interval
    note = (
        f"top-1 {counts.trace() / counts.sum():.2%} of {counts.sum()} test images "
        f"(95% interval {low:.2%} to {high:.2%})"
    )
    panels = [
        Panel(
            "confusion",
            lambda axes: _draw_confusion(axes[0], counts, names),
            1.25,
            left=0.7,
            below=0.6,
        ),
        Panel("classes", lambda axes: _draw_classes(axes[0], counts, names), left=1.5, right=0.6),
    ]
    layout = {"width": 16.0, "height": 8.6, "dots_per_inch": 100}
    return write_page(path, [panels], title=title, note=note, **layout)


def draw_counts(
    axes: Axes, counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]
) -> ScalarMappable:
    """Draw a matrix of counts, coloured by the share of the row.

    Args:
        axes: to draw on.
        counts: (R, C).
        rows: names, left out where there are more than 20 rows or columns, as the counts are.
        columns: likewise.

    Returns:
        The image, for a scale of its colours.
    """
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)  # NaN for a row without samples
    colours = LinearSegmentedColormap.from_list("white to blue", ["white", BLUE, "#163a63"])
    # Off the diagonal most shares are a few percent, and would be white on an even scale.
    image = axes.imshow(
        shares, cmap=colours.with_extremes(bad=GRID), norm=PowerNorm(0.6, 0, 1),
        interpolation="nearest",
    )  # fmt: skip
    box(axes)
    if max(counts.shape) > MAX_NAMED:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        return image
    size = 9 if max(counts.shape) > 12 else 11
    axes.set_yticks(range(len(rows)), rows, size=size)
    slanted = max(map(len, columns)) * len(columns) > 60
    slant = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(len(columns)), columns, size=size, **slant)
    # Points of a cell; a digit is about 0.6 of its size wide.
    points = axes.get_window_extent().height * 72 / axes.figure.dpi / max(counts.shape)
    size = min(11.0, points / max(len(str(counts.max())), 2) / 0.7)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.35 else INK
            look = {"size": size, "color": colour, "ha": "center", "va": "center"}
            axes.text(column, row, str(count), **look)
    return image


def _draw_confusion(axes: Axes, counts: np.ndarray, names: Sequence[str]) -> None:
    image = draw_counts(axes, counts, names, names)
    axes.set_anchor("NW")
    note = "a row a true class, a column a predicted one; colour: share of the row"
    if len(counts) > MAX_NAMED:
        axes.set(xlabel="predicted", ylabel="true")
        note += "; classes by number"
    heading(axes, "Confusion", note)
    scale = axes.inset_axes((1.03, 0.0, 0.025, 1.0))
    bar = axes.figure.colorbar(image, cax=scale, format=PercentFormatter(1))
    bar.ax.tick_params(labelsize=9, length=2)
    bar.ax.spines[:].set_visible(False)


def _draw_classes(axes: Axes, counts: np.ndarray, names: Sequence[str]) -> None:
    totals = counts.sum(axis=1)
    known = np.flatnonzero(totals)
    recall = counts.diagonal() / np.maximum(totals, 1)
    order = known[np.argsort(recall[known], kind="stable")]
    shown, overall = order[:MAX_NAMED], counts.trace() / counts.sum()
    note, below = "lowest first", "accuracy"
    if len(order) > MAX_NAMED:
        low, middle, high = np.quantile(recall[known], [0.25, 0.5, 0.75])
        note = f"the {MAX_NAMED} lowest of {len(known)}"
        below += f"; quartiles of all classes {low:.0%}, {middle:.0%}, {high:.0%}"
    if len(known) < len(names):
        note += f"; {len(names) - len(known)} without test images left out"
    axes.barh(range(len(shown)), recall[shown], height=0.68, color=BLUE)
    axes.axvline(overall, color=RED, linewidth=1.2, linestyle="--", zorder=3)
    for row, number in enumerate(shown):
        # In a column of their own: beside its bar a number would lie on the dashed line.
        beside(axes, f"{recall[number]:.1%}", (1, row), (8, 0), annotation_clip=False)
    name_rows(axes, [names[int(number)] for number in shown], least=4)
    axes.set(xlim=(0, 1), xlabel=below)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    heading(axes, "Accuracy of each class", f"{note}  (dashed: all, {overall:.1%})")
