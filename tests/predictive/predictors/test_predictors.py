"""Both predictors: nothing leaks from the future, masks, gradients, parameter groups, errors."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from predictive.filtering import log_density
from predictive.predictors import KalmanPredictor, RecurrentPredictor, Variable
from tests.support.predictive.filtering_models import close
from tests.support.predictive.predictor_kinds import (
    ALL,
    KALMAN,
    LATENTS,
    RECURRENT,
    SAMPLES,
    STEPS,
    density,
    depends_on_input,
    found,
    predictor,
    sequences,
)

each_kind = pytest.mark.parametrize("kind", ALL)
MOMENTS = (0, 4, STEPS - 1)


@each_kind
def test_a_prediction_knows_neither_its_own_latent_nor_later_ones(kind):
    made, (z, x) = predictor(kind), sequences()
    before = density(made(z, x))
    for t in MOMENTS:
        other = z.clone()
        other[:, t:] = 5.0 * torch.randn_like(other[:, t:])
        for a, b in zip(before, density(made(other, x)), strict=True):
            close(a[:, : t + 1], b[:, : t + 1], atol=1e-12)


@each_kind
def test_no_gradient_flows_from_a_prediction_to_its_own_latent_or_later_ones(kind):
    made, (z, x) = predictor(kind), sequences()
    z.requires_grad_()
    mean, covariance = density(made(z, x))
    for t in MOMENTS:
        total = (mean[:, t] * torch.randn(SAMPLES, LATENTS)).sum() + covariance[:, t].square().sum()
        (gradient,) = torch.autograd.grad(total, z, retain_graph=True, allow_unused=True)
        if gradient is None:  # nothing came before the first prediction
            assert t == 0
            continue
        assert (gradient[:, t:] == 0).all()
        assert t == 0 or (gradient[:, t - 1] != 0).any(dim=-1).all()


@each_kind
def test_a_prediction_changes_with_the_latent_before_it(kind):
    made, (z, x) = predictor(kind), sequences()
    before = made(z, x).predictions.mean
    for t in range(STEPS - 1):
        other = z.clone()
        other[:, t] += 3.0
        after = made(other, x).predictions.mean
        assert ((after - before)[:, t + 1].abs().amax(dim=-1) > 1e-4).all(), t


@each_kind
def test_a_prediction_knows_no_later_input_and_its_own_only_where_noise_is_read_from_it(kind):
    made, (z, x) = predictor(kind), sequences()
    before = density(made(z, x))
    for t in MOMENTS:
        other = x.clone()
        other[:, t:] = 5.0 * torch.randn_like(other[:, t:])
        after = density(made(z, other))
        for a, b in zip(before, after, strict=True):
            close(a[:, :t], b[:, :t], atol=1e-12)
        close(before[0][:, t], after[0][:, t], atol=1e-12)
        change = (before[1] - after[1])[:, t].abs().amax(dim=(-1, -2))
        assert ((change > 1e-6) == depends_on_input(kind)).all()


@pytest.mark.parametrize("kind", [k for k in KALMAN if not k.endswith("constant")])
def test_process_noise_reads_the_records_of_past_steps_alone(kind):
    made, (z, x) = predictor(kind), sequences()
    before = made(z, x).process_noise
    for t in range(STEPS - 1):
        other = z.clone()
        other[:, t] += 3.0
        change = (made(other, x).process_noise - before).abs().amax(dim=(0, 2))
        close(change[: t + 1], torch.zeros(t + 1, dtype=torch.float64), atol=0)
        assert change[t + 1] > 1e-6


@pytest.mark.parametrize("kind", [k for k in KALMAN if not k.endswith("constant")])
def test_no_gradient_flows_back_through_the_records(kind):
    made, (z, x) = predictor(kind), sequences()
    noise = made(z.requires_grad_(), x).process_noise
    (gradient,) = torch.autograd.grad(noise.square().sum(), z, allow_unused=True)
    assert gradient is None or (gradient == 0).all()


def test_past_noise_forgets_what_is_older_than_its_records():
    past = predictor("kalman/constant/observations_and_predictions").process_network
    old, new = torch.randn(2, SAMPLES, 2 * LATENTS, dtype=torch.float64)
    recent = torch.randn(3, SAMPLES, 2 * LATENTS, dtype=torch.float64)
    results = []
    for first in (old, new):
        records = past.start(SAMPLES, first)
        for record in (first, *recent):
            records = past.remember(records, record)
        results.append(past(records))
    close(*results, atol=0)


@each_kind
@pytest.mark.parametrize("by_dimension", [False, True])
def test_a_masked_latent_has_no_influence(kind, by_dimension):
    made, (z, x) = predictor(kind), sequences()
    mask = torch.rand(SAMPLES, STEPS, LATENTS) < 0.6
    if not by_dimension:
        mask = mask[..., 0]
    known = mask if by_dimension else mask[..., None].expand_as(z)
    results = []
    for filling in (z, 1e3 * torch.randn_like(z)):
        values = torch.where(known, z, filling).requires_grad_()
        made.zero_grad()
        forecast = made(values, x, mask)
        log_density(z, forecast.predictions).sum().backward()
        assert (values.grad[~known] == 0).all()
        results.append([*found(forecast), *(p.grad for p in made.parameters() if p.requires_grad)])
    for a, b in zip(*results, strict=True):
        close(a, b, atol=1e-9)


@each_kind
def test_a_mask_that_hides_nothing_changes_nothing(kind):
    made, (z, x) = predictor(kind), sequences()
    mask = torch.ones(SAMPLES, STEPS, dtype=torch.bool)
    for a, b in zip(found(made(z, x)), found(made(z, x, mask)), strict=True):
        close(a, b, atol=1e-9)


@each_kind
def test_each_sequence_is_as_if_alone_and_padding_at_its_end_changes_nothing(kind):
    made, (z, x) = predictor(kind), sequences()
    together = found(made(z, x))
    for i, length in enumerate((STEPS, 6, 1)):
        alone = found(made(z[i : i + 1, :length], x[i : i + 1, :length]))
        for a, b in zip(together, alone, strict=True):
            close(a[i : i + 1, :length], b, atol=1e-9)


@each_kind
def test_gradients_reach_every_trainable_parameter(kind):
    extra = {"initial_state": "learned"} if kind in KALMAN else {}
    made, (z, x) = predictor(kind, **extra), sequences()
    log_density(z, made(z, x).predictions).sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.requires_grad, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0.0, name


@pytest.mark.parametrize("initial", ["fixed", "learned"])
@each_kind
def test_parameter_groups_hold_every_trainable_parameter_exactly_once(kind, initial):
    made = predictor(kind, **({"initial_state": initial} if kind in KALMAN else {}))
    grouped = [id(p) for group in made.parameter_groups().values() for p in group]
    trainable = [id(p) for p in made.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trainable)
    assert all(made.parameter_groups().values())


@each_kind
def test_variances_are_positive_whatever_the_latents_and_inputs(kind):
    made, (z, x) = predictor(kind).float(), sequences()
    for scale in (0.0, 1.0, 1e3):
        forecast = made((scale * z).float(), (scale * x).float())
        variance = forecast.predictions.variance
        assert variance.isfinite().all()
        assert (variance > 0.0).all()
        assert log_density((scale * z).float(), forecast.predictions).isfinite().all()


@each_kind
def test_variables_of_a_forecast_are_detached_and_have_the_batch_and_time_of_the_latents(kind):
    made, (z, x) = predictor(kind), sequences()
    variables = made(z.requires_grad_(), x).variables()
    assert set(variables) <= set(get_args(Variable))
    assert ("process_noise" in variables) == (kind in KALMAN)
    for value in variables.values():
        assert value.shape[:2] == (SAMPLES, STEPS)
        assert not value.requires_grad


@pytest.mark.parametrize("kind", RECURRENT)
def test_the_first_prediction_of_a_recurrent_network_is_that_of_an_empty_memory(kind):
    made, (z, x) = predictor(kind), sequences()
    mean = made(z, x).predictions.mean
    close(mean[:, 0], made.head(mean.new_zeros(SAMPLES, 5)))


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_recurrent_network_is_its_cell_step_by_step(kind):
    made, (z, x) = predictor(kind, num_layers=2), sequences()
    forecast, memory, hidden = made(z, x), None, z.new_zeros(SAMPLES, 5)
    for t in range(STEPS):
        close(forecast.predictions.mean[:, t], made.head(hidden))
        output, memory = made.recurrent(z[:, t : t + 1], memory)
        hidden = output[:, 0]
        close(forecast.states[:, t], hidden)


@pytest.mark.parametrize(
    ("build", "settings", "words"),
    [
        (KalmanPredictor, {"latent_dim": 0}, "latent_dim: expected a whole number from 1, got 0"),
        (KalmanPredictor, {"state_dim": 0}, "state_dim: expected a whole number from 1 or null"),
        (KalmanPredictor, {"num_records": 0}, "num_records: expected a whole number from 1"),
        (KalmanPredictor, {"max_radius": 0.0}, "max_radius: expected a number above 0"),
        (KalmanPredictor, {"initial_process_noise": 0.0}, "initial_process_noise: expected"),
        (
            KalmanPredictor,
            {"observation_noise": "none"},
            "expected constant, input, input_variance",
        ),
        (
            KalmanPredictor,
            {"process_noise": "input"},
            "process_noise: expected constant, errors or",
        ),
        (KalmanPredictor, {"initial_state": "zero"}, "initial_state: expected fixed or learned"),
        (KalmanPredictor, {"observation_noise": "input"}, "input_dim: expected a number"),
        (RecurrentPredictor, {"cell": "mamba"}, "cell: expected lstm, gru or rnn, got 'mamba'"),
        (RecurrentPredictor, {"variance": "full"}, "variance: expected constant, state or input"),
        (RecurrentPredictor, {"hidden_dim": 0}, "hidden_dim: expected a whole number from 1"),
        (RecurrentPredictor, {"head_hidden_dim": 0}, "head_hidden_dim: expected a whole number"),
        (RecurrentPredictor, {"variance": "input_variance"}, "input_dim: expected a number"),
    ],
)
def test_wrong_settings_are_one_line(build, settings, words):
    with pytest.raises(ValueError, match=words) as error:
        build(**{"latent_dim": 2, **settings})
    assert "\n" not in str(error.value)
