"""The predictive objective: what it is the sum of, where gradients flow, padding, settings."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from predictive.filtering import Gaussian
from predictive.objective import PredictiveObjective
from predictive.predictors import Forecast
from tests.support.predictive.filtering_models import close
from tests.support.predictive.forecasts import (
    CASES,
    LATENTS,
    SAMPLES,
    SCALE_FREE,
    STEPS,
    STOP,
    padded,
    random_forecast,
)
from tests.support.predictive.predictor_kinds import predictor, sequences

each_case = pytest.mark.parametrize(("entropy", "over"), CASES)


def log_probs(forecast):
    """The log-density of each latent under its prediction, (B, T)."""
    mean = forecast.predictions.mean
    factor = forecast.predictions.factor.expand(*mean.shape, mean.shape[-1])
    return MultivariateNormal(mean, scale_tril=factor).log_prob(forecast.latents)


def with_leaves(forecast):
    """The forecast with latents, means and factors that gradients are taken of."""
    leaves = [
        x.detach().clone().requires_grad_()
        for x in (forecast.latents, forecast.predictions.mean, forecast.predictions.factor)
    ]
    return Forecast(leaves[0], Gaussian(*leaves[1:]), leaves[1]), leaves


@pytest.mark.parametrize("shared", [False, True])
def test_the_stop_gradient_loss_is_minus_the_sum_of_log_densities_averaged_over_sequences(shared):
    forecast = random_forecast(shared=shared)
    terms = PredictiveObjective()(forecast)
    close(terms.loss, -log_probs(forecast).sum(dim=1).mean())
    close(terms.log_prob, log_probs(forecast).mean())
    close(terms.entropy, -log_probs(forecast).mean())


@each_case
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_loss_is_the_sum_over_steps_of_its_terms(entropy, over, weight):
    forecast, known = random_forecast(), padded()
    terms = PredictiveObjective(entropy, over, weight)(forecast, known)
    steps = known.sum() / SAMPLES
    close(terms.log_prob, log_probs(forecast)[known].mean())
    if entropy == STOP:
        close(terms.loss, -steps * terms.log_prob)
    else:
        close(terms.loss, -steps * (terms.log_prob + weight * terms.entropy))


@pytest.mark.parametrize(("entropy", "over"), [*CASES])
@pytest.mark.parametrize("kind", ["kalman/constant/constant", "kalman/state/errors"])
def test_only_the_stop_gradient_leaves_the_last_latent_without_a_gradient(entropy, over, kind):
    z, x = sequences()
    z.requires_grad_()
    PredictiveObjective(entropy, over)(predictor(kind)(z, x)).loss.backward()
    assert ((z.grad[:, -1] == 0.0).all()) == (entropy == STOP)
    assert (z.grad[:, :-1] != 0.0).any(dim=-1).all()


@pytest.mark.parametrize(("entropy", "over"), [case for case in CASES if case[0] != STOP])
def test_with_an_explicit_entropy_latents_are_differentiated_as_what_is_predicted_too(
    entropy, over
):
    forecast, (z, *_) = with_leaves(random_forecast())
    PredictiveObjective(entropy, over, weight=0.0)(forecast).loss.backward()
    (expected,) = torch.autograd.grad(-log_probs(forecast).sum(dim=1).mean(), z)
    close(z.grad, expected)


def test_the_stop_gradient_differentiates_latents_as_what_the_predictor_has_seen():
    made, (z, x) = predictor("recurrent/gru/state"), sequences()
    z.requires_grad_()
    PredictiveObjective()(made(z, x)).loss.backward()
    constant = z.detach().clone()
    seen = z.detach().clone().requires_grad_()
    predictions = made(seen, x).predictions
    density = MultivariateNormal(predictions.mean, scale_tril=predictions.factor)
    (-density.log_prob(constant).sum(dim=1).mean()).backward()
    close(z.grad, seen.grad)


@each_case
def test_gradients_reach_predictions_whatever_the_entropy(entropy, over):
    forecast, (z, mean, factor) = with_leaves(random_forecast())
    PredictiveObjective(entropy, over)(forecast).loss.backward()
    assert (mean.grad != 0.0).all()
    assert (factor.grad.diagonal(dim1=-2, dim2=-1) != 0.0).all()
    assert (z.grad is None) == (entropy == STOP)


@each_case
def test_what_is_not_known_has_no_influence_on_loss_or_gradients(entropy, over):
    forecast, known = random_forecast(), padded()
    other = random_forecast()
    hidden = known[..., None]
    garbled = Forecast(
        torch.where(hidden, forecast.latents, 50.0 * other.latents),
        Gaussian(
            torch.where(hidden, forecast.predictions.mean, 50.0 * other.predictions.mean),
            torch.where(hidden[..., None], forecast.predictions.factor, other.predictions.factor),
        ),
        forecast.states,
    )
    results = []
    for each in (forecast, garbled):
        leafy, leaves = with_leaves(each)
        terms = PredictiveObjective(entropy, over)(leafy, known)
        terms.loss.backward()
        gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
        assert all((g[~known] == 0.0).all() for g in gradients)
        results.append([*terms, *gradients])
    for a, b in zip(*results, strict=True):
        close(a, b, atol=1e-12)


def test_the_stop_gradient_loss_of_padded_sequences_is_the_mean_of_those_of_each_alone():
    forecast, lengths = random_forecast(), (STEPS, 9, 12, 5)
    known = torch.arange(STEPS) < torch.tensor(lengths)[:, None]
    alone = [
        PredictiveObjective()(
            Forecast(
                forecast.latents[i : i + 1, :n],
                Gaussian(
                    forecast.predictions.mean[i : i + 1, :n],
                    forecast.predictions.factor[i : i + 1, :n],
                ),
                forecast.states,
            )
        ).loss
        for i, n in enumerate(lengths)
    ]
    close(PredictiveObjective()(forecast, known).loss, torch.stack(alone).mean())


@each_case
def test_all_known_is_the_same_as_no_mask(entropy, over):
    forecast = random_forecast()
    objective = PredictiveObjective(entropy, over)
    for a, b in zip(
        objective(forecast),
        objective(forecast, torch.ones(SAMPLES, STEPS, dtype=torch.bool)),
        strict=True,
    ):
        close(a, b)


@each_case
def test_predictions_before_the_first_step_do_not_count(entropy, over):
    forecast, objective = random_forecast(), PredictiveObjective(entropy, over, first_step=3)
    later = Forecast(
        forecast.latents[:, 3:],
        Gaussian(forecast.predictions.mean[:, 3:], forecast.predictions.factor[:, 3:]),
        forecast.states[:, 3:],
    )
    for a, b in zip(objective(forecast), PredictiveObjective(entropy, over)(later), strict=True):
        close(a, b)


@each_case
def test_a_sample_as_large_as_the_bins_uses_all_of_them_and_no_random_numbers(entropy, over):
    forecast, state = random_forecast(), torch.get_rng_state()
    bins = SAMPLES * STEPS
    exact = PredictiveObjective(entropy, over, num_samples=bins)(forecast)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    more = PredictiveObjective(entropy, over, num_samples=10 * bins)(forecast)
    for a, b in zip(exact, more, strict=True):
        close(a, b, atol=0)


@pytest.mark.parametrize(("entropy", "over"), [case for case in CASES if case[0] != STOP])
def test_a_smaller_sample_is_drawn_anew_and_has_so_many_latents(entropy, over):
    forecast, (z, *_) = with_leaves(random_forecast())
    objective = PredictiveObjective(entropy, over, num_samples=10)
    known = padded()
    first = objective.estimate(forecast, known)
    assert not torch.equal(first, objective.estimate(forecast, known))
    first.backward()
    touched = (z.grad != 0.0).any(dim=-1)
    assert not touched[~known].any()
    assert 5 <= int(touched.sum()) <= (20 if over == "joint" else 10)


@pytest.mark.parametrize(("entropy", "over"), SCALE_FREE)
@pytest.mark.parametrize("c", [0.1, 7.0])
def test_the_scale_of_latents_and_predictor_together_leaves_the_loss(entropy, over, c):
    """Up to the floor of distances, 1e-8, and the ridge of covariances, 1e-6."""
    forecast = random_forecast(samples=8)
    scaled = Forecast(
        c * forecast.latents,
        Gaussian(c * forecast.predictions.mean, c * forecast.predictions.factor),
        forecast.states,
    )
    objective = PredictiveObjective(entropy, over)
    before, after = objective(forecast), objective(scaled)
    close(after.loss, before.loss, atol=STEPS * 3e-4)
    close(after.entropy, before.entropy + LATENTS * math.log(c), atol=3e-4)


def test_the_stop_gradient_loss_follows_the_logarithm_of_the_scale():
    forecast = random_forecast()
    scaled = Forecast(
        3.0 * forecast.latents,
        Gaussian(3.0 * forecast.predictions.mean, 3.0 * forecast.predictions.factor),
        forecast.states,
    )
    expected = PredictiveObjective()(forecast).loss + STEPS * LATENTS * math.log(3.0)
    close(PredictiveObjective()(scaled).loss, expected)


@pytest.mark.parametrize("first_step", [STEPS, 2 * STEPS])
@each_case
def test_nothing_that_counts_is_one_line_rather_than_nan(entropy, over, first_step):
    with pytest.raises(ValueError, match=r"first_step|latents|samples") as error:
        PredictiveObjective(entropy, over, first_step=first_step)(random_forecast())
    assert "\n" not in str(error.value)
