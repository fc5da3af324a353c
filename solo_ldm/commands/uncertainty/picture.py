"""A picture of predicted uncertainty: certain images, coverage, strength, other images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from solo_ldm.plotting.style import (
    BLUE,
    COLOURS,
    INK,
    LIGHT,
    MUTED,
    ORANGE,
    RED,
    check_path,
    new_figure,
    save,
    shorten,
    style,
)

_ROW_TOPS = {"most certain": 0.832, "least certain": 0.637}
_OUTSIDE_COLOURS = (RED, COLOURS[4], COLOURS[5])


@dataclass(frozen=True)
class UncertaintyData:
    """What the picture shows.

    Args:
        title: what was assessed, in a line.
        images: by "most certain" and "least certain": (pixels (H, W, 3) in [0, 1], entropy in
            nats), at least one each.
        results: with calibration, strength and outside, as in uncertainty.json.
        by_strength: predicted variances of images by the strength of their augmentation.
        entropies: of images by set, in nats; the first is the run's own.
    """

    title: str
    images: Mapping[str, Sequence[tuple[np.ndarray, float]]]
    results: Mapping[str, Any]
    by_strength: Mapping[float, np.ndarray]
    entropies: Mapping[str, np.ndarray]


def write_uncertainty(path: str | Path, data: UncertaintyData) -> Path:
    """Draw the picture and write it, whole or not at all.

    Args:
        path: of the PNG; its folder is made.
        data: what it shows.

    Raises:
        ValueError: in one line, for another ending than .png.
    """
    path = check_path(path)
    figure = new_figure(16.0, 10.0, 100)
    figure.text(0.03, 0.962, shorten(data.title, 110), size=18, weight="bold", color=INK)
    fit = data.results["calibration"]
    figure.text(
        0.03, 0.928,
        f"{fit['negative_log_likelihood']:.3f} nats a dimension on pairs of views; one covariance "
        f"for all images {fit['constant_negative_log_likelihood']:.3f} (less is better)",
        size=13, color=MUTED,
    )  # fmt: skip
    for name, top in _ROW_TOPS.items():
        _draw_images(figure, name, data.images[name], top)
    _draw_coverage(figure.add_axes((0.055, 0.075, 0.255, 0.335)), fit)
    _draw_strength(figure.add_axes((0.385, 0.075, 0.255, 0.335)), data)
    _draw_outside(figure.add_axes((0.715, 0.075, 0.255, 0.335)), data)
    return save(path, figure, data.title)


def _draw_images(
    figure: Figure, name: str, images: Sequence[tuple[np.ndarray, float]], top: float
) -> None:
    figure.text(0.03, top + 0.045, name.capitalize(), size=13, weight="bold", color=INK)
    figure.text(
        0.145, top + 0.045, "entropy of the predicted Gaussian, in nats", size=10, color=MUTED
    )
    width, step = 0.068, 0.94 / 12
    for place, (pixels, entropy) in enumerate(images[:12]):
        axes = figure.add_axes((0.03 + place * step, top - 0.078, width, 0.109))
        axes.imshow(pixels, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(LIGHT)
        axes.set_xlabel(f"{entropy:.1f}", size=10, color=INK, labelpad=3)


def _heading(axes: Axes, text: str, note: str) -> None:
    place = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(text, (0, 1), (0, 26), size=13, weight="bold", color=INK, **place)  # type: ignore[arg-type]
    axes.annotate(note, (0, 1), (0, 10), size=10, color=MUTED, **place)  # type: ignore[arg-type]


def _draw_coverage(axes: Axes, fit: Mapping[str, Any]) -> None:
    ratio = fit["distance_ratio"]
    note = f"below the line: too certain; squared distance {ratio:.2f} × predicted"
    _heading(axes, "Coverage", note)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
    levels = [0.0, *fit["levels"], 1.0]
    for name, colour, label in (
        ("intervals", BLUE, "each coordinate's interval"),
        ("ellipsoids", ORANGE, f"ellipsoids in {fit['dim']} dimensions"),
    ):
        axes.plot(levels, [0.0, *fit[name], 1.0], "-o", color=colour, markersize=4, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("nominal", color=MUTED)
    axes.set_ylabel("of held-out pairs", color=MUTED)
    axes.legend(frameon=False, fontsize=10, loc="upper left")
    style(axes)


def _draw_strength(axes: Axes, data: UncertaintyData) -> None:
    found = data.results["strength"]
    note = (
        f"rank correlation {found['rank_correlation']:.2f}, "
        f"within an image {found['within_image']:.2f}"
    )
    _heading(axes, "Predicted variance", note)
    strengths = list(data.by_strength)
    quantiles = np.array(
        [np.quantile(data.by_strength[one], [0.05, 0.25, 0.5, 0.75, 0.95]) for one in strengths]
    ).T
    axes.fill_between(strengths, quantiles[0], quantiles[4], color=BLUE, alpha=0.15, linewidth=0)
    axes.fill_between(strengths, quantiles[1], quantiles[3], color=BLUE, alpha=0.3, linewidth=0)
    axes.plot(strengths, quantiles[2], "-o", color=BLUE, markersize=4)
    if min(strengths) < 1 < max(strengths):
        axes.axvline(1, color=MUTED, linewidth=1, linestyle="--")
    axes.set_xlabel("strength of the augmentations (1: as trained)", color=MUTED)
    axes.set_ylabel("mean over dimensions: median, 50 %, 90 %", color=MUTED)
    style(axes)


def _draw_outside(axes: Axes, data: UncertaintyData) -> None:
    _heading(axes, "Other images", "entropy of the predicted Gaussian; AUROC by entropy")
    everything = np.concatenate([values.ravel() for values in data.entropies.values()])
    bins = np.linspace(everything.min(), everything.max() + 1e-9, 41)
    colours = (BLUE, *_OUTSIDE_COLOURS)
    for (name, values), colour in zip(data.entropies.items(), colours, strict=False):
        area = data.results["outside"].get(name, {}).get("entropy")
        label = shorten(name, 20) + ("" if area is None else f": {area:.3f}")
        weights = np.full(len(values), 1.0 / len(values))
        axes.hist(
            values, bins=bins.tolist(), weights=weights, color=colour, alpha=0.55, label=label
        )
    axes.set_xlabel("nats", color=MUTED)
    axes.set_ylabel("share of the images", color=MUTED)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(frameon=False, fontsize=10, loc="upper right")
    style(axes)
