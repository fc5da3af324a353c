"""Latents over time, with the filter's predictions and estimates."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from solo_ldm.plotting.arrays import Floats, Values, as_array, check_shape, known_bins
from solo_ldm.plotting.page import Panel, Rows
from solo_ldm.plotting.stretches import choose
from solo_ldm.plotting.style import (
    BLUE,
    INK,
    ORANGE,
    few_ticks,
    heading,
    legend_above,
    write_instead,
)

# Share of a normal distribution within two standard deviations, erf(√2).
_WITHIN_TWO_SIGMA = 0.9545
_LOOKS = (
    ("filtered", "filtered state", ORANGE, 0.30),
    ("predicted", r"predicted $p(z_t\,|\,z_{<t})$", BLUE, 0.22),
)


def latent_rows(
    seconds: Values,
    latents: Values,
    predicted_mean: Values | None = None,
    predicted_variance: Values | None = None,
    filtered_mean: Values | None = None,
    filtered_variance: Values | None = None,
    within_band: float | None = None,
    compact: bool = False,
) -> Rows:
    """Show the first dimensions of the latents of one held-out sequence, with two-sigma bands.

    Args:
        seconds: time of each bin, (T,).
        latents: z_t = f(x_t), (T, D).
        predicted_mean: of p(z_t | z_<t), (T, D).
        predicted_variance: of p(z_t | z_<t), (T, D).
        filtered_mean: D E[h_t | z_≤t], the state in the dimensions of the latents, (T, D).
        filtered_variance: its variance, (T, D).
        within_band: share of held-out z_t within the predicted two-sigma band, 0 to 1; counted in
            this sequence if left out.
        compact: fewer dimensions and bins, for a report.

    Returns:
        Rows of one panel, with axes for each of up to four dimensions.

    Raises:
        ValueError: in one line, for shapes that do not fit.
    """
    z = as_array("latents", latents, "time", "dimensions")
    times = as_array("seconds", seconds, "time")
    check_shape("seconds", times, z.shape[:1], "latents, without their dimensions")
    beliefs = {
        "predicted": _belief("predicted", z, predicted_mean, predicted_variance),
        "filtered": _belief("filtered", z, filtered_mean, filtered_variance),
    }
    shown = choose(times[None], known_bins(z[None]), 100 if compact else 150, max_stretches=1)
    share = _share_within(z, *beliefs["predicted"]) if within_band is None else within_band

    def draw(panels: list[Axes]) -> None:
        if not shown.num_shown:
            write_instead(panels, "There are no finite latents to show.")
            return
        for dim, axes in enumerate(panels):
            _draw_dimension(axes, dim)
            few_ticks(axes, y=4 if len(panels) > 2 else 5, stacked=len(panels) > 1)
            axes.tick_params(labelbottom=axes is panels[-1])
        panels[-1].set_xlabel("time (s)")
        # What was drawn last comes first: observed latents before what the filter makes of them.
        handles, names = panels[0].get_legend_handles_labels()
        legend_above(panels[0], handles=handles[::-1], labels=names[::-1])
        banded = any(deviation is not None for _, deviation in beliefs.values())
        title, note = "Latents over time", "bands: 2 σ" if banded else "one held-out sequence"
        if share is not None and np.isfinite(share):
            title += f": {share:.1%} within the predicted band"
            note += f" ({_WITHIN_TWO_SIGMA:.1%} if calibrated)"
        heading(panels[0], title, note)

    def _draw_dimension(axes: Axes, dim: int) -> None:
        x = shown.positions
        for name, text, colour, strength in _LOOKS:
            mean, deviation = beliefs[name]
            if mean is None:
                continue
            middle = shown.take(mean[None])[:, dim]
            axes.plot(x, middle, color=colour, linewidth=1.6, label=text, zorder=3)
            if deviation is not None:
                reach = 2.0 * shown.take(deviation[None])[:, dim]
                band = (middle - reach, middle + reach)
                axes.fill_between(x, *band, color=colour, alpha=strength, linewidth=0)
        dots = shown.take(z[None])[:, dim]
        axes.plot(x, dots, "o", color=INK, markersize=3.2, label=r"$z_t = f(x_t)$", zorder=4)
        axes.set_xlim(np.nanmin(x), max(np.nanmax(x), np.nanmin(x) + 1e-9))
        axes.set_ylabel(f"$z_{{{dim + 1}}}$")

    dims = max(1, min(z.shape[1], 3 if compact else 4))
    height = (3.1, 4.7, 5.9, 6.7)[dims - 1]
    return [[Panel("latents", draw, width=2.0, height=height, stack=dims)]]


def _belief(
    name: str, latents: Floats, mean: Values | None, variance: Values | None
) -> tuple[Floats | None, Floats | None]:
    """Return mean and standard deviation, each where given."""
    if mean is None:
        if variance is not None:
            raise ValueError(f"{name}_variance: expected {name}_mean beside it, got none")
        return None, None
    middle = as_array(f"{name}_mean", mean, "time", "dimensions")
    check_shape(f"{name}_mean", middle, latents.shape, "latents")
    if variance is None:
        return middle, None
    spread = as_array(f"{name}_variance", variance, "time", "dimensions")
    check_shape(f"{name}_variance", spread, latents.shape, "latents")
    return middle, np.sqrt(np.maximum(spread, 0.0))


def _share_within(latents: Floats, mean: Floats | None, deviation: Floats | None) -> float | None:
    if mean is None or deviation is None:
        return None
    distance = np.abs(latents - mean) / np.where(deviation > 0, deviation, np.nan)
    known = np.isfinite(distance)
    return float((distance[known] <= 2.0).mean()) if known.any() else None
