"""R² of decoders as bars."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from predictive.pictures.layout import Panel, compose
from predictive.pictures.style import Values, as_array, heading, label
from solo_ldm.plotting.style import (
    BLUE,
    COLOURS,
    INK,
    MUTED,
    ORANGE,
    check_path,
    save,
    say,
    shorten,
    style,
)

# Bars of a decoder that is worse than the mean are cut here.
_LOWEST = -0.3
_BAND = "#d5d8dc"
# From the end of a bar to its value, in points.
_APART = 9.0


@dataclass(frozen=True, eq=False)
class Score:
    """R² of one decoder on one set of features.

    Args:
        features: what was decoded from, for example "latent state" or "spikes, smoothed".
        decoder: for example "linear" or "MLP".
        r2: R² over the folds, at most 1.
        folds: R² of each fold.
        null: R² where there is nothing to find, for example with targets shifted in time.
    """

    features: str
    decoder: str
    r2: float
    folds: Values = ()
    null: Values = ()


def write_scores(path: str | os.PathLike[str], scores: Sequence[Score]) -> Path:
    """Write R² of every set of features and decoder as bars, with folds and null.

    Args:
        path: of the PNG, 1600 pixels wide; its folder is made.
        scores: in the order to be shown; those of the same features are put together.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png, or folds that are not a list.
    """
    path = check_path(path)
    num_rows = len(scores) + 0.8 * len({score.features for score in scores})
    size = (12.8, float(np.clip(2.0 + 0.55 * num_rows, 4.0, 10.0)))
    panel = Panel(lambda axes: draw_scores(axes[0], scores))
    return save(path, compose([[panel]], size), "R² of decoders")


def draw_scores(axes: Axes, scores: Sequence[Score]) -> None:
    """Draw R² as horizontal bars, those of the same features below their name."""
    if not scores:
        heading(axes, "Decoders")
        say(axes, "No R² was measured.")
        return
    decoders = list(dict.fromkeys(score.decoder for score in scores))
    colours = dict(zip(decoders, (BLUE, ORANGE, *COLOURS[4:]), strict=False))
    row, any_null, any_folds, reach = 0.0, False, False, 0.0
    beside: list[tuple[float, float]] = []
    for features in dict.fromkeys(score.features for score in scores):
        axes.annotate(
            shorten(features, 36), (0, row), (4, 0), textcoords="offset points", size=11,
            weight="bold", color=INK, va="center", zorder=6,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
        row += 0.75
        for score in (s for s in scores if s.features == features):
            folds = as_array("folds", score.folds, "folds")
            null = as_array("null", score.null, "nulls")
            folds, null = folds[np.isfinite(folds)], null[np.isfinite(null)]
            if len(null):
                low, high = np.clip(np.quantile(null, (0.025, 0.975)), _LOWEST, None)
                # At least a line to be seen.
                width = max(high - low, 0.006)
                axes.barh(row, width, 0.86, left=low, color=_BAND, zorder=1)
                any_null = True
            value, end = score.r2, max([0.0, *folds])
            text = f"{shorten(score.decoder, 16)}: "
            if np.isfinite(value):
                colour = colours.get(score.decoder, MUTED)
                axes.barh(row, max(value, _LOWEST), 0.5, color=colour, zorder=2)
                end, text = max(end, value), text + f"{value:.3f}".replace("-", "−")
            else:
                text += "not finite"
            if len(folds) > 1:
                dots = np.clip(folds, _LOWEST, None)
                axes.plot(
                    dots, np.full(len(dots), row), "o", color="white", markersize=5.5,
                    markeredgecolor=INK, markeredgewidth=0.9, zorder=4,
                )  # fmt: skip
                any_folds = True
            drawn = axes.annotate(
                text, (end, row), (_APART, 0), textcoords="offset points", size=10.5,
                color=INK, va="center", zorder=5, annotation_clip=False,
            )  # fmt: skip
            points = drawn.get_window_extent().width * 72.0 / axes.figure.dpi
            beside.append((end, points + _APART))
            reach = min(reach, value if np.isfinite(value) else 0.0, *folds, *null)
            row += 0.85
        row += 0.2
    style(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=MUTED, linewidth=1, zorder=3)
    lowest = max(_LOWEST, reach) - 0.02 if reach < 0 else 0.0
    # Wide enough that each value, so many points wide, fits beside its bar.
    width = axes.get_window_extent().width * 72.0 / axes.figure.dpi
    shares = [(end, min(points / width, 0.6)) for end, points in beside]
    highest = max([1.02, *((end - share * lowest) / (1.0 - share) for end, share in shares)])
    axes.set(yticks=[], xlim=(lowest, highest), ylim=(max(row, 2.4) - 0.45, -0.5))
    ticks = np.linspace(-0.2, 1, 7) if width > 250 else np.array([0.0, 0.5, 1.0])
    axes.set_xticks(ticks[ticks >= lowest])
    label(axes, "R² on held-out time")
    notes = (["dots: folds"] if any_folds else []) + (["grey: 95% of the null"] if any_null else [])
    finite = [score.r2 for score in scores if np.isfinite(score.r2)]
    title = f"Decoders, R² up to {max(finite):.3f}" if finite else "Decoders"
    heading(axes, title, "; ".join(notes))
