"""Latents over time, with the filter's predictions and estimates."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from solo_ldm.plotting.arrays import Values, as_rows, known_bins
from solo_ldm.plotting.page import Panel, Rows
from solo_ldm.plotting.style import BLUE, INK, ORANGE, heading
from solo_ldm.plotting.traces import Trace, choose, draw_traces

# Share of a normal distribution within two standard deviations, erf(√2).
_WITHIN_TWO_SIGMA = 0.9545
_NAMES = {"filtered": "filtered state", "predicted": r"predicted $p(z_t\,|\,z_{<t})$"}


def latent_rows(
    seconds: Values,
    latents: Values,
    predicted_mean: Values | None = None,
    predicted_variance: Values | None = None,
    filtered_mean: Values | None = None,
    filtered_variance: Values | None = None,
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
        compact: fewer dimensions and bins, for a report.

    Returns:
        Rows of one panel, with axes for each of up to four dimensions.

    Raises:
        ValueError: in one line, for shapes that do not fit.
    """
    z = as_rows("latents", latents, "dimensions")
    times = as_rows("seconds", seconds, like=("latents", z))
    shown = choose(times, known_bins(z), 100 if compact else 150, max_stretches=1)
    dots = {"color": INK, "marker": "o", "markersize": 3.2, "linestyle": "", "zorder": 4}
    traces = [Trace(r"$z_t = f(x_t)$", z, dots)]
    note, title = "one held-out sequence", "Latents over time"
    for name, colour, mean, variance in (
        ("predicted", BLUE, predicted_mean, predicted_variance),
        ("filtered", ORANGE, filtered_mean, filtered_variance),
    ):
        if mean is None:
            if variance is not None:
                raise ValueError(f"{name}_variance: expected {name}_mean beside it, got none")
            continue
        middle, band = as_rows(f"{name}_mean", mean, "dimensions", like=("latents", z)), None
        if variance is not None:
            spread = as_rows(f"{name}_variance", variance, "dimensions", like=("latents", z))
            reach = 2.0 * np.sqrt(np.maximum(spread, 0.0))
            band, note = (middle - reach, middle + reach), "bands: 2 σ"
            known = np.isfinite(z - middle) & (reach > 0)
            if name == "predicted" and known.any():
                share = (np.abs(z - middle) <= reach)[known].mean()
                title += f": {share:.1%} within the predicted band"
        look = {"color": colour, "linewidth": 1.6, "zorder": 3 if name == "predicted" else 2.5}
        traces.append(Trace(_NAMES[name], middle, look, band))
    if "within" in title:
        note += f" ({_WITHIN_TWO_SIGMA:.1%} if calibrated)"

    def draw(panels: list[Axes]) -> None:
        names = [f"$z_{{{dim + 1}}}$" for dim in range(len(panels))]
        if draw_traces(panels, shown, traces, names, empty="There are no finite latents to show."):
            heading(panels[0], title, note)

    dims = max(1, min(z.shape[2], 3 if compact else 4))
    height = (3.1, 4.7, 5.9, 6.7)[dims - 1]
    return [[Panel("latents", draw, width=2.0, height=height, stack=dims)]]
