"""Noises that depend on the input, the state or the past: the filter from its equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from predictive.predictors import KalmanPredictor, RecurrentPredictor
from predictive.predictors.noises import InputNoise, PastNoise, StateNoise
from tests.support.predictive.filtering_models import close
from tests.support.predictive.predictor_kinds import KALMAN, found, predictor, sequences


def array(x):
    return x.detach().numpy()


def dense(network, x):
    """A perceptron of rectified layers, and its last layer without one."""
    layers = [layer for layer in network if hasattr(layer, "weight")]
    for layer in layers[:-1]:
        x = np.maximum(array(layer.weight) @ x + array(layer.bias), 0.0)
    return array(layers[-1].weight) @ x + array(layers[-1].bias)


def variances_of_features(network, x):
    scaled = array(network.scale) * x
    deviation = (scaled - scaled.mean()) ** 2
    hidden = np.maximum(np.abs(array(network.inner)) @ deviation + array(network.inner_bias), 0.0)
    return np.maximum(np.abs(array(network.outer)) @ hidden + array(network.outer_bias), 0.0)


def observation_noise(made, predicted_state, x):
    kind, network = made.observation_noise, made.observation_network
    if kind == "constant":
        return np.ones(made.latent_dim)
    if kind == "state":
        return np.exp(8.0 * np.tanh(dense(network.network, predicted_state) / 8.0))
    if kind == "input":
        return np.log1p(np.exp(10.0 * dense(network.network, x))) / 10.0 + 1e-5
    return variances_of_features(network.network, x) + 1e-5


def filter_from_its_equations(made, z, x):
    """Each step of one sample: prediction, noises, gain, correction, record."""
    a, b, d = (array(one) for one in (made.transition, made.offset, made.observation_matrix))
    scale, constant = (np.exp(array(one)) for one in (made.log_joint_scale, made.log_process_noise))
    mean, covariance = array(made.initial_mean), np.diag(np.exp(array(made.initial_log_variance)))
    past, steps = made.process_network, []
    records = [] if past is None else [np.zeros(past.record_dim)] * past.num_records
    for one, features in zip(array(z), array(x), strict=True):
        q = constant
        if past is not None:
            q = q + 10.0 / (1.0 + np.exp(-dense(past.network, np.concatenate(records))))
        state = a @ (mean - b) + b
        q, r = scale * q, scale * observation_noise(made, state, features)
        covariance = a @ covariance @ a.T + np.diag(q)
        predicted, innovation = d @ state, d @ covariance @ d.T + np.diag(r)
        gain = covariance @ d.T @ np.linalg.inv(innovation)
        mean = state + gain @ (one - predicted)
        covariance = covariance - gain @ d @ covariance
        error, pair = one - predicted, np.concatenate([one, predicted])
        records = [*records[1:], error if made.process_noise == "errors" else pair]
        steps.append((predicted, innovation, mean, np.linalg.cholesky(covariance), r, q))
    return [np.stack(values) for values in zip(*steps, strict=True)]


@pytest.mark.parametrize("kind", KALMAN)
def test_a_forecast_is_the_filter_with_the_noises_of_its_networks(kind):
    made, (z, x) = predictor(kind, initial_state="learned"), sequences()
    for parameter in made.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    forecast = [array(one) for one in found(made(z, x))]
    for sample in range(len(z)):
        expected = filter_from_its_equations(made, z[sample], x[sample])
        for ours, theirs in zip(forecast, expected, strict=True):
            np.testing.assert_allclose(ours[sample], theirs, atol=1e-9, rtol=1e-9)
    for noise, kind_of_noise in zip(forecast[4:], kind.split("/")[1:], strict=True):
        assert (np.ptp(noise, axis=1).max() > 1e-3) == (kind_of_noise != "constant")


def last(network):
    return [layer for layer in network if hasattr(layer, "bias")][-1].bias


@pytest.mark.parametrize("output", [-1e6, 1e6])
def test_noises_have_their_bounds_whatever_the_network_says(output):
    """exp(±8) of the state; 0 to 10 of the past; at least 1e-5 of the input."""
    state, past = StateNoise(3, 2, 4).double(), PastNoise(2, 3, 4, 5).double()
    softplus = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Softplus(beta=10.0))
    shown = InputNoise(softplus).double()
    for network in (state.network, past.network, softplus):
        torch.nn.init.constant_(last(network), output)
    high = output > 0
    sign = 1.0 if high else -1.0
    three, six, two = (torch.randn(5, size, dtype=torch.float64) for size in (3, 6, 2))
    close(state(three), torch.full((5, 2), np.exp(8.0 * sign), dtype=torch.float64))
    close(past(six), torch.full((5, 4), 10.0 if high else 0.0).double(), atol=1e-12)
    if not high:
        close(shown(two), torch.full((5, 2), 1e-5, dtype=torch.float64), atol=1e-15)


def test_records_are_the_last_ones_oldest_first_and_pass_no_gradient():
    past = PastNoise(2, 3, 4, 5)
    records = past.start(1, torch.zeros(1))
    close(records, torch.zeros(1, 6), atol=0)
    for value in range(1, 5):
        record = torch.full((1, 2), float(value), requires_grad=True)
        records = past.remember(records, record)
        assert not records.requires_grad
    close(records, torch.tensor([[2.0, 2.0, 3.0, 3.0, 4.0, 4.0]]), atol=0)


@pytest.mark.parametrize("kind", ["constant/errors", "state/observations_and_predictions"])
def test_what_is_missing_enters_the_records_as_it_was_predicted(kind):
    """Errors of zero: whatever is written where nothing was observed."""
    made, (z, x) = predictor(f"kalman/{kind}"), sequences()
    mask = torch.rand(z.shape) < 0.5
    filled = torch.where(mask, z, made(torch.where(mask, z, torch.nan), x, mask).predictions.mean)
    for ours, again in zip(found(made(filled, x, mask)), found(made(z, x, mask)), strict=True):
        close(ours, again)


def test_a_new_predictor_starts_as_its_paper_says():
    """A near the identity at a radius of 1 / 1.1, b and log Q zero, log s one."""
    torch.manual_seed(4)
    made = KalmanPredictor(2, 5)
    torch.manual_seed(4)
    matrix = np.eye(5) + 0.1 * array(torch.randn(5, 5))
    radius = np.abs(np.linalg.eigvals(matrix)).max()
    np.testing.assert_allclose(array(made.matrix), matrix / (1.1 * radius), atol=1e-6)
    for name, value in {
        "offset": 0.0,
        "log_process_noise": 0.0,
        "log_joint_scale": 1.0,
        "initial_mean": 0.0,
        "initial_log_variance": 0.0,
    }.items():
        assert getattr(made, name).eq(value).all()
    torch.manual_seed(4)
    slow = KalmanPredictor(2, 5, initial_transition=0.7, initial_process_noise=0.5)
    torch.manual_seed(4)
    expected = 0.7 * np.eye(5) + 0.02 * array(torch.randn(5, 5))
    np.testing.assert_allclose(array(slow.matrix), expected, atol=1e-6)
    assert slow.log_process_noise.exp().numpy(force=True) == pytest.approx([0.5] * 5)
    assert (KalmanPredictor(3).state_dim, made.max_radius) == (3, 1.02)


def test_networks_of_noises_have_the_sizes_that_are_documented():
    made = KalmanPredictor(2, 5, 4, "input", "errors")
    sizes = [layer.out_features for layer in made.observation_network.network if is_linear(layer)]
    assert sizes == [100, 100, 2]
    sizes = [layer.weight.shape for layer in made.process_network.network if is_linear(layer)]
    assert sizes == [(20, 2 * 10), (5, 20)]
    made = KalmanPredictor(2, 5, 4, "state", "observations_and_predictions")
    sizes = [layer.weight.shape for layer in made.observation_network.network if is_linear(layer)]
    assert sizes == [(100, 5), (2, 100)]
    sizes = [layer.weight.shape for layer in made.process_network.network if is_linear(layer)]
    assert sizes == [(20, 4 * 10), (5, 20)]


def is_linear(layer):
    return isinstance(layer, torch.nn.Linear)


@pytest.mark.parametrize("variance", ["constant", "state", "input_variance"])
def test_a_recurrent_forecast_has_the_variance_of_its_network(variance):
    made, (z, x) = predictor(f"recurrent/gru/{variance}"), sequences()
    forecast = made(z, x)
    before = torch.cat([torch.zeros_like(forecast.states[:, :1]), forecast.states[:, :-1]], dim=1)
    expected = np.ones(z.shape)
    for index in np.ndindex(*z.shape[:2]):
        if variance == "state":
            linear = made.variance_network
            value = array(linear.weight) @ array(before[index]) + array(linear.bias)
            expected[index] = np.log1p(np.exp(value)) + 1e-5
        elif variance == "input_variance":
            expected[index] = variances_of_features(made.variance_network, array(x[index])) + 1e-5
    covariance = forecast.predictions.covariance
    close(covariance, torch.diag_embed(torch.from_numpy(expected)), atol=1e-12)
    close(forecast.predictions.mean, made.head(before), atol=1e-12)


@pytest.mark.parametrize("by_dimension", [False, True])
def test_what_is_missing_enters_a_recurrent_network_as_zero(by_dimension):
    made, (z, x) = predictor("recurrent/lstm/constant"), sequences()
    mask = torch.rand(z.shape if by_dimension else z.shape[:2]) < 0.5
    zeros = torch.where(mask if by_dimension else mask[..., None], z, 0.0)
    for ours, expected in zip(found(made(z, x, mask)), found(made(zeros, x)), strict=True):
        close(ours, expected, atol=0)


def test_a_recurrent_predictor_has_the_sizes_that_are_documented():
    made = RecurrentPredictor(2)
    assert (type(made.recurrent), made.recurrent.hidden_size) == (torch.nn.LSTM, 10)
    assert made.recurrent.num_layers == 1
    sizes = [layer.out_features for layer in made.head if is_linear(layer)]
    assert sizes == [20, 20, 2]
    linear = RecurrentPredictor(2, head_num_hidden_layers=0)
    assert [layer.out_features for layer in linear.head] == [2]
