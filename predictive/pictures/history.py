"""What training did: losses, scores and gradients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from predictive.pictures.layout import Panel, compose
from predictive.pictures.style import (
    Floats,
    Values,
    as_array,
    check_shape,
    heading,
    label,
    legend_above,
)
from solo_ldm.plotting.style import (
    BLUE,
    COLOURS,
    INK,
    LIGHT,
    ORANGE,
    RED,
    check_path,
    save,
    say,
    shorten,
    style,
)

# Of the running mean of a noisy series, in shares of its length.
_SMOOTHING = 0.04


@dataclass(frozen=True, eq=False)
class TrainingHistory:
    """Numbers of each epoch, and of some training steps; every part may be absent.

    Args:
        epochs: (E,).
        loss: of each epoch, (E,), in the scale of the objective; NaN where not measured.
        log_prob: mean log p(z_t | z_<t), (E,), as it enters the objective.
        entropy: (E,), as it enters the objective.
        r2: R² of decoders, (E,) each, by name; NaN where not measured.
        cosine_steps: training steps at which gradients were compared, (S,).
        cosine: cosine similarity of the gradients under nearest-neighbour and under stop-gradient
            entropy, (S,).
        affine_r2: R² of an affine map between latents and true state, before and after training.
    """

    epochs: Values = ()
    loss: Values = ()
    log_prob: Values = ()
    entropy: Values = ()
    r2: Mapping[str, Values] = field(default_factory=dict)
    cosine_steps: Values = ()
    cosine: Values = ()
    affine_r2: tuple[float, float] | None = None


def write_history(path: str | os.PathLike[str], data: TrainingHistory) -> Path:
    """Write what was measured during training, a panel each.

    Args:
        path: of the PNG, 1600 pixels wide; its folder is made.
        data: what to show.

    Returns:
        The path.

    Raises:
        ValueError: in one line, for another ending than .png or series of unequal lengths.
    """
    path = check_path(path)
    panels = [Panel(lambda axes, p=p: draw_history(axes[0], data, p)) for p in parts(data)]
    rows = [panels[:2], panels[2:]] if len(panels) > 2 else [panels]
    return save(path, compose(rows, (12.8, 8.0 if len(panels) > 2 else 5.2)), "training")


def parts(data: TrainingHistory) -> list[str]:
    """Return what there is to draw, at least "losses"."""
    _check(data)
    found = ["losses"]
    if any(_any_finite(values) for values in data.r2.values()):
        found.append("r2")
    if _any_finite(data.cosine):
        found.append("cosine")
    if data.affine_r2 is not None and np.isfinite(data.affine_r2).any():
        found.append("affine")
    return found


def draw_history(axes: Axes, data: TrainingHistory, part: str) -> None:
    """Draw one of `parts`."""
    _check(data)
    draw = {"losses": _losses, "r2": _decoders, "cosine": _cosine, "affine": _affine}[part]
    draw(axes, data)


def _check(data: TrainingHistory) -> None:
    shape = as_array("epochs", data.epochs, "epochs").shape
    series = {"loss": data.loss, "log_prob": data.log_prob, "entropy": data.entropy}
    for name, values in {**series, **{f"r2[{k!r}]": v for k, v in data.r2.items()}}.items():
        array = as_array(name, values, "epochs")
        if len(array) or name.startswith("r2"):
            check_shape(name, array, shape, "epochs")
    steps = as_array("cosine_steps", data.cosine_steps, "steps")
    check_shape("cosine", as_array("cosine", data.cosine, "steps"), steps.shape, "cosine_steps")


def _any_finite(values: Values) -> bool:
    return bool(np.isfinite(as_array("values", values, "epochs")).any())


def _line(axes: Axes, x: Floats, values: Values, **settings: Any) -> bool:
    """Draw what was measured, and say whether anything was."""
    y = as_array("values", values, "epochs")
    known = np.isfinite(y)
    if not known.any():
        return False
    marker = "o" if known.sum() <= 30 else None
    axes.plot(x[known], y[known], marker=marker, markersize=4, linewidth=2, **settings)
    return True


def _finish(axes: Axes, x: str, y: str) -> None:
    style(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.margins(x=0.03, y=0.08)
    label(axes, x, y)


def _losses(axes: Axes, data: TrainingHistory) -> None:
    epochs = as_array("epochs", data.epochs, "epochs")
    terms = (
        ("loss", data.loss, INK, "-"),
        ("log p", data.log_prob, BLUE, "-"),
        ("entropy", data.entropy, RED, "--"),
    )
    for name, values, colour, line in terms:
        _line(axes, epochs, values, color=colour, linestyle=line, label=name)
    if not axes.lines:
        say(axes, "No loss was recorded.")
        heading(axes, "Loss and its terms")
        return
    _finish(axes, "epoch", "objective’s scale")
    legend_above(axes, len(axes.lines))
    heading(axes, "Loss and its terms", "mean of each epoch")


def _decoders(axes: Axes, data: TrainingHistory) -> None:
    epochs = as_array("epochs", data.epochs, "epochs")
    colours = (BLUE, ORANGE, *COLOURS[4:])
    lines = ("-", "--", "-.", ":")
    ends: list[float] = []
    for i, (name, values) in enumerate(data.r2.items()):
        look = {"color": colours[i % len(colours)], "linestyle": lines[i % 4]}
        y = as_array(name, values, "epochs")
        if np.isfinite(y).any():
            ends.append(y[np.isfinite(y)][-1])
            _line(axes, epochs, y, label=f"{shorten(name, 20)} {ends[-1]:.3f}", **look)
    _finish(axes, "epoch", "R²")
    low, high = axes.get_ylim()
    # A decoder far worse than the mean in one early epoch must not hide all others.
    axes.set_ylim(max(low, -0.25), min(max(high, 0.1), 1.03))
    legend_above(axes, len(axes.lines))
    heading(axes, f"R² over training, {max(ends):.3f} at the end")


def _cosine(axes: Axes, data: TrainingHistory) -> None:
    steps = as_array("cosine_steps", data.cosine_steps, "steps")
    values = as_array("cosine", data.cosine, "steps")
    known = np.isfinite(values)
    x, y = steps[known], values[known]
    width = max(1, round(_SMOOTHING * len(y)))
    if width > 1:
        axes.plot(x, y, color=LIGHT, linewidth=0.8)
        kernel = np.ones(width)
        y = np.convolve(y, kernel, "same") / np.convolve(np.ones(len(y)), kernel, "same")
    axes.plot(x, y, color=BLUE, linewidth=2, marker=None if len(x) > 30 else "o", markersize=4)
    axes.axhline(0, color=INK, linewidth=1, linestyle=":")
    _finish(axes, "training step", "cosine similarity")
    low, high = axes.get_ylim()
    axes.set_ylim(max(-1.05, min(low, -0.05)), min(1.05, max(high, 0.3)))
    heading(
        axes,
        f"Cosine of gradients, mean {values[known].mean():.2f}",
        "nearest neighbour against stop-gradient",
    )


def _affine(axes: Axes, data: TrainingHistory) -> None:
    pairs = zip(("before", "after"), data.affine_r2 or (), (LIGHT, BLUE), strict=False)
    for i, (_, value, colour) in enumerate(pairs):
        shown = value if np.isfinite(value) else 0.0
        axes.bar(i, shown, width=0.6, color=colour)
        text = f"{value:.3f}" if np.isfinite(value) else "not finite"
        axes.annotate(
            text, (i, max(shown, 0.0)), (0, 4), textcoords="offset points", size=11, color=INK,
            ha="center",
        )  # fmt: skip
    style(axes, grid="y")
    axes.axhline(0, color=INK, linewidth=1)
    low = min([0.0, *(v for v in data.affine_r2 or () if np.isfinite(v))])
    axes.set(xlim=(-0.7, 1.7), ylim=(max(1.1 * low, -1.0), 1.12))
    axes.set_xticks([0, 1], ["before", "after"])
    axes.set_yticks([tick for tick in np.linspace(-1, 1, 11).round(1) if tick >= low])
    label(axes, y="R²")
    heading(axes, "R² of the affine map", "latents to true state, by training")
