"""Maps of features: principal components, t-SNE or UMAP, with or without colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from solo_ldm.plotting.arrays import Floats
from solo_ldm.plotting.style import BLUE, COLOURS, MARKERS, above, box, one_line

# t-SNE of more takes minutes on a laptop and shows no more.
MAX_POINTS = 1000
# Fewer have no neighbourhoods for t-SNE to keep.
MIN_POINTS_TSNE = 50
# Distances need no more directions, and the cost grows with them.
MAX_DIMS_TSNE = 50
MAX_NAMED_CLASSES = 12


def principal_components(features: Floats, count: int) -> tuple[Floats, Floats]:
    """Return principal components, and the share of the variance of each.

    Args:
        features: (M, D), finite.
        count: of the components; 0 where there are fewer dimensions.

    Returns:
        (M, count) and (count,).
    """
    left, singular, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    missing = (0, max(count - len(singular), 0))
    shares = singular**2 / max((singular**2).sum(), 1e-300)
    components = np.pad(left * singular, ((0, 0), missing))[:, :count]
    return components, np.pad(shares, missing)[:count]


def to_plane(features: Floats, umap: bool = False) -> tuple[Floats, str]:
    """Map features to the plane, the same for the same features.

    Args:
        features: (M, D), finite.
        umap: by UMAP where it is installed (extra umap), else by t-SNE.

    Returns:
        (M, 2), and the name of the method: principal components for few or collapsed features.
    """
    principal, _ = principal_components(features, max(2, min(MAX_DIMS_TSNE, features.shape[1])))
    # t-SNE divides by the spread of the first direction.
    spread = principal[:, 0].std()
    collapsed = spread * len(features) ** 0.5 <= 1e-6 * (np.abs(features).max() + 1e-30)
    if len(features) < MIN_POINTS_TSNE or collapsed:
        return principal[:, :2], "principal components"
    if umap and find_spec("umap"):
        from umap import UMAP  # pyright: ignore[reportMissingImports]

        return UMAP(random_state=0, n_jobs=1).fit_transform(principal / spread), "UMAP"
    # Imported here: scikit-learn takes seconds, and few programs draw a map.
    from sklearn.manifold import TSNE

    tsne = TSNE(init="pca", perplexity=30, random_state=0)
    return tsne.fit_transform(principal / spread), "t-SNE"


def draw_classes(
    axes: Axes,
    points: Floats,
    labels: np.ndarray | None,
    num_classes: int,
    classes: Sequence[str],
) -> None:
    """Draw points without axes, up to 12 classes in colours with their names on the right.

    Args:
        axes: to draw on.
        points: (M, 2).
        labels: (M,) integers from 0; None where nothing is labelled.
        num_classes: more than any label.
        classes: their names; numbers where there are none.
    """
    axes.set(xticks=[], yticks=[])
    box(axes)
    axes.margins(0.03)
    dots: dict[str, Any] = {"s": 22, "linewidths": 0.3, "edgecolors": "white"}
    if labels is None:
        axes.scatter(*points.T, color=BLUE, **dots)
        return
    if num_classes > MAX_NAMED_CLASSES:
        axes.scatter(*points.T, c=labels, cmap="turbo", vmin=0, vmax=num_classes - 1, **dots)
        return
    for number in range(num_classes):
        look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number], **dots}
        axes.scatter(*points[labels == number].T, **look)
    # Names are set afterwards: matplotlib leaves out entries that start with an underscore.
    names = [str(number) for number in range(num_classes)]
    legend = axes.legend(
        axes.collections, names, markerscale=1.4, loc="upper left", bbox_to_anchor=(1.0, 1.02),
        handletextpad=0.2, labelspacing=0.7,
    )  # fmt: skip
    for text, name in zip(legend.get_texts(), classes, strict=False):
        text.set_text(one_line(name, 17))


def colour_bar_above(axes: Axes, drawn: ScalarMappable) -> None:
    """Put the scale of the colours above the axes on the right, between its ends."""
    low, high = drawn.get_clim()
    end = above(axes, _rounded(high, high - low), 8, x=1.0, ha="right")
    whole, text = axes.get_window_extent(), end.get_window_extent()
    # One text in height, a quarter of the axes in width.
    right = (text.x0 - whole.x0) / whole.width - 0.02
    place = (right - 0.25, (text.y0 - whole.y0) / whole.height, 0.25, text.height / whole.height)
    bar = axes.inset_axes(place)
    axes.figure.colorbar(drawn, cax=bar, orientation="horizontal")
    bar.set_axis_off()
    above(axes, _rounded(low, high - low), 8, x=right - 0.27, ha="right")


def _rounded(value: float, span: float) -> str:
    """Return a value with as many decimals as give three digits of the span."""
    digits = 2 - math.floor(math.log10(span)) if span > 0.0 else 2
    return f"{round(value, digits) + 0.0:g}".replace("-", "−")
