"""Inferred against true observation noise."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from predictive.pictures.layout import Panel, compose
from predictive.pictures.stretches import choose
from predictive.pictures.style import (
    Floats,
    Values,
    as_rows,
    check_shape,
    few_ticks,
    figures,
    heading,
    label,
    legend_above,
)
from solo_ldm.plotting.style import BLUE, ORANGE, check_path, save, say, style

# Dots of more would hide how many there are.
MAX_DOTS = 1500
MAX_BINS = 120
# Without the near-white that would hide single bins.
_BLUES = ListedColormap(colormaps["Blues"](np.linspace(0.25, 1.0, 200)))


@dataclass(frozen=True, eq=False)
class NoiseRecovery:
    """Inferred and true variance of the observation noise in held-out bins.

    Args:
        inferred: variance that the model inferred, (N, T) or (T,), in squared units of the
            latents; NaN where padded.
        true: variance that the data were made with, of the same shape.
        seconds: time of each bin, of the same shape; bins are counted if left out.
        correlation: Pearson's, over all held-out bins; computed from these if left out.
    """

    inferred: Values
    true: Values
    seconds: Values | None = None
    correlation: float | None = None


def write_noise(path: str | os.PathLike[str], data: NoiseRecovery) -> Path:
    """Write inferred against true noise, and a short stretch of both over time.

    Args:
        path: of the PNG, 1600 pixels wide; its folder is made.
        data: what to show.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png or shapes that do not fit.
    """
    path = check_path(path)
    row = [
        Panel(lambda axes: draw_noise(axes[0], data)),
        Panel(lambda axes: draw_noise_over_time(axes[0], data), width=1.7),
    ]
    return save(path, compose([row], size=(12.8, 5.6)), "inferred and true noise")


def draw_noise(axes: Axes, data: NoiseRecovery) -> None:
    """Draw inferred against true variance: dots, or hexagons of their number where many."""
    inferred, true, _ = _arrays(data)
    both = np.isfinite(inferred) & np.isfinite(true)
    x, y = true[both], inferred[both]
    if len(x) < 2:
        say(axes, "There are no finite variances to compare.")
        return
    note = f"{len(x)} held-out bins"
    if len(x) > MAX_DOTS:
        # Few bins with extreme values would squeeze all others into a corner.
        limits = [np.quantile(values, (0.001, 0.999)) for values in (x, y)]
        kept = np.all(
            [(v >= lo) & (v <= hi) for v, (lo, hi) in zip((x, y), limits, strict=True)], 0
        )
        axes.hexbin(x[kept], y[kept], gridsize=32, cmap=_BLUES, bins="log", mincnt=1, linewidths=0)
        note = f"{len(x)} held-out bins, logarithm of their density"
    else:
        axes.scatter(x, y, s=14, color=BLUE, alpha=0.6, linewidths=0)
    style(axes)
    few_ticks(axes, x=5, y=5)
    label(axes, "true variance", "inferred variance")
    correlation = data.correlation
    if correlation is None and x.std() > 0 and y.std() > 0:
        correlation = float(np.corrcoef(x, y)[0, 1])
    heading(axes, "Inferred noise" + figures(correlation, "correlation"), note)


def draw_noise_over_time(axes: Axes, data: NoiseRecovery) -> None:
    """Draw a stretch of both over time, each with mean 0 and variance 1 over all bins."""
    inferred, true, seconds = _arrays(data)
    shown = choose(seconds, np.isfinite(inferred) & np.isfinite(true), MAX_BINS, max_stretches=1)
    if not shown.num_shown:
        say(axes, "There is no stretch of time to show.")
        return
    for values, text, colour, width in (
        (true, "true", BLUE, 3.5),
        (inferred, "inferred", ORANGE, 1.6),
    ):
        spread = np.nanstd(values)
        standard = (values - np.nanmean(values)) / (spread if spread > 0 else 1.0)
        axes.plot(shown.positions, shown.take(standard), color=colour, linewidth=width, label=text)
    style(axes)
    axes.margins(x=0.01)
    label(axes, shown.axis_name if data.seconds is not None else "time (bins)", "z-score")
    legend_above(axes, 2)
    heading(axes, "Noise over time, standardised", "one held-out stretch")


def _arrays(data: NoiseRecovery) -> tuple[Floats, Floats, Floats]:
    inferred, true = as_rows("inferred", data.inferred), as_rows("true", data.true)
    check_shape("true", true, inferred.shape, "inferred")
    if data.seconds is None:
        return inferred, true, np.broadcast_to(np.arange(inferred.shape[1]) + 0.0, inferred.shape)
    seconds = as_rows("seconds", data.seconds)
    check_shape("seconds", seconds, inferred.shape, "inferred")
    return inferred, true, seconds
