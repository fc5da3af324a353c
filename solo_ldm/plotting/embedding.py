"""Maps of features: principal components, with or without colours."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from solo_ldm.plotting.arrays import Floats
from solo_ldm.plotting.style import above


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
