"""A picture of which classes are taken for which, and of how many of each are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from solo_ldm.evaluation.metrics import wilson_interval
from solo_ldm.files import write_atomically
from solo_ldm.plotting.style import BLUE, GRID, INK, MUTED, RED

SIZE_INCHES = (16.0, 8.6)
DOTS_PER_INCH = 100

# More counts than this are too small to read, and more names as well.
MAX_COUNTED_CLASSES = 20
MAX_NAME = 18


def write_confusion(
    path: str | Path, confusion: Sequence[Sequence[int]], classes: Sequence[str], title: str
) -> Path:
    """Draw a confusion matrix beside the accuracy of each class, and write it whole or not at all.

    Rows of the matrix are shares of their class. Up to 20 classes have names and counts; of more,
    the 20 that are found least are named.

    Args:
        path: of the PNG; its folder is made.
        confusion: (C, C) counts, a row a true class, a column a predicted one.
        classes: C names, or more, of which the rest has no samples.
        title: what was classified, in a line.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png, a matrix that is not square or is
            empty, or too few names.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path: expected a name that ends in .png, got {path.name!r}")
    counts = np.asarray(confusion, dtype=np.int64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.sum() == 0:
        raise ValueError(
            f"confusion: expected (classes, classes) counts, some of them positive, "
            f"got {counts.shape} with sum {counts.sum()}"
        )
    if len(classes) < len(counts):
        raise ValueError(f"classes: expected {len(counts)} names, got {len(classes)}")
    names = [_name(name) for name in classes[: len(counts)]]
    totals = counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        shares = counts / totals[:, None]  # NaN for a class without samples

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    correct, total = int(counts.trace()), int(totals.sum())
    low, high = wilson_interval(correct, total)
    figure.text(0.03, 0.962, _name(title, 120), size=18, weight="bold", color=INK, va="center")
    figure.text(
        0.03, 0.917, f"top-1 {correct / total:.2%} of {total} test images "
        f"(95% interval {low:.2%} to {high:.2%})", size=13, color=MUTED, va="center",
    )  # fmt: skip
    _draw_matrix(figure, figure.add_axes((0.115, 0.155, 0.355, 0.66)), counts, shares, names)
    _draw_classes(figure.add_axes((0.665, 0.115, 0.265, 0.70)), shares, totals, names)
    write_atomically(path, lambda to: figure.savefig(to, format="png", metadata={"Title": title}))
    return path


def _name(text: str, length: int = MAX_NAME) -> str:
    """Fit a text into its place, and keep matplotlib from reading it as TeX."""
    text = " ".join(str(text).split())
    text = text if len(text) <= length else text[: length - 1].rstrip() + "…"
    return text.replace("$", r"\$")


def _heading(axes: Axes, text: str, note: str) -> None:
    place = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(text, (0, 1), (0, 25), size=13, weight="bold", color=INK, **place)  # type: ignore[arg-type]
    axes.annotate(note, (0, 1), (0, 9), size=10, color=MUTED, **place)  # type: ignore[arg-type]


def _draw_matrix(
    figure: Figure, axes: Axes, counts: np.ndarray, shares: np.ndarray, names: Sequence[str]
) -> None:
    counted = len(counts) <= MAX_COUNTED_CLASSES
    note = "a row a true class, a column a predicted one; colour: share of the row"
    _heading(axes, "Confusion", note + ("" if counted else "; classes by number"))
    colours = LinearSegmentedColormap.from_list("white to blue", ["white", BLUE, "#163a63"])
    colours = colours.with_extremes(bad=GRID)
    # Off the diagonal most shares are a few percent, and would be white on an even scale.
    image = axes.imshow(shares, cmap=colours, norm=PowerNorm(0.6, 0, 1), interpolation="nearest")
    axes.tick_params(colors=MUTED, length=3, labelsize=10)
    axes.spines[:].set_color(GRID)
    if counted:
        size = 9 if len(counts) > 12 else 11
        axes.set_xticks(range(len(counts)), names, rotation=_slant(names), size=size)
        if _slant(names):
            axes.set_xticklabels(names, rotation=45, ha="right", rotation_mode="anchor", size=size)
        axes.set_yticks(range(len(counts)), names, size=size)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axes.text(
                    column, row, str(count), size=_count_size(counts), ha="center", va="center",
                    color="white" if shares[row, column] > 0.35 else INK,
                )  # fmt: skip
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.set_xlabel("predicted", color=MUTED, size=11)
        axes.set_ylabel("true", color=MUTED, size=11)
    box = axes.get_position()
    scale = figure.add_axes((0.482, box.y0, 0.010, box.height))
    bar = figure.colorbar(image, cax=scale)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    bar.ax.tick_params(colors=MUTED, labelsize=9, length=2)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def _slant(names: Sequence[str]) -> int:
    return 45 if max(map(len, names)) * len(names) > 60 else 0


def _count_size(counts: np.ndarray) -> float:
    digits = len(str(counts.max()))
    # Cells of 580 pixels / C hold digits of about 0.6 of the size at 100 dots an inch.
    return min(11.0, 580 / len(counts) / max(digits, 2) / 0.95)


def _draw_classes(axes: Axes, shares: np.ndarray, totals: np.ndarray, names: list[str]) -> None:
    found = np.flatnonzero(totals > 0)
    recall = np.diag(shares)
    order = found[np.argsort(recall[found], kind="stable")]
    many = len(order) > MAX_COUNTED_CLASSES
    absent = len(names) - len(found)
    note = f"the {MAX_COUNTED_CLASSES} found least of {len(found)}" if many else "least found first"
    if absent:
        note += f"; {absent} without test images left out"
    overall = float((recall[found] * totals[found]).sum() / totals.sum())
    _heading(axes, "Accuracy of each class", f"{note}  (dashed: all, {overall:.1%})")
    shown = order[:MAX_COUNTED_CLASSES]
    axes.barh(range(len(shown)), recall[shown], height=0.68, color=BLUE)
    axes.axvline(overall, color=RED, linewidth=1.2, linestyle="--", zorder=3)
    for row, number in enumerate(shown):
        # In a column of their own: beside its bar a number would lie on the dashed line.
        axes.text(1.03, row, f"{recall[number]:.1%}", size=10, color=INK, va="center")
    axes.set_yticks(range(len(shown)), [names[int(number)] for number in shown], size=10, color=INK)
    axes.set(xlim=(0, 1), ylim=(max(len(shown), 4) - 0.4, -0.6))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(_histogram(recall[found]) if many else "found", color=MUTED, size=10)
    axes.tick_params(axis="x", colors=MUTED, length=3, labelsize=10)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.grid(True, axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _histogram(recall: np.ndarray) -> str:
    low, middle, high = np.quantile(recall, [0.25, 0.5, 0.75])
    return f"found; quartiles of all classes {low:.0%}, {middle:.0%}, {high:.0%}"
