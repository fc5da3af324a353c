"""Inferred against true observation noise."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from solo_ldm.plotting.arrays import Floats, Values, as_rows
from solo_ldm.plotting.page import Panel, Rows
from solo_ldm.plotting.style import BLUE, ORANGE, decimals, few_ticks, heading, write_instead
from solo_ldm.plotting.traces import Trace, choose, draw_traces

# Dots of more would hide how many there are.
MAX_DOTS = 1500
MAX_BINS = 120
# Without the near-white that would hide single bins.
_BLUES = ListedColormap(colormaps["Blues"](np.linspace(0.25, 1.0, 200)))


def noise_rows(
    inferred: Values,
    true: Values,
    seconds: Values | None = None,
    correlation: float | None = None,
    compact: bool = False,
) -> Rows:
    """Show inferred against true variance of the observation noise, and both over time.

    Args:
        inferred: variance that the model inferred, (N, T) or (T,), in squared units of the
            latents; NaN where padded.
        true: variance that the data were made with, of the same shape.
        seconds: time of each bin, of the same shape; bins are counted if left out.
        correlation: Pearson's, over all held-out bins; computed from these if left out.
        compact: the same in a report.

    Returns:
        One row of the panels "noise" and "noise over time".

    Raises:
        ValueError: in one line, for shapes that do not fit.
    """
    found = as_rows("inferred", inferred)
    truth = as_rows("true", true, like=("inferred", found))
    times = np.broadcast_to(np.arange(found.shape[1]) + 0.0, found.shape)
    if seconds is not None:
        times = as_rows("seconds", seconds, like=("inferred", found))
    both = np.isfinite(found) & np.isfinite(truth)

    def draw_against(panels: list[Axes]) -> None:
        _draw_against(panels[0], truth[both], found[both], correlation)

    def draw_over_time(panels: list[Axes]) -> None:
        shown = choose(times, both, MAX_BINS, max_stretches=1)
        traces = [
            Trace("true", _standardised(truth), {"color": BLUE, "linewidth": 3.5}),
            Trace("inferred", _standardised(found), {"color": ORANGE, "linewidth": 1.6}),
        ]
        if draw_traces(panels, shown, traces, ["z-score"]):
            if seconds is None:
                panels[0].set_xlabel("time (bins)")
            heading(panels[0], "Noise over time, standardised", "one held-out stretch")

    return [
        [
            Panel("noise", draw_against, height=4.32),
            Panel("noise over time", draw_over_time, width=1.0 if compact else 1.7, height=4.32),
        ]
    ]


def _standardised(values: Floats) -> Floats:
    known = values[np.isfinite(values)]
    if len(known):
        values = (values - known.mean()) / (known.std() or 1.0)
    return values[..., None]


def _draw_against(axes: Axes, x: Floats, y: Floats, correlation: float | None) -> None:
    """Draw inferred against true variance: dots, or hexagons of their number where many."""
    if len(x) < 2:
        write_instead(axes, "There are no finite variances to compare.")
        return
    note = f"{len(x)} held-out bins"
    if len(x) > MAX_DOTS:
        # Few bins with extreme values would squeeze all others into a corner.
        kept = np.ones(len(x), dtype=bool)
        for values in (x, y):
            low, high = np.quantile(values, (0.001, 0.999))
            kept &= (values >= low) & (values <= high)
        axes.hexbin(x[kept], y[kept], gridsize=32, cmap=_BLUES, bins="log", mincnt=1, linewidths=0)
        note += ", logarithm of their density"
    else:
        axes.scatter(x, y, s=14, color=BLUE, alpha=0.6, linewidths=0)
    few_ticks(axes, x=5, y=5)
    axes.set(xlabel="true variance", ylabel="inferred variance")
    if correlation is None and x.std() > 0 and y.std() > 0:
        correlation = float(np.corrcoef(x, y)[0, 1])
    heading(axes, "Inferred noise" + decimals(correlation, "correlation"), note)
