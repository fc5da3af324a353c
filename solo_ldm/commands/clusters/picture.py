"""A picture of clusters: the classes they hold, how certain they are, and some of their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from solo_ldm.plotting.confusion import draw_counts
from solo_ldm.plotting.images import draw_image_rows
from solo_ldm.plotting.page import REPORT, Panel, write_page
from solo_ldm.plotting.style import BLUE, heading, one_line

# Clusters whose images are shown, and of each the most certain and as many of the least certain.
_ROWS, NUM_PICTURED = 10, 5

# (H, W, 3) in [0, 1], and its entropy in nats.
Pictured = tuple[np.ndarray, float]


def write_clusters(
    path: str | Path,
    title: str,
    results: Mapping[str, Any],
    entropies: np.ndarray,
    images: Mapping[int, tuple[Sequence[Pictured], Sequence[Pictured]]],
) -> Path:
    """Draw the picture and write it; see `write_page`.

    Args:
        path: of the PNG.
        title: what was clustered, in a line.
        results: as in results.json.
        entropies: of the images' categories, in nats.
        images: by cluster, the most certain first, and the least certain first.
    """
    named, sizes = results["class_of_cluster"], np.sum(results["confusion"], axis=0)
    # In the order of the classes that the clusters stand for; those that stand for none come last.
    order = sorted(range(len(named)), key=lambda one: (named[one] < 0, named[one], one))
    largest = sorted((one for one in order if one in images), key=lambda one: -sizes[one])[:_ROWS]
    rows = [one for one in order if one in largest]

    def draw_images(axes: Axes, which: int, names: Sequence[str]) -> None:
        shown = [
            [(pixels, f"{entropy:.2f}") for pixels, entropy in images[one][which]] for one in rows
        ]
        draw_image_rows(axes, shown, NUM_PICTURED, names)
        heading(axes, ("Most certain", "Least certain")[which], "with their entropies in nats")

    names = [
        "–" if named[one] < 0 else one_line(results["classes"][named[one]], 10) for one in rows
    ]
    names = [f"{name}\ncluster {one}" for name, one in zip(names, rows, strict=True)]
    left = [
        [Panel("confusion", lambda axes: _draw_confusion(axes[0], results, order), height=5.0)],
        [Panel("entropy", lambda axes: _draw_entropy(axes[0], results, entropies), height=1.5)],
    ]
    row = [
        Panel("left", rows=left, width=1.55, left=0.5),
        Panel("most certain", lambda axes: draw_images(axes[0], 0, names), left=0.6),
        Panel("least certain", lambda axes: draw_images(axes[0], 1, ())),
    ]
    note = (
        f"{100 * results['accuracy']:.1f} % are in the cluster that stands for their class; "
        f"purity {results['purity']:.3f}, normalised mutual information "
        f"{results['normalised_mutual_information']:.3f}"
    )
    return write_page(path, [row], title=title, note=note, **REPORT)


def _draw_confusion(axes: Axes, results: Mapping[str, Any], order: Sequence[int]) -> None:
    counts = np.array(results["confusion"])[:, order]
    classes = [one_line(name, 14) for name in results["classes"]]
    draw_counts(axes, counts, classes, [str(one) for one in order])
    axes.set_aspect("auto")
    axes.set(xlabel="cluster, in the order of the classes they stand for", ylabel="class")
    heading(axes, "Images by class and cluster", "colour: share of the class")


def _draw_entropy(axes: Axes, results: Mapping[str, Any], entropies: np.ndarray) -> None:
    highest = float(np.log(results["num_categories"]))
    # Counts on a logarithmic scale: nearly all images are certain once a run has trained.
    bins = np.linspace(0.0, max(highest, 1e-9), 41).tolist()
    axes.hist(entropies, bins=bins, color=BLUE, log=True)
    axes.set(xlim=(0.0, highest), ylim=(0.5, 2 * len(entropies)), ylabel="images")
    axes.set_xlabel(f"nats, up to log {results['num_categories']}")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    heading(axes, "Entropy of an image's categories")
