"""One page on a run: losses, health, spectrum, a view of the features, and scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from solo_ldm.plotting.old import (
    BLUE,
    COLOURS,
    DOTS_PER_INCH,
    GRID,
    INK,
    LIGHT,
    MARKERS,
    MUTED,
    RED,
    SIZE_INCHES,
    check_path,
    new_figure,
    save,
    say,
    shorten,
    style,
)

# t-SNE of more takes minutes on a laptop and shows no more.
MAX_POINTS = 1000
# Fewer have no neighbourhoods for t-SNE to keep.
MIN_POINTS_TSNE = 50
# t-SNE's distances need no more directions, and its cost grows with them.
MAX_DIMS_TSNE = 50
MAX_NAMED_CLASSES = 12


@dataclass(frozen=True)
class ReportData:
    """What a report shows; every part but the title may be absent.

    Args:
        title: what was trained, in a line.
        history: "epoch", "loss", "log_prob", "entropy", "effective_rank", "std", "mean_cosine",
            each one number an epoch (NaN where not measured), in the scale of the objective.
        spectra: eigenvalues (D,) of the features' covariance, by name; "trained" and "untrained"
            have colours of their own.
        features: (M, D) of the validation images, or of training images without labels.
        labels: (M,) integers from 0, or None.
        classes: the names of the classes, in the order of their numbers.
        scores: "top1" and, if measured, "untrained_top1" as shares, 0 to 1, by protocol.
    """

    title: str
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    spectra: Mapping[str, ArrayLike] = field(default_factory=dict)
    features: ArrayLike | None = None
    labels: ArrayLike | None = None
    classes: Sequence[str] | None = None
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


def write_report(path: str | os.PathLike[str], data: ReportData) -> Path:
    """Draw a report and write it as a PNG of 1600 x 1000 pixels, whole or not at all.

    Args:
        path: of the PNG; its folder is made.
        data: what to show.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png, series of unequal lengths, or
            features, labels and classes that do not fit.
    """
    path = check_path(path)
    epochs = _check_history(data.history)
    features, labels = _check_features(data)

    figure = new_figure(*SIZE_INCHES, DOTS_PER_INCH)
    title = shorten(data.title, 110)
    # Some 86 characters of the usual size are as wide as the panels.
    size = min(19.0, 19.0 * 86 / max(1, len(title)))
    figure.text(0.04, 0.957, title, size=size, weight="bold", color=INK, va="center")
    sides = {"left": 0.045, "right": 0.975, "wspace": 0.22}
    top = figure.add_gridspec(1, 3, top=0.865, bottom=0.56, **sides)
    # The view, room for the names of its classes, and the scores.
    widths = {"width_ratios": (11, 2.2, 6), "wspace": 0.03}
    bottom = figure.add_gridspec(1, 3, top=0.435, bottom=0.06, **{**sides, **widths})
    health = top[1].subgridspec(3, 1, hspace=0.3)
    _draw_losses(figure.add_subplot(top[0]), epochs, data.history)
    _draw_health([figure.add_subplot(health[row]) for row in range(3)], epochs, data.history)
    _draw_spectra(figure.add_subplot(top[2]), data.spectra)
    _draw_view(figure.add_subplot(bottom[0]), features, labels, data.classes)
    _draw_scores(figure.add_subplot(bottom[2]), data.scores, labels)

    return save(path, figure, data.title)


def _check_history(history: Mapping[str, Sequence[float]]) -> np.ndarray:
    lengths = {key: len(values) for key, values in history.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"history: expected series of equal length, got {lengths}")
    num_epochs = next(iter(lengths.values()), 0)
    return np.asarray(history.get("epoch", np.arange(num_epochs)), dtype=float)


def _check_features(data: ReportData) -> tuple[np.ndarray | None, np.ndarray | None]:
    if data.features is None:
        return None, None
    features = np.asarray(data.features, dtype=np.float64)
    if features.ndim != 2:
        raise ValueError(f"features: expected (samples, dimensions), got {features.shape}")
    if data.labels is None:
        return features, None
    labels = np.asarray(data.labels)
    if labels.shape != (len(features),) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels: expected {len(features)} integers, one per sample, "
            f"got {labels.dtype} {labels.shape}"
        )
    if data.classes is not None and len(labels) and labels.max() >= len(data.classes):
        raise ValueError(
            f"classes: expected a name for each label up to {labels.max()}, "
            f"got {len(data.classes)} names"
        )
    return features, labels


def _title(axes: Axes, title: str, note: str) -> None:
    # In points above the axes, since these are of different heights.
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(title, (0, 1), (0, 25), size=13, weight="bold", color=INK, **place)
    axes.annotate(note, (0, 1), (0, 9), size=10, color=MUTED, **place)


def _plot_epochs(axes: Axes, epochs: np.ndarray, values: Any, **line: Any) -> bool:
    """Plot what was measured, and say whether anything was."""
    values = np.asarray(values, dtype=float)
    measured = np.isfinite(values)
    if not measured.any():
        return False
    marker = "o" if measured.sum() <= 30 else None
    axes.plot(epochs[measured], values[measured], marker=marker, markersize=4, linewidth=2, **line)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.margins(y=0.12)
    return True


def _draw_losses(axes: Axes, epochs: np.ndarray, history: Mapping[str, Sequence[float]]) -> None:
    _title(axes, "Loss", "mean of each epoch, in the scale of the objective")
    terms = (
        ("loss", "loss", 1, INK, "-"),
        ("log_prob", "−log p  (prediction)", -1, BLUE, "-"),
        ("entropy", "H  (entropy)", 1, RED, "--"),
    )
    for key, label, sign, colour, line in terms:
        if key in history:
            values = sign * np.asarray(history[key], dtype=float)
            _plot_epochs(axes, epochs, values, label=label, color=colour, linestyle=line)
    if not axes.lines:
        say(axes, "No loss was recorded.")
        return
    style(axes)
    axes.set_xlabel("epoch", color=MUTED)
    # Headroom: a legend among three curves hides one of them sooner or later.
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.35 * (high - low))
    axes.legend(frameon=False, fontsize=10, labelcolor=INK, handlelength=2.4, loc="upper right")


def _draw_health(
    panels: Sequence[Axes], epochs: np.ndarray, history: Mapping[str, Sequence[float]]
) -> None:
    _title(panels[0], "Health of the latents", "first two near 0, or the last near 1: collapse")
    measures = (
        ("effective_rank", "effective rank"),
        ("std", "standard deviation"),
        ("mean_cosine", "mean cosine"),
    )
    for axes, (key, label) in zip(panels, measures, strict=True):
        if not _plot_epochs(axes, epochs, history.get(key, []), color=BLUE):
            say(axes, f"No {label} was recorded.")
            continue
        style(axes)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
        axes.annotate(
            label, (1, 1), (0, -1), "axes fraction", "offset points",
            size=10, color=INK, ha="right", va="bottom",
        )  # fmt: skip
        if axes is panels[-1]:
            axes.set_xlabel("epoch", color=MUTED)
        else:
            axes.tick_params(labelbottom=False)


def _draw_spectra(axes: Axes, spectra: Mapping[str, ArrayLike]) -> None:
    _title(axes, "Spectrum of the features", "share of the variance along each principal direction")
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
            label=f"{shorten(name, 24)}  (effective rank {rank:.1f})",
        )  # fmt: skip
    if not axes.lines:
        say(axes, "No spectrum was measured.")
        return
    style(axes)
    axes.set_xlabel("direction, in order of variance", color=MUTED)
    axes.legend(frameon=False, fontsize=10, labelcolor=INK, loc="lower left", handlelength=2.4)


def _draw_view(
    axes: Axes,
    features: np.ndarray | None,
    labels: np.ndarray | None,
    classes: Sequence[str] | None,
) -> None:
    if features is not None:
        finite = np.isfinite(features).all(axis=1)
        features, labels = features[finite], labels if labels is None else labels[finite]
    if features is None or len(features) < 2:
        _title(axes, "Features", "")
        say(axes, "There are no finite features to show.")
        return
    num_all = len(features)
    if num_all > MAX_POINTS:
        chosen = np.random.default_rng(0).choice(num_all, MAX_POINTS, replace=False)
        features, labels = features[chosen], labels if labels is None else labels[chosen]
    points, method = _project(features)
    count = f"{len(points)} of {num_all}" if num_all > len(points) else f"all {num_all}"
    split = "training images" if labels is None else "validation images"
    _title(axes, "Features", f"{method} of {count} {split}")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(GRID)
    axes.margins(0.03)
    dots: dict[str, Any] = {"s": 22, "linewidths": 0.3, "edgecolors": "white"}
    if labels is None:
        axes.scatter(*points.T, color=BLUE, **dots)
        return
    num_classes = len(classes) if classes is not None else int(labels.max()) + 1
    if num_classes > MAX_NAMED_CLASSES:
        axes.scatter(*points.T, c=labels, cmap="turbo", vmin=0, vmax=num_classes - 1, **dots)
        axes.annotate(
            f"{num_classes} classes", (1, 1), (0, 9), "axes fraction", "offset points",
            size=10, color=MUTED, ha="right",
        )  # fmt: skip
        return
    names = classes if classes is not None else [str(number) for number in range(num_classes)]
    handles = [
        axes.scatter(
            *points[labels == number].T,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number],
            **dots,
        )
        for number in range(num_classes)
    ]
    legend = axes.legend(
        handles, names, frameon=False, fontsize=10, labelcolor=INK, markerscale=1.4,
        loc="upper left", bbox_to_anchor=(1.0, 1.02), handletextpad=0.2, labelspacing=0.7,
    )  # fmt: skip
    # Set afterwards: matplotlib leaves out entries that start with an underscore.
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(shorten(name, 17))


def _project(features: np.ndarray) -> tuple[np.ndarray, str]:
    """Map features (M, D) to the plane (M, 2); say how."""
    centred = features - features.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    principal = left * singular
    if principal.shape[1] < 2:
        principal = np.pad(principal, ((0, 0), (0, 1)))
    # t-SNE divides by the spread of the first direction.
    collapsed = singular[0] <= 1e-6 * (np.abs(features).max() + 1e-30)
    if len(features) < MIN_POINTS_TSNE or collapsed:
        return principal[:, :2], "principal components"
    principal = principal[:, :MAX_DIMS_TSNE] / principal[:, 0].std()
    # Imported here: scikit-learn takes seconds, and few programs draw a report.
    from sklearn.manifold import TSNE

    points = TSNE(init="pca", perplexity=30, random_state=0).fit_transform(principal)
    return points, "t-SNE"


def _draw_scores(
    axes: Axes, scores: Mapping[str, Mapping[str, float | None]], labels: np.ndarray | None
) -> None:
    if not scores:
        _title(axes, "Scores", "")
        say(
            axes,
            "The data have no labels, so that there is nothing to score.\n"
            "Health and spectrum above tell of a collapse."
            if labels is None
            else "No protocol was run.",
        )
        return
    note = "top-1 on the validation images"
    if labels is not None and len(labels):
        commonest = np.bincount(labels).max() / len(labels)
        axes.axvline(commonest, color=INK, linewidth=1, linestyle=":", zorder=3)
        note += f"  (dotted: commonest class, {commonest:.0%})"
    _title(axes, "Scores", note)
    bars = (("top1", "trained", BLUE, -0.2), ("untrained_top1", "untrained", LIGHT, 0.2))
    for key, label, colour, offset in bars:
        for row, score in enumerate(scores.values()):
            value = score.get(key)
            if value is None:
                continue
            axes.barh(row + offset, value, height=0.36, color=colour)
            axes.annotate(
                f"{label}  {value:.1%}", (value, row + offset), (5, 0), textcoords="offset points",
                size=10, color=INK, va="center",
            )  # fmt: skip
    for row, name in enumerate(scores):
        axes.annotate(
            shorten(name, 40), (0, row - 0.42), (0, 2), textcoords="offset points",
            size=11, weight="bold", color=INK, zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
    style(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.set(yticks=[], xlim=(0, 1.3), ylim=(max(len(scores), 2) - 0.4, -0.75))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
