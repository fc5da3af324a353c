"""A problem told apart and compared with the truth, where there is one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from solo_ldm.ica.metrics import amari_distance, fast_ica, match_sources
from solo_ldm.ica.problems import Problem
from solo_ldm.ica.separation import Separation, separate


@dataclass(frozen=True)
class Truth:
    """How far from the true sources a separation is.

    Args:
        amari_distance: of the unmixing, from 0 to 1.
        correlations: of each true source with its recovered one, absolute.
        fast_ica_amari_distance: of scikit-learn's FastICA on the same mixtures.
        fast_ica_correlations: of its sources.
        fast_ica_converged: whether FastICA came to an end by itself.
    """

    amari_distance: float
    correlations: tuple[float, ...]
    fast_ica_amari_distance: float
    fast_ica_correlations: tuple[float, ...]
    fast_ica_converged: bool


@dataclass(frozen=True)
class Trial:
    """A problem and what came of it.

    Args:
        seed: of the problem and of the separation.
        problem: the mixtures.
        separation: as found; its sources are in no particular order.
        unmixing: W (N, N), its rows in the order and with the signs of the true sources, if known.
        recovered: (T, N), likewise.
        recovered_images: (N, H, W), likewise, where the sources are images.
        parameters: what the model learned, a number for each source, likewise.
        truth: the comparison; None where the true sources are not known.
        seconds: that the separation took.
    """

    seed: int
    problem: Problem
    separation: Separation
    unmixing: np.ndarray
    recovered: np.ndarray
    recovered_images: np.ndarray | None
    parameters: dict[str, list[float]]
    truth: Truth | None
    seconds: float


def run_trial(problem: Problem, seed: int, **settings: Any) -> Trial:
    """Tell the sources of a problem apart.

    Args:
        problem: the mixtures.
        seed: of the starts, also FastICA's.
        settings: of `separate`.

    Raises:
        ValueError: as `separate`.
    """
    started = time.perf_counter()
    separation = separate(torch.from_numpy(problem.mixtures), seed=seed, **settings)
    seconds = time.perf_counter() - started
    unmixing, recovered = separation.unmixing.numpy(), separation.sources.numpy()
    order, signs, truth = np.arange(len(unmixing)), np.ones(len(unmixing)), None
    if problem.sources is not None:
        matching = match_sources(recovered, problem.sources)
        order, signs = matching.order, matching.signs
        truth = _compare(problem, unmixing, matching.correlations, seed)
    unmixing = unmixing[order] * signs[:, None]
    images = None
    if problem.mixed_images is not None:
        centred = problem.mixed_images - problem.mixed_images.mean(axis=(1, 2), keepdims=True)
        images = np.einsum("ij,jhw->ihw", unmixing, centred)
    return Trial(
        seed=seed,
        problem=problem,
        separation=separation,
        unmixing=unmixing,
        recovered=recovered[:, order] * signs,
        recovered_images=images,
        parameters={
            name: [values[i] for i in order]
            for name, values in learned(separation, problem.step_seconds).items()
        },
        truth=truth,
        seconds=seconds,
    )


def _compare(problem: Problem, unmixing: np.ndarray, matched: np.ndarray, seed: int) -> Truth:
    sources, mixing = problem.sources, problem.mixing
    if sources is None or mixing is None:
        raise ValueError("problem: expected the mixing beside the sources, got the sources alone")
    other = fast_ica(problem.mixtures, seed)
    centred = problem.mixtures - problem.mixtures.mean(axis=0)
    others = match_sources(centred @ other.unmixing.T, sources)
    return Truth(
        amari_distance=amari_distance(unmixing, mixing),
        correlations=tuple(matched.tolist()),
        fast_ica_amari_distance=amari_distance(other.unmixing, mixing),
        fast_ica_correlations=tuple(others.correlations.tolist()),
        fast_ica_converged=other.converged,
    )


def learned(separation: Separation, step_seconds: float | None) -> dict[str, list[float]]:
    """Return what the model learned, by name; decays as time constants where there is time."""
    words = separation.model.parameters_in_words()
    if step_seconds is not None and "decay" in words:
        decays = np.asarray(words["decay"])
        words["time_constant_seconds"] = (-step_seconds / np.log(decays)).tolist()
    return words
