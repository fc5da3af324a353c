"""A picture of predicted uncertainty: certain images, coverage, strength, other images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from solo_ldm.plotting.images import draw_image_rows
from solo_ldm.plotting.page import REPORT, Panel, write_page
from solo_ldm.plotting.style import (
    BLUE,
    COLOURS,
    MUTED,
    ORANGE,
    RED,
    heading,
    legend_above,
    one_line,
)

# Images shown, of the most and of the least certain.
NUM_PICTURED = 12


def write_uncertainty(
    path: str | Path,
    title: str,
    images: Mapping[str, Sequence[tuple[np.ndarray, float]]],
    results: Mapping[str, Any],
    by_strength: Mapping[float, np.ndarray],
    entropies: Mapping[str, np.ndarray],
) -> Path:
    """Draw the picture and write it; see `write_page`.

    Args:
        path: of the PNG.
        title: what was assessed, in a line.
        images: by "most certain" and "least certain": (pixels (H, W, 3) in [0, 1], entropy in
            nats), at least one each.
        results: with calibration, strength and outside, as in results.json.
        by_strength: predicted variances of images by the strength of their augmentation.
        entropies: of images by set, in nats; the first is the run's own.
    """

    def draw_images(axes: Axes, name: str) -> None:
        row = [(pixels, f"{entropy:.1f}") for pixels, entropy in images[name]]
        draw_image_rows(axes, [row], NUM_PICTURED)
        heading(axes, name.capitalize(), "entropy of the predicted Gaussian, in nats")

    fit, strength, outside = (results[key] for key in ("calibration", "strength", "outside"))
    rows = [
        [Panel("most", lambda axes: draw_images(axes[0], "most certain"), height=1.3)],
        [Panel("least", lambda axes: draw_images(axes[0], "least certain"), height=1.3)],
        [
            Panel("coverage", lambda axes: _draw_coverage(axes[0], fit)),
            Panel("strength", lambda axes: _draw_strength(axes[0], strength, by_strength)),
            Panel("outside", lambda axes: _draw_outside(axes[0], outside, entropies)),
        ],
    ]
    note = (
        f"{fit['negative_log_likelihood']:.3f} nats a dimension on pairs of views; one covariance "
        f"for all images {fit['constant_negative_log_likelihood']:.3f} (less is better)"
    )
    return write_page(path, rows, title=title, note=note, **REPORT)


def _draw_coverage(axes: Axes, fit: Mapping[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
    levels = [0.0, *fit["levels"], 1.0]
    for name, colour, label in (
        ("intervals", BLUE, "each coordinate's interval"),
        ("ellipsoids", ORANGE, f"ellipsoids in {fit['dim']} dimensions"),
    ):
        axes.plot(levels, [0.0, *fit[name], 1.0], "-o", color=colour, markersize=4, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="nominal", ylabel="of held-out pairs")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="upper left")
    note = f"below the line: too certain; squared distance {fit['distance_ratio']:.2f} × predicted"
    heading(axes, "Coverage", note)


def _draw_strength(
    axes: Axes, found: Mapping[str, float], by_strength: Mapping[float, np.ndarray]
) -> None:
    strengths = list(by_strength)
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    low, lower, median, upper, high = np.transpose(
        [np.quantile(values, levels) for values in by_strength.values()]
    )
    axes.fill_between(strengths, low, high, color=BLUE, alpha=0.15, linewidth=0)
    axes.fill_between(strengths, lower, upper, color=BLUE, alpha=0.3, linewidth=0)
    axes.plot(strengths, median, "-o", color=BLUE, markersize=4)
    if min(strengths) < 1 < max(strengths):
        axes.axvline(1, color=MUTED, linewidth=1, linestyle="--")
    axes.set_xlabel("strength of the augmentations (1: as trained)")
    axes.set_ylabel("median, 50 %, 90 % of the images")
    correlation, within = found["rank_correlation"], found["within_image"]
    note = f"rank correlation {correlation:.2f}, within an image {within:.2f}"
    heading(axes, "Predicted variance, mean over dimensions", note)


def _draw_outside(
    axes: Axes, outside: Mapping[str, Mapping[str, float]], entropies: Mapping[str, np.ndarray]
) -> None:
    everything = np.concatenate([values.ravel() for values in entropies.values()])
    bins = np.linspace(everything.min(), everything.max() + 1e-9, 41).tolist()
    for (name, values), colour in zip(
        entropies.items(), (BLUE, RED, COLOURS[4], COLOURS[5]), strict=False
    ):
        area = outside.get(name, {}).get("entropy")
        label = one_line(name, 20) + ("" if area is None else f": {area:.3f}")
        weights = np.full(len(values), 1.0 / len(values))
        axes.hist(values, bins=bins, weights=weights, color=colour, alpha=0.55, label=label)
    axes.set(xlabel="nats", ylabel="share of the images")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    legend_above(axes)
    heading(axes, "Other images: entropy, and AUROC by it")
