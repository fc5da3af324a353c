"""One page on a run: losses, health, spectrum, a map of the features, and scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from solo_ldm.plotting.arrays import Floats
from solo_ldm.plotting.embedding import MAX_NAMED_CLASSES, MAX_POINTS, draw_classes, to_plane
from solo_ldm.plotting.page import REPORT, Panel, write_page
from solo_ldm.plotting.scores import Bar, draw_scores
from solo_ldm.plotting.series import draw_losses, draw_series
from solo_ldm.plotting.style import (
    BLUE,
    COLOURS,
    INK,
    MUTED,
    above,
    heading,
    one_line,
    write_instead,
)

_HEALTH = {
    "effective_rank": "effective rank",
    "std": "standard deviation",
    "mean_cosine": "mean cosine",
}


def write_report(
    path: str | os.PathLike[str],
    title: str,
    history: Mapping[str, Sequence[float]] | None = None,
    spectra: Mapping[str, ArrayLike] | None = None,
    features: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    scores: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Draw a report and write it as a PNG of 1600 x 1000 pixels; see `write_page`.

    Args:
        path: of the PNG.
        title: what was trained, in a line.
        history: "epoch", "loss", "log_prob", "entropy", "effective_rank", "std", "mean_cosine",
            each one number an epoch (NaN where not measured), in the scale of the objective.
        spectra: eigenvalues (D,) of the features' covariance, by name.
        features: (M, D) of the validation images, or of training images without labels.
        labels: (M,) integers from 0.
        classes: the names of the classes, in the order of their numbers.
        scores: "top1" and, if measured, "untrained_top1" as shares, 0 to 1, by protocol.

    Raises:
        ValueError: in one line, for series of unequal lengths, or features, labels and classes that
            do not fit.
    """
    history = history or {}
    lengths = {key: len(values) for key, values in history.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"history: expected series of equal length, got {lengths}")
    epochs = np.asarray(history.get("epoch", range(max(lengths.values(), default=0))), dtype=float)
    points, numbers = _check_features(features, labels, classes)
    loss, log_prob, entropy = (history.get(name, ()) for name in ("loss", "log_prob", "entropy"))
    rows = [
        [
            Panel("losses", lambda axes: draw_losses(axes[0], epochs, loss, log_prob, entropy)),
            Panel("health", lambda axes: _draw_health(axes, epochs, history), stack=3),
            Panel("spectrum", lambda axes: _draw_spectra(axes[0], spectra or {})),
        ],
        [
            Panel("features", lambda axes: _draw_map(axes[0], points, numbers, classes), 1.6,
                  right=1.0),
            Panel("scores", lambda axes: _draw_scores(axes[0], scores or {}, numbers)),
        ],
    ]  # fmt: skip
    return write_page(path, rows, title=title, **REPORT)


def _check_features(
    features: ArrayLike | None, labels: ArrayLike | None, classes: Sequence[str] | None
) -> tuple[Floats | None, np.ndarray | None]:
    if features is None:
        return None, None
    points = np.asarray(features, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"features: expected (samples, dimensions), got {points.shape}")
    if labels is None:
        return points, None
    numbers = np.asarray(labels)
    if numbers.shape != (len(points),) or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"labels: expected {len(points)} integers, one per sample, "
            f"got {numbers.dtype} {numbers.shape}"
        )
    if classes is not None and len(numbers) and numbers.max() >= len(classes):
        raise ValueError(
            f"classes: expected a name for each label up to {numbers.max()}, "
            f"got {len(classes)} names"
        )
    return points, numbers


def _draw_health(
    panels: list[Axes], epochs: Floats, history: Mapping[str, Sequence[float]]
) -> None:
    heading(
        panels[0], "Health of the latents", "collapse: the first two near 0, or the last near 1"
    )
    for axes, (key, name) in zip(panels, _HEALTH.items(), strict=True):
        if not draw_series(axes, epochs, history.get(key, ()), color=BLUE):
            write_instead(axes, f"No {name} was recorded.")
            continue
        axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
        above(axes, name, -1, x=1.0, ha="right")
        axes.tick_params(labelbottom=axes is panels[-1])
    panels[-1].set_xlabel("epoch")


def _draw_spectra(axes: Axes, spectra: Mapping[str, ArrayLike]) -> None:
    note = "share of the variance along each principal direction"
    others = iter(COLOURS[4:])
    for name, values in spectra.items():
        eigenvalues = np.sort(np.asarray(values, dtype=float))[::-1]
        if not np.isfinite(eigenvalues).all() or eigenvalues[:1].sum() <= 0:
            continue
        shares = eigenvalues / eigenvalues.sum()
        # Below this the eigenvalues are those of rounding, and would fill most of the panel.
        shares = shares[shares > 1e-7 * shares[0]]
        rank = np.exp(-(shares * np.log(shares)).sum())
        colour = {"trained": BLUE, "untrained": MUTED}.get(name) or next(others, INK)
        axes.loglog(
            np.arange(1, len(shares) + 1), shares, color=colour, linewidth=2,
            linestyle="--" if name == "untrained" else "-",
            label=f"{one_line(name, 24)}  (effective rank {rank:.1f})",
        )  # fmt: skip
    if axes.lines:
        axes.set_xlabel("direction, in order of variance")
        axes.legend(loc="lower left", handlelength=2.4)
    else:
        write_instead(axes, "No spectrum was measured.")
    heading(axes, "Spectrum of the features", note)


def _draw_map(
    axes: Axes, features: Floats | None, labels: np.ndarray | None, classes: Sequence[str] | None
) -> None:
    if features is not None:
        finite = np.isfinite(features).all(axis=1)
        features, labels = features[finite], labels if labels is None else labels[finite]
    if features is None or len(features) < 2:
        write_instead(axes, "There are no finite features to show.")
        heading(axes, "Features")
        return
    num_all = len(features)
    if num_all > MAX_POINTS:
        chosen = np.random.default_rng(0).choice(num_all, MAX_POINTS, replace=False)
        features, labels = features[chosen], labels if labels is None else labels[chosen]
    points, method = to_plane(features)
    count = f"{len(points)} of {num_all}" if num_all > len(points) else f"all {num_all}"
    note = f"{method} of {count} {'training' if labels is None else 'validation'} images"
    num_classes = 0 if labels is None else len(classes or ()) or int(labels.max()) + 1
    if num_classes > MAX_NAMED_CLASSES:
        note += f"; {num_classes} classes"
    heading(axes, "Features", note)
    draw_classes(axes, points, labels, num_classes, classes or ())


def _draw_scores(
    axes: Axes, scores: Mapping[str, Mapping[str, Any]], labels: np.ndarray | None
) -> None:
    if not scores:
        reason = "No protocol was run."
        if labels is None:
            reason = (
                "The data have no labels, so there is nothing to score.\n"
                "Health and spectrum above show whether the latents collapsed."
            )
        write_instead(axes, reason)
        heading(axes, "Scores")
        return
    note = "top-1 on the validation images"
    if labels is not None and len(labels):
        commonest = np.bincount(labels).max() / len(labels)
        axes.axvline(commonest, color=INK, linewidth=1, linestyle=":", zorder=3)
        note += f"  (dotted: commonest class, {commonest:.0%})"
    bars = [
        Bar(protocol, name, score[key])
        for protocol, score in scores.items()
        for key, name in (("top1", "trained"), ("untrained_top1", "untrained"))
        if score.get(key) is not None
    ]
    draw_scores(axes, bars, "Scores", note, percent=True)
