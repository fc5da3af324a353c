"""Linear ICA as latent distribution matching: densities, the entropy term, recovered sources."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from solo_ldm.ica import (
    ICA_ENTROPIES,
    GeneralisedGaussian,
    ICAObjective,
    OrnsteinUhlenbeck,
    amari_distance,
    fast_ica,
    ica_entropy,
    match_sources,
    separate,
)
from solo_ldm.ica.photographs import photographs
from solo_ldm.ica.problems import (
    Problem,
    generalised_gaussian,
    ornstein_uhlenbeck,
    random_mixing,
)
from solo_ldm.ica.trial import run_trial

SEEDS = (0, 1, 2)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixed_uniform(num_samples: int = 400, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    sources = torch.rand(num_samples, 3, generator=generator, dtype=torch.float64) - 0.5
    return sources @ draw(3, 3, seed=seed + 1).T


# Densities.


@pytest.mark.parametrize("shape", [0.6, 1.0001, 1.5, 2.0, 8.0])
def test_generalised_gaussian_is_scipys_gennorm_of_variance_one(shape):
    model = GeneralisedGaussian(1, shape, smallest_shape=0.5)
    at = torch.linspace(-3, 3, 61, dtype=torch.float64)[:, None]
    scale = math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))
    expected = stats.gennorm.logpdf(at.numpy(), shape, scale=scale)
    assert np.allclose(model.log_prob(at).detach().numpy(), expected, atol=1e-10)
    assert stats.gennorm.var(shape, scale=scale) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [0.6, 1.5, 4.0])
def test_generalised_gaussian_integrates_to_one(shape):
    model = GeneralisedGaussian(1, shape, smallest_shape=0.5)

    def density(value: float) -> float:
        at = torch.tensor([[value], [value]], dtype=torch.float64)
        return float(model.log_prob(at)[0, 0].exp().detach())

    assert 2 * quad(density, 0, 60, points=[0.01, 1, 5], limit=200)[0] == pytest.approx(1, abs=1e-6)


def test_shape_two_is_the_gaussian():
    z = draw(20, 2)
    expected = stats.norm.logpdf(z.numpy())
    assert np.allclose(GeneralisedGaussian(2, 2.0).log_prob(z).detach().numpy(), expected)


def test_gradients_are_finite_where_a_sharp_density_meets_zero():
    model = GeneralisedGaussian(2, 0.6, smallest_shape=0.5)
    z = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    gradients = torch.autograd.grad(model.log_prob(z).sum(), [z, model.position])
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_ornstein_uhlenbeck_is_scipys_multivariate_normal():
    decay, variance, steps = [0.3, 0.9], [0.5, 2.0], 7
    model = OrnsteinUhlenbeck(2, True, decay, variance)
    z = draw(steps, 2)
    lags = np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    for i in range(2):
        covariance = variance[i] * decay[i] ** lags
        normal = stats.multivariate_normal(np.zeros(steps), covariance)  # pyright: ignore
        expected = normal.logpdf(z[:, i].numpy())
        assert float(model.log_prob(z)[:, i].sum().detach()) == pytest.approx(expected, abs=1e-10)


def test_time_constants_are_those_of_the_decays():
    model = OrnsteinUhlenbeck(2, decay=[math.exp(-0.1 / 5.0), math.exp(-0.1 / 0.2)])
    assert model.time_constants(0.1).tolist() == pytest.approx([5.0, 0.2])


def test_simulated_processes_have_their_variances_and_autocorrelations():
    problem = ornstein_uhlenbeck(2, 200_000, 0.1, [0.2, 1.0], [0.25, 2.0], rotation=True)
    assert problem.sources is not None
    assert problem.sources.var(axis=0) == pytest.approx([0.25, 2.0], rel=0.05)
    for i, constant in enumerate((0.2, 1.0)):
        source = problem.sources[:, i]
        lagged = np.mean(source[3:] * source[:-3]) / np.mean(source**2)
        assert lagged == pytest.approx(math.exp(-0.3 / constant), abs=0.02)


def test_drawn_sources_have_variance_one_and_their_shape():
    problem = generalised_gaussian(2, 100_000, [1.0, 8.0])
    assert problem.sources is not None
    assert problem.sources.var(axis=0) == pytest.approx([1.0, 1.0], rel=0.03)
    for i, shape in enumerate((1.0, 8.0)):
        scale = math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))
        frozen = stats.gennorm(shape, scale=scale)
        assert stats.kstest(problem.sources[:5000, i], frozen.cdf).pvalue > 0.01


# The entropy term.


def test_the_gradient_of_the_exact_entropy_is_the_inverse_transpose():
    unmixing = draw(4, 4).requires_grad_()
    entropy = ICAObjective(GeneralisedGaussian(4))(draw(50, 4), unmixing).entropy
    (gradient,) = torch.autograd.grad(entropy, unmixing)
    assert torch.allclose(gradient, torch.linalg.inv(unmixing.detach()).T)


def test_logdet_is_the_exact_entropy_up_to_a_constant():
    mixtures, model = mixed_uniform(), GeneralisedGaussian(3)
    exact = ICAObjective(model)
    estimate = ICAObjective(model, ica_entropy("logdet", {"ridge": 1e-12}))
    constants, gradients = [], []
    for seed in (5, 6):
        unmixing = draw(3, 3, seed=seed).requires_grad_()
        values = [objective(mixtures, unmixing) for objective in (exact, estimate)]
        constants.append(float(values[1].entropy.detach() - values[0].entropy.detach()))
        gradients.append([torch.autograd.grad(one.loss, unmixing)[0] for one in values])
    assert constants[0] == pytest.approx(constants[1], abs=1e-6)
    assert all(torch.allclose(*pair, rtol=1e-5, atol=1e-6) for pair in gradients)


def test_nearest_neighbours_follow_a_scaling_exactly():
    objective = ICAObjective(GeneralisedGaussian(3), ica_entropy("neighbour"))
    identity = torch.eye(3, dtype=torch.float64)
    mixtures = mixed_uniform()
    before, after = (float(objective(mixtures, s * identity).entropy.detach()) for s in (1.0, 2.0))
    assert after - before == pytest.approx(3 * math.log(2.0), abs=1e-6)


def test_loss_is_minus_log_prob_minus_entropy():
    terms = ICAObjective(GeneralisedGaussian(3))(mixed_uniform(), draw(3, 3))
    assert float(terms.loss.detach()) == pytest.approx(
        float((-terms.log_prob - terms.entropy).detach())
    )


# The Amari distance and the matching.


def test_amari_distance_is_zero_for_scaled_permutations_alone():
    mixing = draw(4, 4).numpy()
    permutation = np.eye(4)[[2, 0, 3, 1]] * np.array([3.0, -0.1, 1.0, 20.0])
    assert amari_distance(permutation @ np.linalg.inv(mixing), mixing) == pytest.approx(0, abs=1e-9)
    other = draw(4, 4, seed=1).numpy()
    assert amari_distance(other, mixing) > 0.1


def test_amari_distance_ignores_order_sign_and_scale_of_what_was_recovered():
    unmixing, mixing = draw(3, 3).numpy(), draw(3, 3, seed=1).numpy()
    changed = (np.diag([5.0, -1.0, 0.01]) @ unmixing)[[1, 2, 0]]
    expected = amari_distance(unmixing, mixing)
    assert amari_distance(changed, mixing) == pytest.approx(expected)
    assert amari_distance(unmixing @ np.linalg.inv(mixing), np.eye(3)) != pytest.approx(expected)


def test_amari_distance_is_one_where_every_source_is_everywhere():
    hadamard = np.array([[1.0, 1.0], [1.0, -1.0]])
    assert amari_distance(hadamard, np.eye(2)) == pytest.approx(1.0)


def test_matching_finds_order_and_signs():
    sources = draw(200, 3).numpy()
    recovered = sources[:, [2, 0, 1]] * np.array([-2.0, 1.0, 0.5])
    matching = match_sources(recovered, sources)
    assert matching.order.tolist() == [1, 2, 0]
    assert matching.signs.tolist() == [1.0, 1.0, -1.0]
    assert matching.correlations == pytest.approx(np.ones(3))


# Recovered sources.


def small(task: str, seed: int, **settings) -> Problem:
    if task == "images":
        return photographs(3, 64, seed=seed, **settings)
    if task == "generalised_gaussian":
        return generalised_gaussian(4, 4000, seed=seed, **settings)
    return ornstein_uhlenbeck(3, 8000, seed=seed, **settings)


def model_of(task: str) -> str:
    return "ornstein_uhlenbeck" if task == "ornstein_uhlenbeck" else "generalised_gaussian"


@pytest.mark.parametrize("task", ["images", "generalised_gaussian", "ornstein_uhlenbeck"])
def test_sources_are_recovered_and_fast_ica_is_no_better(task):
    ours, theirs = [], []
    for seed in SEEDS:
        trial = run_trial(small(task, seed), seed, model=model_of(task), restarts=1)
        assert trial.truth is not None
        assert min(trial.truth.correlations) > 0.99
        ours.append(trial.truth.amari_distance)
        theirs.append(trial.truth.fast_ica_amari_distance)
    assert max(ours) < 0.05
    assert np.mean(ours) <= np.mean(theirs) + 0.002
    if task == "ornstein_uhlenbeck":
        assert min(theirs) > 0.1


def test_what_the_model_learns_is_in_the_order_of_the_true_sources():
    problem = generalised_gaussian(3, 20_000, [8.0, 1.0, 4.0])
    trial = run_trial(problem, 0, restarts=1)
    assert trial.parameters["shape"] == pytest.approx([8.0, 1.0, 4.0], rel=0.15)
    problem = ornstein_uhlenbeck(3, 20_000, 0.1, [0.5, 3.0, 0.1])
    trial = run_trial(problem, 0, model="ornstein_uhlenbeck", restarts=1)
    assert trial.parameters["time_constant_seconds"] == pytest.approx([0.5, 3.0, 0.1], rel=0.2)


def test_sharp_densities_are_learned_where_they_are_allowed():
    problem = generalised_gaussian(2, 5000, [0.7, 4.0])
    trial = run_trial(problem, 0, smallest_shape=0.4, restarts=2)
    assert trial.parameters["shape"][0] == pytest.approx(0.7, rel=0.1)
    assert trial.truth is not None
    assert trial.truth.amari_distance < 0.05


@pytest.mark.parametrize("entropy", ICA_ENTROPIES)
def test_every_entropy_recovers_the_sources(entropy):
    problem = generalised_gaussian(2, 2000, [1.0, 8.0], seed=3)
    trial = run_trial(problem, 3, entropy=entropy, restarts=1, entropy_samples=300)
    assert trial.truth is not None
    assert trial.truth.amari_distance < 0.05


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
def test_processes_are_told_apart_by_time_constants_and_if_rotated_by_variances(
    apart, unmixing, succeeds
):
    distances = []
    for seed in SEEDS:
        problem = ornstein_uhlenbeck(
            2, 20_000, 0.2, rotation=unmixing == "rotation", seed=seed, **apart
        )
        settings = {"model": "ornstein_uhlenbeck", "unmixing": unmixing, "restarts": 1}
        trial = run_trial(problem, seed, **settings)
        assert trial.truth is not None
        distances.append(trial.truth.amari_distance)
    assert max(distances) < 0.05 if succeeds else max(distances) > 0.1


def test_pixels_alone_are_not_independent_enough():
    distances = {}
    for statistics in ("pixels", "differences"):
        trial = run_trial(photographs(3, 80, statistics, seed=0), 0, restarts=1)
        assert trial.truth is not None
        distances[statistics] = trial.truth.amari_distance
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
    problem = generalised_gaussian(3, 4000, seed=1)
    assert problem.sources is not None
    other = problem.sources @ draw(3, 3, seed=9).numpy().T
    found = [separate(torch.from_numpy(x), restarts=2) for x in (problem.mixtures, other)]
    assert found[0].loss == pytest.approx(found[1].loss, abs=1e-6)


def test_sources_are_what_the_unmixing_makes_of_the_mixtures():
    mixtures = mixed_uniform() + 7.0
    found = separate(mixtures, restarts=1)
    assert torch.allclose(found.sources, (mixtures - found.mean) @ found.unmixing.T)


def test_a_mixing_leaves_no_mixture_nearly_a_source():
    for seed in range(20):
        square = random_mixing(4, seed) ** 2
        assert (square / square.sum(axis=1, keepdims=True)).max() < 0.75
        rotation = random_mixing(3, seed, rotation=True)
        assert np.allclose(rotation @ rotation.T, np.eye(3))


def test_fast_ica_says_when_it_did_not_converge():
    gaussian = draw(500, 6).numpy()
    uniform = mixed_uniform(2000).numpy()
    assert fast_ica(uniform, 0).converged
    assert isinstance(fast_ica(gaussian, 0).converged, bool)


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
    "time constants": lambda: ornstein_uhlenbeck(2, 100, 0.1, [1.0, -1.0]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(case):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        REFUSED[case]()
