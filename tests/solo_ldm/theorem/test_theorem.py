"""The theorem: sources, mixing, wrong latents, scores, and a short training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from solo_ldm.entropy import ENTROPIES as REGISTRY
from solo_ldm.entropy import KernelEntropy
from solo_ldm.theorem import (
    ALTERNATIVES,
    CASES,
    ENTROPIES,
    Problem,
    affine_recovery,
    compare_losses,
    run_trial,
)
from solo_ldm.theorem.alternatives import forward_loss, gaussianising
from solo_ldm.theorem.problems import shear, swirl
from solo_ldm.theorem.trial import build_objective
from tests.support.studies.theorem import few_samples


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def kurtosis(samples: torch.Tensor) -> torch.Tensor:
    centred = samples - samples.mean(dim=0)
    return centred.pow(4).mean(dim=0) / centred.square().mean(dim=0).square()


# Sources.


def test_residuals_are_white_gaussians_where_the_assumptions_hold():
    drawn = Problem("holds").residuals(100_000, generator())
    assert torch.allclose(torch.cov(drawn.T), torch.eye(3), atol=0.02)
    assert kurtosis(drawn).tolist() == pytest.approx([3.0] * 3, abs=0.1)


def test_bimodal_residuals_have_the_same_covariance_and_are_far_from_gaussian():
    drawn = Problem("non_gaussian").residuals(100_000, generator())
    assert torch.allclose(torch.cov(drawn.T), torch.eye(3), atol=0.02)
    assert kurtosis(drawn).max() < 1.5


def test_singular_residuals_lack_a_dimension_that_the_sources_have():
    problem = Problem("singular")
    drawn = problem.residuals(10_000, generator())
    assert int(torch.linalg.matrix_rank(torch.cov(drawn.T))) == 2
    sources = problem.pairs(10_000, generator())[1]
    assert sources.std(dim=0).min() > 0.4


def test_what_follows_on_a_source_is_its_mean_and_the_residual():
    problem = Problem("holds")
    source = draw(1, 3).float()
    follows = problem.follow(source.expand(50_000, 3), generator())
    assert torch.allclose(follows.mean(dim=0), problem.mean(source)[0], atol=0.03)
    assert torch.allclose(torch.cov(follows.T), torch.eye(3), atol=0.03)


@pytest.mark.parametrize(
    ("name", "dimensions"), [("holds", 3), ("non_gaussian", 3), ("singular", 3), ("blind", 1)]
)
def test_conditional_means_span_the_space_unless_the_predictor_is_blind(name, dimensions):
    problem = Problem(name)
    means = problem.mean(problem.pairs(5000, generator())[0])
    values = torch.linalg.svdvals(means - means.mean(dim=0)) / len(means) ** 0.5
    assert int((values > 0.1).sum()) == dimensions
    assert int((values > 1e-5).sum()) == dimensions


@pytest.mark.parametrize("name", CASES)
def test_the_series_are_stationary(name):
    before, after = Problem(name).pairs(40_000, generator())
    assert torch.allclose(before.mean(dim=0), after.mean(dim=0), atol=0.04)
    assert torch.allclose(torch.cov(before.T), torch.cov(after.T), atol=0.06)


def test_in_sheared_sources_noise_is_additive_where_source_two_has_none():
    problem = Problem("singular")
    source = draw(1, 3).float()
    sheared = shear(problem.follow(source.expand(2000, 3), generator()), -1.0)
    residual = sheared - shear(problem.mean(source), -1.0)
    expected = problem.residuals(2000, generator())
    assert torch.allclose(residual, expected, atol=1e-5)


# Mixing.


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mixing_is_injective_with_a_jacobian_far_from_singular(seed):
    problem = Problem("holds", seed)
    for source in problem.pairs(30, generator(seed))[0].double():
        jacobian = torch.autograd.functional.jacobian(lambda s: problem.observe(s[None])[0], source)
        assert torch.linalg.det(jacobian.T @ jacobian).sqrt() > 0.999


def test_the_mixing_depends_on_the_seed_and_not_on_the_case():
    sources = draw(20, 3)
    same = [Problem(name, 1).observe(sources) for name in CASES]
    assert all(torch.equal(one, same[0]) for one in same)
    assert not torch.allclose(Problem("holds", 2).observe(sources), same[0])


def test_no_affine_map_of_the_observations_gives_the_sources():
    for name in CASES:
        problem = Problem(name)
        sources = problem.pairs(8000, generator())[0]
        assert affine_recovery(problem.observe(sources), sources).r2 < 0.98


# Wrong latents.


@pytest.mark.parametrize("change", [swirl, shear])
def test_swirl_and_shear_preserve_volume(change):
    for source in draw(20, 3):
        jacobian = torch.autograd.functional.jacobian(lambda s: change(s[None])[0], source)
        assert float(torch.linalg.det(jacobian)) == pytest.approx(1.0, abs=1e-9)


def test_a_swirl_keeps_white_gaussians_and_is_not_affine():
    sources = draw(40_000, 3)
    swirled = swirl(sources)
    # A white Gaussian: independent coordinates with Gaussian moments, also between each other.
    assert torch.allclose(torch.cov(swirled.T), torch.eye(3).double(), atol=0.03)
    assert kurtosis(swirled).tolist() == pytest.approx([3.0] * 3, abs=0.15)
    squares = swirled[:, :2].square()
    assert float((squares[:, 0] * squares[:, 1]).mean()) == pytest.approx(1.0, abs=0.05)
    assert affine_recovery(swirled, sources).over((0, 1)) < 0.9


def test_the_shear_has_its_inverse():
    sources = draw(20, 3)
    assert torch.allclose(shear(shear(sources), -1.0), sources)


def test_the_gaussianising_map_makes_gaussians_and_is_increasing():
    samples = Problem("non_gaussian").pairs(20_000, generator())[1]
    warp = gaussianising(samples)
    warped = warp(Problem("non_gaussian").pairs(20_000, generator(1))[1])
    assert kurtosis(warped).tolist() == pytest.approx([3.0] * 3, abs=0.2)
    line = torch.linspace(-6, 6, 200)[:, None].expand(200, 3)
    assert bool((warp(line).diff(dim=0) > 0).all())


@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_excludes_every_alternative_where_the_assumptions_hold_and_none_where_not(seed):
    objective = build_objective("neighbour")
    gaps = {}
    for name in CASES:
        problem = Problem(name, seed)
        pairs = problem.pairs(2048, generator(seed))
        gaps[name] = compare_losses(problem, objective, pairs)[1]
    assert set(gaps["holds"]) == set(ALTERNATIVES)
    assert min(gaps["holds"].values()) > 0.02
    assert gaps["non_gaussian"]["warp"] < -0.02
    assert abs(gaps["singular"]["shear"]) < 0.01
    assert abs(gaps["blind"]["swirl"]) < 0.01


def test_the_forward_loss_is_minus_the_log_density_of_what_follows_minus_the_pooled_entropy():
    objective = build_objective("neighbour", {"clip_quantile": 1.0})
    z1, z2, prediction = draw(50, 3), draw(50, 3, seed=1), draw(50, 3, seed=2)
    log_prob = -0.5 * (z2 - prediction).square().mean()
    entropy = objective.entropy.pooled(z1, z2)
    value = forward_loss(objective, z1, z2, prediction)
    assert float(value) == pytest.approx(float(-log_prob - entropy), abs=1e-12)


def test_an_estimator_of_a_users_own_needs_no_further_line(monkeypatch):
    monkeypatch.setitem(REGISTRY, "own", type("OwnEntropy", (KernelEntropy,), {}))
    own, kernel = build_objective("own", {"kernel_precision": 15.0}), build_objective("kernel")
    assert own.weight == kernel.weight == 1 / 3
    pair = draw(50, 3), draw(50, 3, seed=1)
    assert torch.equal(own.entropy.pooled(*pair), kernel.entropy.pooled(*pair))


@pytest.mark.parametrize("entropy", [*ENTROPIES, "logdet_expansion"])
def test_unit_residuals_are_near_the_best_scale_of_every_entropy(entropy):
    objective = build_objective(entropy)
    problem = Problem("holds")
    before, after = (s.double() for s in problem.pairs(512, generator()))
    losses = {
        scale: float(
            forward_loss(objective, scale * before, scale * after, scale * problem.mean(before))
        )
        for scale in (0.5, 1.0, 2.0)
    }
    assert min(losses, key=lambda scale: losses[scale]) == 1.0


# Scores.


def test_affine_recovery_is_one_for_affine_maps_of_the_sources():
    sources = draw(400, 3)
    recovery = affine_recovery(sources @ draw(3, 3, seed=1) + 7.0, sources)
    assert recovery.r2 == pytest.approx(1.0, abs=1e-12)
    assert recovery.per_source == pytest.approx([1.0] * 3)
    aligned = recovery.align(sources @ draw(3, 3, seed=1) + 7.0)
    assert np.allclose(aligned, sources.numpy())


def test_affine_recovery_does_not_change_under_affine_maps_of_the_latents():
    sources = draw(400, 3)
    latents = sources.tanh()
    before = affine_recovery(latents, sources)
    after = affine_recovery(latents @ draw(3, 3, seed=1) * 1e4 - 3.0, sources)
    assert 0.7 < before.r2 < 0.98
    assert after.per_source == pytest.approx(before.per_source)


def test_recovery_over_some_sources_is_that_of_these_alone():
    sources = draw(400, 3)
    latents = torch.cat([sources[:, :2], draw(400, 1, seed=1)], dim=1)
    recovery = affine_recovery(latents, sources)
    assert recovery.over((0, 1)) == pytest.approx(1.0)
    assert recovery.over((2,)) == pytest.approx(recovery.per_source[2])
    assert recovery.over((2,)) < 0.1


# A training in small.


def test_training_finds_more_of_the_sources_than_the_observations_show():
    trial = run_trial(Problem("holds", 1), steps=300, batch_size=128)
    assert trial.learned.r2 > trial.observed.r2 > trial.untrained.r2
    assert trial.learned.r2 > 0.95
    assert trial.grid.true.shape == trial.grid.recovered.shape == trial.grid.observed.shape
    assert np.isfinite(trial.recovered).all()
    assert math.isfinite(trial.learned_gap)


def test_the_same_seed_gives_the_same_trial_and_leaves_the_global_generator():
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    with few_samples():
        first, second = (
            run_trial(Problem("blind", 3), steps=5, batch_size=32, hidden=8) for _ in range(2)
        )
    assert torch.equal(torch.randn(3), expected)
    assert first.learned.r2 == second.learned.r2
    assert first.gaps == second.gaps


REFUSED = {
    "case": lambda: Problem("blond"),
    "entropy": lambda: build_objective("exact"),
    "no nats": lambda: build_objective("vicreg"),
    "setting": lambda: build_objective("neighbour", {"ridge": 1.0}),
    "batch": lambda: run_trial(Problem("holds"), batch_size=2),
    "diverged": lambda: run_trial(Problem("holds"), steps=30, lr=1e25, batch_size=32),
    "shapes": lambda: affine_recovery(draw(10, 3), draw(9, 3)),
    "few": lambda: affine_recovery(draw(8, 3), draw(8, 3)),
    "nan": lambda: affine_recovery(draw(50, 3) * math.nan, draw(50, 3)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(case):
    with few_samples(), pytest.raises(ValueError, match=r"^[^\n]+$"):
        REFUSED[case]()
