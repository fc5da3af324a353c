"""Entropies of latents against closed forms, and the contrastive one against InfoNCE."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from predictive.filtering import Gaussian
from predictive.objective import PredictiveObjective
from predictive.predictors import Forecast
from tests.support.predictive.filtering_models import close

A = torch.tensor([0.9, 0.5], dtype=torch.float64)
NOISE = 0.3


def autoregressive(samples=40, steps=50):
    """A stationary AR(1) process z_t = A z_{t−1} + N(0, NOISE²), and its exact forecast."""
    steady = NOISE / (1.0 - A.square()).sqrt()
    z = [steady * torch.randn(samples, 2, dtype=torch.float64)]
    for _ in range(steps - 1):
        z.append(A * z[-1] + NOISE * torch.randn(samples, 2, dtype=torch.float64))
    latents = torch.stack(z, dim=1)
    mean = torch.cat([torch.zeros_like(latents[:, :1]), A * latents[:, :-1]], dim=1)
    factor = (NOISE * torch.eye(2, dtype=torch.float64)).repeat(1, steps, 1, 1)
    factor[0, 0] = steady.diag()
    return Forecast(latents, Gaussian(mean, factor), latents)


def entropy_of(variances):
    return 0.5 * (2.0 * math.pi * math.e * variances).log().sum()


def known(forecast):
    return torch.ones(forecast.latents.shape[:2], dtype=torch.bool)


def estimate(forecast, entropy, over="marginal", **settings):
    objective = PredictiveObjective(entropy, over, num_samples=2000, entropy_kwargs=settings)
    return objective.estimate(forecast, known(forecast))


@pytest.mark.parametrize(
    ("entropy", "settings", "tolerance"),
    [
        ("logdet", {}, 0.06),
        ("logdet_expansion", {}, 0.06),
        ("neighbour", {"clip_quantile": 1.0}, 0.12),
        ("neighbour", {"clip_quantile": 1.0, "norm": 1.0}, 0.12),
        ("kernel", {"kernel_precision": 50.0}, 0.2),
    ],
)
def test_the_marginal_entropy_of_gaussian_latents_is_that_of_their_covariance(
    entropy, settings, tolerance
):
    root = torch.tensor([[1.0, 0.0], [0.3, 0.7]], dtype=torch.float64)
    z = torch.randn(40, 50, 2, dtype=torch.float64) @ root.T
    forecast = Forecast(z, Gaussian(z, root.expand(1, 50, 2, 2)), z)
    exact = MultivariateNormal(torch.zeros(2, dtype=z.dtype), scale_tril=root).entropy()
    close(estimate(forecast, entropy, **settings), exact, atol=tolerance)


@pytest.mark.parametrize(
    ("entropy", "settings", "tolerance"),
    [("logdet", {}, 0.05), ("neighbour", {"clip_quantile": 1.0}, 0.3)],
)
def test_the_joint_entropy_is_the_conditional_one_of_an_autoregressive_process(
    entropy, settings, tolerance
):
    exact = entropy_of(torch.full((2,), NOISE**2, dtype=torch.float64))
    found = estimate(autoregressive(), entropy, "joint", **settings)
    close(found, exact, atol=tolerance)


def test_the_joint_entropy_is_read_from_pairs_of_neighbouring_steps_alone():
    """H[z_{t−1}, z_t] − H[z_{t−1}] of the pairs, with the divisors and bias of their number."""
    forecast, keep = autoregressive(4, 12), torch.rand(4, 12) < 0.7
    found = PredictiveObjective("logdet", "joint").estimate(forecast, keep)
    z = forecast.latents
    rows = [(i, t) for i in range(4) for t in range(1, 12) if keep[i, t] and keep[i, t - 1]]
    pairs = torch.stack([torch.cat([z[i, t - 1], z[i, t]]) for i, t in rows])
    covariance = torch.cov(pairs.T) + 1e-6 * torch.eye(4, dtype=z.dtype)

    def bias(dim):
        halves = (len(rows) - torch.arange(1, dim + 1, dtype=z.dtype)) / 2.0
        return 0.5 * (torch.digamma(halves).sum() + dim * math.log(2.0 / (len(rows) - 1)))

    difference = 0.5 * (torch.logdet(covariance) - torch.logdet(covariance[:2, :2]))
    close(found, difference + math.log(2.0 * math.pi * math.e) - bias(4) + bias(2), atol=1e-8)


def test_with_the_exact_model_the_joint_loss_is_zero_and_the_marginal_one_the_information():
    """In nats a step: 0, and minus the mutual information of z_t with its past."""
    forecast = autoregressive()
    information = -0.5 * (1.0 - A.square()).log().sum()
    for over, expected in (("joint", 0.0), ("marginal", float(information))):
        objective = PredictiveObjective("logdet", over, num_samples=2000, first_step=1)
        terms = objective(forecast)
        assert float(terms.log_prob + terms.entropy) == pytest.approx(expected, abs=0.08)
        assert float(terms.loss) == pytest.approx(-49 * expected, abs=49 * 0.08)


def test_the_plug_in_entropy_of_the_exact_model_is_the_conditional_entropy():
    terms = PredictiveObjective(first_step=1)(autoregressive())
    exact = entropy_of(torch.full((2,), NOISE**2, dtype=torch.float64))
    close(terms.entropy, exact, atol=0.05)


def log_kernel(forecast):
    """log p(z_j | z_<t(i)) for all pairs of bins i, j."""
    mean = forecast.predictions.mean
    factor = forecast.predictions.factor.expand(*mean.shape, 2).flatten(0, 1)
    density = MultivariateNormal(mean.flatten(0, 1)[:, None], scale_tril=factor[:, None])
    return density.log_prob(forecast.latents.flatten(0, 1)[None])


def test_the_contrastive_loss_is_infonce_with_the_predictors_density_as_its_critic():
    forecast = autoregressive(6, 10)
    terms = PredictiveObjective("contrastive")(forecast)
    logits = log_kernel(forecast).T  # the latent's own prediction against the others
    naive = torch.nn.functional.cross_entropy(logits, torch.arange(60)) - math.log(60)
    close(terms.log_prob + terms.entropy, -naive)
    close(terms.loss, 10 * naive)
    close(terms.entropy, -(logits.logsumexp(dim=1) - math.log(60)).mean())


def test_the_contrastive_bound_is_the_information_where_the_predictor_is_exact():
    """The mixture of exact predictions is the marginal density of the latents."""
    terms = PredictiveObjective("contrastive", num_samples=2000)(autoregressive())
    bound = float(terms.log_prob + terms.entropy)
    information = float(-0.5 * (1.0 - A.square()).log().sum())
    assert bound == pytest.approx(information, abs=0.05)
    assert bound < math.log(2000)


def test_predictions_that_identify_their_latents_reach_log_n():
    z = torch.randn(4, 10, 2, dtype=torch.float64)
    factor = 1e-6 * torch.eye(2, dtype=torch.float64).repeat(1, 10, 1, 1)
    terms = PredictiveObjective("contrastive")(Forecast(z, Gaussian(z, factor), z))
    assert float(terms.log_prob + terms.entropy) == pytest.approx(math.log(40), abs=1e-9)


def test_the_contrastive_bound_never_exceeds_log_n():
    for scale in (1e-4, 1e-2, 1.0):
        z, guess = torch.randn(2, 4, 10, 2, dtype=torch.float64)
        factor = scale * torch.eye(2, dtype=z.dtype).repeat(1, 10, 1, 1)
        mean = z + 0.1 * scale * guess
        terms = PredictiveObjective("contrastive")(Forecast(z, Gaussian(mean, factor), z))
        assert float(terms.log_prob + terms.entropy) <= math.log(40) + 1e-9


def test_the_contrastive_entropy_stays_finite_for_latents_far_from_every_prediction():
    z = 1e4 * torch.randn(4, 10, 2)
    factor = 1e-2 * torch.eye(2).repeat(1, 10, 1, 1)
    leaf = z.clone().requires_grad_()
    mean = torch.randn_like(z).requires_grad_()
    terms = PredictiveObjective("contrastive")(Forecast(leaf, Gaussian(mean, factor), z))
    terms.loss.backward()
    assert terms.loss.isfinite()
    assert leaf.grad.isfinite().all()
    assert mean.grad.isfinite().all()
