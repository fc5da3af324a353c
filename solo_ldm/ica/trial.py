"""One problem separated and compared with the true sources, where they are known."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from solo_ldm.ica.metrics import Matching, amari_distance, fast_ica, match_sources
from solo_ldm.ica.problems import Problem
from solo_ldm.ica.separation import Separation, separate


class Score(NamedTuple):
    """An unmixing compared with the true sources.

    Args:
        amari_distance: from 0 to 1.
        correlations: of each true source with its recovered one, absolute.
    """

    amari_distance: float
    correlations: tuple[float, ...]


@dataclass(frozen=True)
class Trial:
    """A problem and its separation.

    Args:
        seed: of the problem and of the separation.
        problem: the mixtures.
        separation: as found; its sources are in arbitrary order.
        unmixing: W (N, N), its rows in the order and with the signs of the true sources, if known.
        recovered: (T, N), likewise.
        recovered_images: (N, H, W), likewise, where the sources are images.
        parameters: what the model learned, a number for each source, likewise.
        score: of the unmixing; None where the true sources are not known.
        fast_ica: score of scikit-learn's FastICA on the same mixtures, likewise.
        fast_ica_converged: whether FastICA converged.
        seconds: that the separation took.
    """

    seed: int
    problem: Problem
    separation: Separation
    unmixing: np.ndarray
    recovered: np.ndarray
    recovered_images: np.ndarray | None
    parameters: dict[str, list[float]]
    score: Score | None
    fast_ica: Score | None
    fast_ica_converged: bool
    seconds: float


def run_trial(problem: Problem, seed: int, **settings: Any) -> Trial:
    """Separate the sources of a problem and compare them with the true ones.

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
    order, signs = np.arange(len(unmixing)), np.ones(len(unmixing))
    score = other_score = None
    converged = False
    if problem.sources is not None:
        (order, signs, _), score = _score(problem, unmixing, recovered)
        other, converged = fast_ica(problem.mixtures, seed)
        centred = problem.mixtures - problem.mixtures.mean(axis=0)
        _, other_score = _score(problem, other, centred @ other.T)
    unmixing = unmixing[order] * signs[:, None]
    images = None
    if problem.mixed_images is not None:
        centred = problem.mixed_images - problem.mixed_images.mean(axis=(1, 2), keepdims=True)
        images = np.einsum("ij,jhw->ihw", unmixing, centred)
    learned = separation.model.learned_parameters()
    if problem.step_seconds is not None and "decay" in learned:
        time_constants = -problem.step_seconds / np.log(learned["decay"])
        learned["time_constant_seconds"] = time_constants.tolist()
    return Trial(
        seed=seed,
        problem=problem,
        separation=separation,
        unmixing=unmixing,
        recovered=recovered[:, order] * signs,
        recovered_images=images,
        parameters={name: [values[i] for i in order] for name, values in learned.items()},
        score=score,
        fast_ica=other_score,
        fast_ica_converged=converged,
        seconds=seconds,
    )


def _score(problem: Problem, unmixing: np.ndarray, recovered: np.ndarray) -> tuple[Matching, Score]:
    if problem.sources is None or problem.mixing is None:
        raise ValueError("problem: expected the mixing beside the sources, got the sources alone")
    matching = match_sources(recovered, problem.sources)
    distance = amari_distance(unmixing, problem.mixing)
    return matching, Score(distance, tuple(matching.correlations.tolist()))
