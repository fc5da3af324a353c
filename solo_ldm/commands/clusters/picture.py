"""A picture of clusters: what classes they hold, how certain they are, and of which images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from solo_ldm.plotting.style import (
    BLUE,
    INK,
    LIGHT,
    MUTED,
    check_path,
    new_figure,
    save,
    shorten,
    style,
)

# Rows of images, and columns of the table of confusions whose counts and names can be read.
_ROWS = 10
_READABLE = 20
_HEADING: Any = {"loc": "left", "size": 13, "weight": "bold", "color": INK}


@dataclass(frozen=True)
class Pictured:
    """Images of one cluster, as (pixels (H, W, 3) in [0, 1], entropy in nats).

    Args:
        most: certain, the most certain first.
        least: certain, the least certain first.
    """

    most: Sequence[tuple[np.ndarray, float]]
    least: Sequence[tuple[np.ndarray, float]]


@dataclass(frozen=True)
class ClustersData:
    """What the picture shows.

    Args:
        title: what was clustered, in a line.
        results: as in clusters.json.
        entropies: of the images' categories, in nats.
        images: by cluster.
    """

    title: str
    results: Mapping[str, Any]
    entropies: np.ndarray
    images: Mapping[int, Pictured]


def write_clusters(path: str | Path, data: ClustersData) -> Path:
    """Draw the picture and write it, whole or not at all.

    Args:
        path: of the PNG; its folder is made.
        data: what it shows.

    Raises:
        ValueError: in one line, for another ending than .png.
    """
    path = check_path(path)
    figure = new_figure(16.0, 10.0, 100)
    results = data.results
    figure.text(0.03, 0.962, shorten(data.title, 110), size=18, weight="bold", color=INK)
    figure.text(
        0.03, 0.928,
        f"{100 * results['accuracy']:.1f} % are in the cluster that stands for their class; "
        f"purity {results['purity']:.3f}, normalised mutual information "
        f"{results['normalised_mutual_information']:.3f}",
        size=13, color=MUTED,
    )  # fmt: skip
    order = _in_order(results)
    _draw_confusion(figure.add_axes((0.085, 0.355, 0.345, 0.50)), results, order)
    _draw_certainty(figure.add_axes((0.085, 0.075, 0.345, 0.15)), data)
    shown = [cluster for cluster in order if cluster in data.images]
    largest = sorted(shown, key=lambda one: -np.array(results["confusion"])[:, one].sum())[:_ROWS]
    _draw_rows(figure, data, [cluster for cluster in shown if cluster in largest])
    return save(path, figure, data.title)


def _in_order(results: Mapping[str, Any]) -> list[int]:
    """Return the clusters in the order of the classes that they stand for; the others last."""
    named = results["class_of_cluster"]
    return sorted(range(len(named)), key=lambda one: (named[one] < 0, named[one], one))


def _draw_confusion(axes: Axes, results: Mapping[str, Any], order: Sequence[int]) -> None:
    counts = np.array(results["confusion"])[:, order]
    classes = [shorten(str(name), 14) for name in results["classes"]]
    of_class = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(of_class, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_title("Images by class and cluster", **_HEADING)
    axes.set_ylabel("class", color=MUTED)
    axes.set_xlabel("cluster, in the order of the classes they stand for", color=MUTED)
    axes.tick_params(colors=MUTED, length=0, labelsize=10)
    axes.spines[:].set_color(LIGHT)
    rows, columns = counts.shape
    if max(rows, columns) > _READABLE:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.set_yticks(range(rows), classes)
    axes.set_xticks(range(columns), [str(cluster) for cluster in order])
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if of_class[row, column] > 0.55 else INK
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", color=colour, size=9
        )


def _draw_certainty(axes: Axes, data: ClustersData) -> None:
    most = np.log(data.results["num_categories"])
    axes.set_title("Entropy of an image's categories", **_HEADING)
    bins = np.linspace(0.0, max(most, 1e-9), 41).tolist()
    # Counts on a logarithmic scale: nearly all images are certain once a run has trained.
    axes.hist(data.entropies, bins=bins, color=BLUE, log=True)
    axes.set_xlim(0.0, most)
    axes.set_xlabel(f"nats, up to log {data.results['num_categories']}", color=MUTED)
    axes.set_ylim(0.5, 2 * len(data.entropies))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_ylabel("images", color=MUTED)
    style(axes)


def _draw_rows(figure: Figure, data: ClustersData, clusters: Sequence[int]) -> None:
    classes, named = data.results["classes"], data.results["class_of_cluster"]
    left, bottom, step = 0.535, 0.055, 0.0825
    figure.text(left, 0.885, "Most certain", size=13, weight="bold", color=INK)
    figure.text(left + 0.232, 0.885, "Least certain", size=13, weight="bold", color=INK)
    figure.text(left + 0.325, 0.886, "with their entropies in nats", size=10, color=MUTED)
    for number, cluster in enumerate(clusters):
        top = bottom + step * (_ROWS - 1 - number)
        name = "–" if named[cluster] < 0 else shorten(str(classes[named[cluster]]), 10)
        figure.text(
            left - 0.012,
            top + 0.031,
            f"{name}\ncluster {cluster}",
            size=10,
            color=INK,
            ha="right",
            va="center",
        )
        groups = (data.images[cluster].most, data.images[cluster].least)
        for group, (images, start) in enumerate(zip(groups, (left, left + 0.232), strict=True)):
            for place, (pixels, entropy) in enumerate(images[:5]):
                _draw_image(figure, pixels, (start + 0.0435 * place, top))
                if group == 1:
                    at = (start + 0.0435 * place + 0.0195, top - 0.004)
                    note = f"{entropy:.2f}"
                    figure.text(*at, note, size=8, color=MUTED, ha="center", va="top")


def _draw_image(figure: Figure, pixels: np.ndarray, corner: tuple[float, float]) -> None:
    axes = figure.add_axes((*corner, 0.039, 0.0624))
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(LIGHT)
