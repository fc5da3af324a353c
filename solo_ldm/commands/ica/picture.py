"""Pictures of a separation: sources, mixtures and recovered sources, with the fitted model."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import gammaln
from scipy.stats import gennorm, norm, zscore

from solo_ldm.ica.models import GeneralisedGaussian, OrnsteinUhlenbeck
from solo_ldm.ica.trial import Trial
from solo_ldm.plotting.page import grid_of_axes, legend_below
from solo_ldm.plotting.style import BLUE, COLOURS, INK, LIGHT, MUTED, RED, grid_along, styled

_MOST_SHOWN = 6
_COLUMN_INCHES, _ROW_INCHES = 2.5, 2.4
_SHOWN_STEPS = 600
_BINS = 61

# Of a source in time; without the greys, which mixtures have.
_SOURCE_COLOURS = tuple(COLOURS[i] for i in (0, 1, 2, 4, 8, 5))


@styled
def draw_picture(trial: Trial) -> Figure:
    """Draw a trial: images and histograms, or time courses and autocorrelations.

    Args:
        trial: what to draw; of more than six sources, the first six.

    Returns:
        The figure.
    """
    if isinstance(trial.separation.model, OrnsteinUhlenbeck):
        return _draw_time_courses(trial)
    return _draw_densities(trial)


def title_of(trial: Trial) -> str:
    """Return what was separated and how well."""
    title = f"Linear ICA of {trial.problem.description}"
    if trial.score is None or trial.fast_ica is None:
        return title
    ours, theirs = trial.score.amari_distance, trial.fast_ica.amari_distance
    return f"{title}\nAmari distance {ours:.3f} (FastICA {theirs:.3f}), seed {trial.seed}"


def _draw_densities(trial: Trial) -> Figure:
    problem, shown = trial.problem, min(trial.recovered.shape[1], _MOST_SHOWN)
    signals = {"sources": problem.sources, "mixtures": problem.mixtures}
    images = {
        "sources": problem.images,
        "mixtures": problem.mixed_images,
        "recovered": trial.recovered_images,
    }
    with_images = problem.images is not None
    draw, rows = (_draw_image, images) if with_images else (_draw_histogram, signals)
    draws = {name: partial(draw, row) for name, row in rows.items() if row is not None}
    fitted = f"density of\nrecovered {problem.statistics}" if with_images else "recovered"
    draws[fitted] = partial(_draw_fit, trial, with_images)
    size = (0.6 + _COLUMN_INCHES * max(shown, 3), 0.9 + _ROW_INCHES * len(draws))
    figure, panels = grid_of_axes(len(draws), shown, size, title_of(trial))
    for row, (name, draw_column) in zip(panels, draws.items(), strict=True):
        row[0].set_ylabel(name, size=12, color=INK)
        for column, axes in enumerate(row):
            draw_column(column, axes)
            if trial.score is not None and name == "recovered":
                correlation = trial.score.correlations[column]
                look = {"size": 10, "color": MUTED, "weight": "normal", "loc": "center"}
                axes.set_title(f"correlation {correlation:.4f}", **look)
    legend_below(figure, *panels[-1, 0].get_legend_handles_labels())
    return figure


def _draw_image(images: np.ndarray, column: int, axes: Axes) -> None:
    # The outermost pixels of a mixture would take the contrast from all others.
    low, high = np.quantile(images[column], [0.005, 0.995])
    axes.imshow(images[column], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _draw_histogram(signals: np.ndarray, column: int, axes: Axes) -> None:
    grid_along(axes, "x")
    axes.set_yticks([])
    axes.hist(np.asarray(zscore(signals[:, column])), _edges(4.0), density=True, color=LIGHT)


def _draw_fit(trial: Trial, logarithmic: bool, column: int, axes: Axes) -> None:
    """Draw a recovered source's histogram, the density it was matched to, and a Gaussian."""
    model = trial.separation.model
    if not isinstance(model, GeneralisedGaussian):
        return
    grid_along(axes, "x")
    recovered = trial.recovered[:, column]
    reach = float(np.clip(np.quantile(np.abs(recovered), 0.999), 3.0, 9.0))
    edges = _edges(reach)
    axes.hist(
        recovered, edges, density=True, color=LIGHT, label="recovered", log=logarithmic, zorder=2
    )
    grid = np.linspace(-reach, reach, 601)
    shape = trial.parameters["shape"][column]
    # Of variance one, as in the model.
    scale = np.exp(0.5 * (gammaln(1 / shape) - gammaln(3 / shape)))
    density = gennorm.pdf(grid, shape, scale=scale)
    axes.plot(grid, density, color=BLUE, linewidth=1.8, label="model", zorder=3)
    look = {"color": RED, "linewidth": 1, "linestyle": "--", "zorder": 3}
    gaussian = norm.pdf(grid, scale=recovered.std())
    axes.plot(grid, gaussian, label="Gaussian of the same variance", **look)
    if logarithmic:
        counts, _ = np.histogram(recovered, edges, density=True)
        axes.set_ylim(0.5 * counts[counts > 0].min(), 3 * max(counts.max(), density.max()))
        axes.tick_params(axis="y", labelsize=8)
        axes.minorticks_off()
    else:
        axes.set_yticks([])
    bound = " (bound)" if shape < 1.005 * model.smallest_shape else ""
    text = f"β = {shape:.2f}{bound}"
    if "shape" in trial.problem.truth:
        text += f"\ntrue {trial.problem.truth['shape'][column]:g}"
    axes.text(0.98, 0.96, text, transform=axes.transAxes, ha="right", va="top")


