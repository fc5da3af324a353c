"""Densities of independent sources, the entropy term of ICA, and simulated sources."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from solo_ldm.entropy import ENTROPIES
from solo_ldm.entropy.logdet import LogDetEntropy
from solo_ldm.ica import GeneralisedGaussian, ICAObjective, OrnsteinUhlenbeck, ica_entropy
from solo_ldm.ica.problems import generalised_gaussian, ornstein_uhlenbeck, random_mixing
from tests.support.studies.ica import draw, mixed_uniform


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


@pytest.mark.parametrize("name", ENTROPIES)
def test_an_estimator_is_taken_where_it_is_on_the_plane_and_has_a_value_in_nats(name):
    if name in ("sliced", "vicreg", "redundancy", "plug_in", "logistic", "none"):
        with pytest.raises(ValueError, match=f"^entropy: expected one of exact, .* got '{name}'"):
            ica_entropy(name)
    else:
        assert isinstance(ica_entropy(name), ENTROPIES[name])


def test_an_estimator_of_a_users_own_needs_no_further_line(monkeypatch):
    own = type("OwnEntropy", (LogDetEntropy,), {})
    monkeypatch.setitem(ENTROPIES, "own", own)
    assert isinstance(ica_entropy("own", {"ridge": 1e-6}), own)


# Simulated sources.


def test_simulated_processes_have_their_variances_and_autocorrelations():
    problem = ornstein_uhlenbeck(2, 100_000, 0.1, [0.2, 1.0], [0.25, 2.0], rotation=True)
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


def test_a_mixing_leaves_no_mixture_nearly_a_source():
    for seed in range(20):
        square = random_mixing(4, seed) ** 2
        assert (square / square.sum(axis=1, keepdims=True)).max() < 0.75
        rotation = random_mixing(3, seed, rotation=True)
        assert np.allclose(rotation @ rotation.T, np.eye(3))
