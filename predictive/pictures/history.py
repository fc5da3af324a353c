"""What was measured during training: losses, scores of decoders and gradients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from solo_ldm.plotting.arrays import Floats, Values, as_array
from solo_ldm.plotting.page import Panel, Rows
from solo_ldm.plotting.scores import Bar, draw_scores
from solo_ldm.plotting.series import draw_losses, draw_series
from solo_ldm.plotting.style import (
    BLUE,
    COLOURS,
    INK,
    LIGHT,
    ORANGE,
    heading,
    legend_above,
    one_line,
)

# Width of the running mean of a noisy series, as a share of its length.
_SMOOTHING = 0.04


def history_rows(
    epochs: Values = (),
    loss: Values = (),
    log_prob: Values = (),
    entropy: Values = (),
    r2: Mapping[str, Values] | None = None,
    cosine_steps: Values = (),
    cosine: Values = (),
    affine_r2: tuple[float, float] | None = None,
    compact: bool = False,
) -> Rows:
    """Show numbers of each epoch, and of some training steps; any of them may be absent.

    Args:
        epochs: (E,).
        loss: of each epoch, (E,), of a step like its terms; NaN where not measured.
        log_prob: mean log p(z_t | z_<t), (E,), as it enters the objective.
        entropy: (E,), as it enters the objective.
        r2: R² of decoders, (E,) each, by name; NaN where not measured.
        cosine_steps: training steps at which gradients were compared, (S,).
        cosine: cosine similarity of the gradients under nearest-neighbour and under stop-gradient
            entropy, (S,).
        affine_r2: R² of an affine map between latents and true state, before and after training.
        compact: the same in a report.

    Returns:
        Rows of the panels "losses", "r2", "cosine" and "affine", of which the first always is.

    Raises:
        ValueError: in one line, for series of unequal lengths.
    """
    x, steps = as_array("epochs", epochs, "epochs"), as_array("cosine_steps", cosine_steps, "steps")
    # A series that is empty was not measured.
    terms = [
        as_array(name, values, "epochs", like=("epochs", x)) if len(values) else x * np.nan
        for name, values in (("loss", loss), ("log_prob", log_prob), ("entropy", entropy))
    ]
    decoders = {
        name: as_array(f"r2[{name!r}]", values, "epochs", like=("epochs", x))
        for name, values in (r2 or {}).items()
    }
    cosines = as_array("cosine", cosine, "steps", like=("cosine_steps", steps))
    panels = [
        Panel("losses", lambda axes: draw_losses(axes[0], x, *terms, unit="per step"), height=3.92)
    ]
    if any(np.isfinite(values).any() for values in decoders.values()):
        panels.append(Panel("r2", lambda axes: _draw_decoders(axes[0], x, decoders)))
    if np.isfinite(cosines).any():
        panels.append(Panel("cosine", lambda axes: _draw_cosine(axes[0], steps, cosines)))
    if affine_r2 is not None and np.isfinite(affine_r2).any():
        width = 0.7 if compact else 1.0
        panels.append(Panel("affine", lambda axes: _draw_affine(axes[0], affine_r2), width))
    if len(panels) < 3:
        return [panels]
    panels = [panel._replace(height=2.72) for panel in panels]
    return [panels[:2], panels[2:]]


def _draw_decoders(axes: Axes, epochs: Floats, decoders: Mapping[str, Floats]) -> None:
    colours, dashes, ends = (BLUE, ORANGE, *COLOURS[4:]), ("-", "--", "-.", ":"), [-np.inf]
    for i, (name, values) in enumerate(decoders.items()):
        last = values[np.isfinite(values)][-1:]
        ends += last.tolist()
        look = {"color": colours[i % len(colours)], "linestyle": dashes[i % 4]}
        draw_series(axes, epochs, values, label=f"{one_line(name, 20)} {last.sum():.3f}", **look)
    axes.set(xlabel="epoch", ylabel="R²")
    low, high = axes.get_ylim()
    # A decoder far worse than the mean in one early epoch must not hide all others.
    axes.set_ylim(max(low, -0.25), min(max(high, 0.1), 1.03))
    legend_above(axes)
    heading(axes, f"R² over training, {max(ends):.3f} at the end")


def _draw_cosine(axes: Axes, steps: Floats, values: Floats) -> None:
    known = np.isfinite(values)
    x, y = steps[known], values[known]
    width = max(1, round(_SMOOTHING * len(y)))
    if width > 1:
        axes.plot(x, y, color=LIGHT, linewidth=0.8)
        kernel = np.ones(width)
        y = np.convolve(y, kernel, "same") / np.convolve(np.ones(len(y)), kernel, "same")
    draw_series(axes, x, y, color=BLUE)
    axes.axhline(0, color=INK, linewidth=1, linestyle=":")
    axes.set(xlabel="training step", ylabel="cosine similarity")
    low, high = axes.get_ylim()
    axes.set_ylim(max(-1.05, min(low, -0.05)), min(1.05, max(high, 0.3)))
    title = f"Cosine of gradients, mean {values[known].mean():.2f}"
    heading(axes, title, "H[z_t | past] by neighbours against stop-gradient")


def _draw_affine(axes: Axes, values: tuple[float, float]) -> None:
    names = ("untrained", "trained")
    bars = [Bar("latents to true state", *pair) for pair in zip(names, values, strict=True)]
    draw_scores(axes, bars, "R² of the affine map", xlabel="R²")
