"""Sources recovered by linear ICA, and settings that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from solo_ldm.ica import (
    ICA_ENTROPIES,
    GeneralisedGaussian,
    OrnsteinUhlenbeck,
    amari_distance,
    separate,
)
from solo_ldm.ica.photographs import photographs
from solo_ldm.ica.problems import Problem, generalised_gaussian, ornstein_uhlenbeck
from solo_ldm.ica.trial import run_trial
from tests.support.studies.ica import draw, mixed_uniform

SEEDS = (0, 1, 2)


def small(task: str, seed: int, **settings) -> Problem:
    if task == "images":
        return photographs(3, 64, seed=seed, **settings)
    if task == "generalised_gaussian":
        return generalised_gaussian(4, 3000, seed=seed, **settings)
    return ornstein_uhlenbeck(3, 8000, seed=seed, **settings)


def model_of(task: str) -> str:
    return "ornstein_uhlenbeck" if task == "ornstein_uhlenbeck" else "generalised_gaussian"


@pytest.mark.parametrize("task", ["images", "generalised_gaussian", "ornstein_uhlenbeck"])
def test_sources_are_recovered_and_fast_ica_is_no_better(task):
    ours, theirs = [], []
    for seed in SEEDS:
        trial = run_trial(small(task, seed), seed, model=model_of(task), restarts=1)
        assert trial.score is not None
        assert min(trial.score.correlations) > 0.99
        ours.append(trial.score.amari_distance)
        assert trial.fast_ica is not None
        theirs.append(trial.fast_ica.amari_distance)
    assert max(ours) < 0.05
    assert np.mean(ours) <= np.mean(theirs) + 0.002
    if task == "ornstein_uhlenbeck":
        assert min(theirs) > 0.1


def test_what_the_model_learns_is_in_the_order_of_the_true_sources():
    problem = generalised_gaussian(3, 8000, [8.0, 1.0, 4.0])
    trial = run_trial(problem, 0, restarts=1)
    assert trial.parameters["shape"] == pytest.approx([8.0, 1.0, 4.0], rel=0.15)
    problem = ornstein_uhlenbeck(3, 10_000, 0.1, [0.5, 3.0, 0.1])
    trial = run_trial(problem, 0, model="ornstein_uhlenbeck", restarts=1)
    assert trial.parameters["time_constant_seconds"] == pytest.approx([0.5, 3.0, 0.1], rel=0.2)


def test_sharp_densities_are_learned_where_they_are_allowed():
    problem = generalised_gaussian(2, 3000, [0.7, 4.0])
    trial = run_trial(problem, 0, smallest_shape=0.4, restarts=2)
    assert trial.parameters["shape"][0] == pytest.approx(0.7, rel=0.1)
    assert trial.score is not None
    assert trial.score.amari_distance < 0.05


@pytest.mark.parametrize("entropy", ICA_ENTROPIES)
def test_every_entropy_recovers_the_sources(entropy):
    problem = generalised_gaussian(2, 2000, [1.0, 8.0], seed=3)
    trial = run_trial(problem, 3, entropy=entropy, restarts=1, entropy_samples=300)
    assert trial.score is not None
    assert trial.score.amari_distance < 0.05


def test_an_orthogonal_unmixing_gives_uncorrelated_sources():
    found = separate(mixed_uniform(2000), unmixing="orthogonal", restarts=1)
    covariance = torch.cov(found.sources.T)
    assert torch.allclose(covariance, torch.eye(3, dtype=torch.float64), atol=1e-8)


@pytest.mark.parametrize(
    ("apart", "unmixing", "succeeds"),
    [
        ({"time_constants_seconds": [0.2, 2.0], "variances": [1.0, 1.0]}, "square", True),
        ({"time_constants_seconds": [1.0, 1.0], "variances": [0.25, 1.0]}, "square", False),
        ({"time_constants_seconds": [1.0, 1.0], "variances": [0.25, 1.0]}, "rotation", True),
        ({"time_constants_seconds": [0.2, 2.0], "variances": [1.0, 1.0]}, "rotation", True),
    ],
)
def test_processes_are_separated_by_time_constants_and_if_rotated_by_variances(
    apart, unmixing, succeeds
):
    distances = []
    for seed in SEEDS:
        problem = ornstein_uhlenbeck(
            2, 10_000, 0.2, rotation=unmixing == "rotation", seed=seed, **apart
        )
        settings = {"model": "ornstein_uhlenbeck", "unmixing": unmixing, "restarts": 1}
        trial = run_trial(problem, seed, **settings)
        assert trial.score is not None
        distances.append(trial.score.amari_distance)
    assert max(distances) < 0.05 if succeeds else max(distances) > 0.1


def test_pixels_alone_are_not_independent_enough():
    distances = {}
    for statistics in ("pixels", "differences"):
        trial = run_trial(photographs(3, 64, statistics, seed=0), 0, restarts=1)
        assert trial.score is not None
        distances[statistics] = trial.score.amari_distance
    assert distances["pixels"] > 2 * distances["differences"]


def test_images_are_recovered_up_to_scale():
    trial = run_trial(small("images", 0), 0, restarts=1)
    assert trial.recovered_images is not None
    assert trial.problem.images is not None
    for recovered, image in zip(trial.recovered_images, trial.problem.images, strict=True):
        assert np.corrcoef(recovered.ravel(), image.ravel())[0, 1] > 0.99


def test_the_same_seed_gives_the_same_separation():
    first, second = (separate(mixed_uniform(), seed=4, restarts=2) for _ in range(2))
    assert torch.equal(first.unmixing, second.unmixing)
    assert first.restart_losses == second.restart_losses
    assert first.loss == min(first.restart_losses)


def test_the_result_does_not_depend_on_the_mixing():
    problem = generalised_gaussian(3, 1500, seed=1)
    assert problem.sources is not None
    other = problem.sources @ draw(3, 3, seed=9).numpy().T
    found = [separate(torch.from_numpy(x), restarts=2) for x in (problem.mixtures, other)]
    assert found[0].loss == pytest.approx(found[1].loss, abs=1e-6)


def test_sources_are_what_the_unmixing_makes_of_the_mixtures():
    mixtures = mixed_uniform() + 7.0
    found = separate(mixtures, restarts=1)
    assert torch.allclose(found.sources, (mixtures - found.mean) @ found.unmixing.T)


# What is refused, each in one line.


REFUSED = {
    "a vector": lambda: separate(torch.zeros(10)),
    "transposed": lambda: separate(draw(3, 50)),
    "one mixture": lambda: separate(draw(50, 1)),
    "not finite": lambda: separate(torch.full((9, 2), torch.nan)),
    "dependent": lambda: separate(draw(50, 2) @ torch.ones(2, 3, dtype=torch.float64)),
    "constant": lambda: separate(torch.ones(50, 2)),
    "model": lambda: separate(draw(50, 2), "gaussian"),
    "unmixing": lambda: separate(draw(50, 2), unmixing="diagonal"),  # pyright: ignore
    "rotation": lambda: separate(draw(50, 2), unmixing="rotation"),
    "entropy": lambda: separate(draw(50, 2), entropy="vicreg"),
    "setting": lambda: separate(draw(50, 2), entropy="kernel", entropy_kwargs={"precision": 1}),
    "exact": lambda: separate(draw(50, 2), entropy_kwargs={"ridge": 1}),
    "bounded": lambda: separate(draw(50, 2), "ornstein_uhlenbeck", entropy="kernel"),
    "restarts": lambda: separate(draw(50, 2), restarts=0),
    "shape": lambda: GeneralisedGaussian(2, 0.5),
    "decay": lambda: OrnsteinUhlenbeck(2, decay=1.0),
    "sources": lambda: GeneralisedGaussian(2).log_prob(draw(5, 3)),
    "amari": lambda: amari_distance(np.eye(2), np.eye(3)),
    "singular": lambda: amari_distance(np.zeros((2, 2)), np.eye(2)),
    "pieces": lambda: photographs(12, 200),
    "size": lambda: photographs(2, 1000),
    "shapes": lambda: generalised_gaussian(3, 100, [1.0, 2.0]),
    "samples": lambda: generalised_gaussian(4, 3),
    "steps": lambda: ornstein_uhlenbeck(4, 4),
    "time constants": lambda: ornstein_uhlenbeck(2, 100, 0.1, [1.0, -1.0]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(case):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        REFUSED[case]()
