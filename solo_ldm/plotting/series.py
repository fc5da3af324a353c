"""What was measured over training."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from solo_ldm.plotting.arrays import Floats, Values, as_array
from solo_ldm.plotting.style import BLUE, INK, RED, heading, legend_above, write_instead


def draw_series(axes: Axes, x: Floats, values: Values, **line: Any) -> bool:
    """Draw what is finite of a series, with dots where it is short.

    Args:
        axes: to draw on.
        x: epochs or steps, (E,).
        values: (E,); NaN where not measured.
        line: for matplotlib.

    Returns:
        Whether there was anything to draw.
    """
    y = as_array("values", values, "epochs")
    known = np.isfinite(y)
    if not known.any():
        return False
    marker = "o" if known.sum() <= 30 else None
    axes.plot(x[known], y[known], **{"marker": marker, "markersize": 4, "linewidth": 2, **line})
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    axes.margins(x=0.03, y=0.08)
    return True


def draw_losses(
    axes: Axes,
    epochs: Floats,
    loss: Values,
    log_prob: Values,
    entropy: Values,
    unit: str = "scale of the objective",
) -> None:
    """Draw the loss, −log p and the entropy, each (E,), in one unit."""
    terms = (
        ("loss", loss, 1.0, INK, "-"),
        ("−log p", log_prob, -1.0, BLUE, "-"),
        ("entropy", entropy, 1.0, RED, "--"),
    )
    for name, values, sign, colour, dashes in terms:
        values = sign * as_array(name, values, "epochs")
        draw_series(axes, epochs, values, color=colour, linestyle=dashes, label=name)
    if not axes.lines:
        write_instead(axes, "No loss was recorded.")
        heading(axes, "Loss")
        return
    axes.set(xlabel="epoch", ylabel=unit)
    legend_above(axes)
    heading(axes, "Loss and its terms", "mean of each epoch")