def _draw_time_courses(trial: Trial) -> Figure:
    problem = trial.problem
    step = problem.step_seconds or 1.0
    rows = {"sources": problem.sources, "mixtures": problem.mixtures, "recovered": trial.recovered}
    rows = {name: signals for name, signals in rows.items() if signals is not None}
    size = (13.0, 0.9 + 2.6 * len(rows))
    layout = {"width_ratios": [2.4, 1], "sharex": "col"}
    figure, panels = grid_of_axes(len(rows), 2, size, title_of(trial), **layout)
    shown = min(trial.recovered.shape[1], _MOST_SHOWN)
    fitted = np.asarray(_time_constants(trial, step))
    longest = min(3.0 * float(fitted[:shown].max()), 0.5 * step * len(trial.recovered))
    lags = np.arange(max(int(longest / step), 3))
    for row, (name, signals) in enumerate(rows.items()):
        colours = (MUTED,) * shown if name == "mixtures" else _SOURCE_COLOURS
        _draw_traces(panels[row, 0], signals[:, :shown], step, colours)
        panels[row, 0].set_ylabel(name, size=12, color=INK)
        axes = panels[row, 1]
        for column in range(shown):
            values = autocorrelation(signals[:, column], len(lags))
            axes.plot(lags * step, values, color=colours[column], linewidth=1.6)
            if name == "recovered":
                curve = np.exp(-lags * step / fitted[column])
                axes.plot(lags * step, curve, color=INK, linewidth=1.1, linestyle="--")
        axes.set_ylabel("autocorrelation")
        axes.yaxis.set_major_locator(MaxNLocator(5))
    panels[0, 0].set_title("time courses")
    panels[0, 1].set_title("autocorrelations")
    panels[-1, 0].set_xlabel("time (s)")
    panels[-1, 1].set_xlabel("lag (s); dashed: exponentials of the model")
    panels[-1, 1].text(
        0.98, 0.97, _constants_in_words(trial, fitted, shown), transform=panels[-1, 1].transAxes,
        ha="right", va="top", size=9,
    )  # fmt: skip
    return figure


def _draw_traces(axes: Axes, signals: np.ndarray, step: float, colours: tuple[str, ...]) -> None:
    """Draw signals (T, N) below each other, at one scale."""
    grid_along(axes, "x")
    axes.set_yticks([])
    shown = signals[:_SHOWN_STEPS] - signals.mean(axis=0)
    at, apart = np.arange(len(shown)) * step, 5.0 * signals.std()
    for column, signal in enumerate(shown.T):
        axes.plot(at, signal - apart * column, color=colours[column], linewidth=0.9)
    axes.set_xlim(0, step * len(shown))


def _time_constants(trial: Trial, step: float) -> list[float]:
    if "time_constant_seconds" in trial.parameters:
        return trial.parameters["time_constant_seconds"]
    return [-step / np.log(decay) for decay in trial.parameters["decay"]]


def _constants_in_words(trial: Trial, fitted: np.ndarray, shown: int) -> str:
    lines = ["τ = " + ", ".join(f"{one:.2g}" for one in fitted[:shown]) + " s"]
    true = trial.problem.truth.get("time_constant_seconds")
    if true is not None:
        lines.append("true " + ", ".join(f"{one:.2g}" for one in true[:shown]) + " s")
    if "variance" in trial.parameters:
        variances = trial.parameters["variance"][:shown]
        lines.append("variance " + ", ".join(f"{one:.2g}" for one in variances))
    return "\n".join(lines)


def autocorrelation(signal: np.ndarray, num_lags: int) -> np.ndarray:
    """Return the correlation of a signal (T,) with itself, num_lags long, 1 at lag 0."""
    centred = signal - signal.mean()
    spectrum = np.fft.rfft(centred, 2 * len(centred))
    covariance = np.fft.irfft(np.abs(spectrum) ** 2)[:num_lags]
    return covariance / covariance[0]


def _edges(reach: float) -> list[float]:
    return np.linspace(-reach, reach, _BINS).tolist()
