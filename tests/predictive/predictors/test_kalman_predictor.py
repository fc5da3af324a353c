"""The Kalman predictor is the filter of the model it names, on both of its paths."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from predictive.filtering import StateSpaceModel, kalman_filter, log_density
from predictive.predictors import KalmanPredictor
from tests.support import DATA
from tests.support.predictive.filtering_models import close
from tests.support.predictive.predictor_kinds import (
    FEATURES,
    LATENTS,
    SAMPLES,
    STATES,
    STEPS,
    found,
    predictor,
    sequences,
)

GOLDEN = DATA / "kalman_filter.npz"
MASKS = ("nothing", "steps", "dimensions")


def mask_of(kind):
    shape = {"steps": (SAMPLES, STEPS), "dimensions": (SAMPLES, STEPS, LATENTS)}.get(kind)
    return None if shape is None else torch.rand(shape) < 0.6


def zeroed(network):
    """Make a network constant: its last linear layer has weights of zero; return its bias."""
    last = [layer for layer in network if hasattr(layer, "bias")][-1]
    with torch.no_grad():
        last.weight.zero_()
    return last.bias


@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize("states", [1, LATENTS, STATES])
@pytest.mark.parametrize("initial", ["fixed", "learned"])
def test_with_constant_noise_the_forecast_is_the_filter_of_the_model_it_names(
    states, masked, initial
):
    made = predictor("kalman/constant/constant", state_dim=states, initial_state=initial)
    (z, x), mask = sequences(), mask_of(masked)
    scale = made.log_joint_scale.exp()
    first_rows = torch.zeros(LATENTS, states, dtype=z.dtype)
    for i in range(min(LATENTS, states)):
        first_rows[i, i] = 1.0
    written_out = StateSpaceModel(
        made.initial_mean,
        made.initial_log_variance.exp().diag(),
        made.transition,
        made.offset,
        first_rows,
        scale * made.log_process_noise.exp(),
        scale * torch.ones(LATENTS, dtype=z.dtype),
    )
    forecast = made(z, x, mask)
    posterior = kalman_filter(written_out, z, mask)
    close(forecast.predictions.mean, posterior.predictions.mean)
    close(forecast.predictions.covariance, posterior.predictions.covariance)
    close(forecast.states, posterior.states.mean)
    close(forecast.state_factor, posterior.states.factor)
    variables = forecast.variables()
    close(variables["observation_noise"][1, 2], written_out.observation_noise.detach())
    close(variables["process_noise"][1, 2], written_out.process_noise.detach())


def test_the_fixed_initial_state_is_standard_normal():
    made = KalmanPredictor(LATENTS, STATES)
    model = made.model(torch.zeros(1, 1, 1))
    close(model.initial_mean, torch.zeros(STATES), atol=0)
    close(model.initial_covariance, torch.eye(STATES), atol=0)
    assert not made.initial_mean.requires_grad
    assert not made.initial_log_variance.requires_grad


@pytest.mark.parametrize("case", ["square", "overcomplete"])
@pytest.mark.parametrize("path", ["whole sequence", "step by step"])
def test_loss_and_gradients_equal_the_reference(case, path):
    """R is a network made constant, one for each of the predictor's paths."""
    with np.load(GOLDEN) as file:
        arrays = dict(file)
    golden = {k.split("/")[1]: torch.from_numpy(arrays[k]) for k in arrays if k.startswith(case)}
    z = golden["z"].clone().requires_grad_()
    latents, states = golden["D"].shape
    kind = {"whole sequence": "input", "step by step": "state"}[path]
    made = KalmanPredictor(latents, states, 3, observation_noise=kind).double()
    bias, log_r = zeroed(made.observation_network.network), golden["log_Sigma_D_diag"]
    with torch.no_grad():
        if kind == "input":
            bias.copy_(torch.expm1(10.0 * (log_r.exp() - 1e-5)).log() / 10.0)
        else:
            bias.copy_(8.0 * torch.atanh(log_r / 8.0))
        made.matrix.copy_(golden["A"])
        made.offset.copy_(golden["b"])
        made.log_process_noise.copy_(golden["log_Sigma_A_diag"])
        made.log_joint_scale.copy_(golden["log_scale"][0])

    forecast = made(z, torch.randn(*z.shape[:2], 3, dtype=z.dtype))
    loss = -log_density(z.detach(), forecast.predictions).sum(dim=1).mean()
    loss = loss - 0.5 * math.log(2.0 * math.pi) * z[0].numel()
    loss.backward()

    close(made.observation_matrix, golden["D"], atol=0)
    close(forecast.predictions.mean, golden["predictions"], atol=1e-8)
    close(forecast.states, golden["estimates"], atol=1e-8)
    close(loss, golden["loss"], atol=1e-8)
    close(z.grad, golden["grad_z"], atol=1e-8)
    close(made.matrix.grad, golden["grad_A"], atol=1e-7)
    close(made.offset.grad, golden["grad_b"], atol=1e-7)
    close(made.log_process_noise.grad, golden["grad_log_Sigma_A_diag"], atol=1e-7)
    close(made.log_joint_scale.grad, golden["grad_log_scale"][0], atol=1e-7)


@pytest.mark.parametrize("masked", MASKS)
def test_the_path_step_by_step_with_constant_networks_is_the_whole_sequence_path(masked):
    (z, x), mask = sequences(), mask_of(masked)
    reference = predictor("kalman/constant/constant", initial_state="learned")
    state = predictor("kalman/state/constant", initial_state="learned")
    past = predictor("kalman/constant/errors", initial_state="learned")
    for made in (state, past):
        made.load_state_dict(reference.state_dict(), strict=False)
    with torch.no_grad():
        zeroed(state.observation_network.network).zero_()  # exp(0) = 1
        zeroed(past.process_network.network).fill_(-800.0)  # 10 · sigmoid(−800) = 0
    expected = found(reference(z, x, mask))
    for made in (state, past):
        for a, b in zip(found(made(z, x, mask)), expected, strict=True):
            close(a, b, atol=1e-9)


@pytest.mark.parametrize("kind", ["input", "input_variance"])
def test_noise_from_the_input_is_the_same_on_both_paths(kind):
    z, x = sequences()
    whole = predictor(f"kalman/{kind}/constant")
    steps = predictor(f"kalman/{kind}/errors")
    steps.load_state_dict(whole.state_dict(), strict=False)
    with torch.no_grad():
        zeroed(steps.process_network.network).fill_(-800.0)
    for a, b in zip(found(whole(z, x)), found(steps(z, x)), strict=True):
        close(a, b, atol=1e-9)


MATRICES = {
    "zero": torch.zeros(4, 4),
    "identity": torch.eye(4),
    "huge": 1e8 * torch.eye(4) + torch.ones(4, 4),
    "nilpotent": 1e3 * torch.ones(4, 4).triu(1),
    "rotation": torch.block_diag(*[3.0 * torch.tensor([[0.0, -1.0], [1.0, 0.0]])] * 2),
    "defective": torch.eye(4) + 5.0 * torch.ones(4, 4).triu(1),
    "tiny": 1e-20 * torch.ones(4, 4),
}


@pytest.mark.parametrize("max_radius", [0.5, 1.0, 1.02])
@pytest.mark.parametrize("name", [*MATRICES, *(f"random {i}" for i in range(5))])
def test_the_spectral_radius_never_exceeds_its_bound(name, max_radius):
    made = KalmanPredictor(4, max_radius=max_radius)
    matrix = MATRICES.get(name, 10.0 ** torch.randn(()) * torch.randn(4, 4))
    made.matrix.data.copy_(matrix)
    transition = made.transition.detach().double()
    assert transition.isfinite().all()
    # A defective eigenvalue is known to the fourth root of float32's precision.
    slack = 0.1 if name in ("nilpotent", "defective") else 1e-5
    assert torch.linalg.eigvals(transition).abs().max() <= max_radius * (1.0 + slack)


@pytest.mark.parametrize("radius", [0.0, 0.3, 0.999, 1.02])
def test_a_stable_matrix_is_the_transition(radius):
    made = predictor("kalman/constant/constant", max_radius=1.02)
    matrix = torch.randn(STATES, STATES, dtype=torch.float64)
    matrix = matrix * (radius / torch.linalg.eigvals(matrix).abs().max())
    made.matrix.data.copy_(matrix)
    close(made.transition.detach(), matrix, atol=1e-12)


def test_the_bound_on_the_radius_is_a_factor_without_a_gradient():
    made = predictor("kalman/constant/constant", max_radius=0.5)
    made.transition.sum().backward()
    factor = 0.5 / torch.linalg.eigvals(made.matrix.detach()).abs().max()
    close(made.matrix.grad, factor.expand(STATES, STATES))


def test_a_new_predictor_is_stable():
    for seed in range(20):
        torch.manual_seed(seed)
        radius = torch.linalg.eigvals(KalmanPredictor(2, 6).transition.detach()).abs().max()
        assert 0.8 < radius < 1.0


def test_learning_starts_from_the_transition_and_process_noise_asked_for():
    made = KalmanPredictor(2, 6, initial_transition=0.99, initial_process_noise=0.01)
    close(made.transition.detach(), 0.99 * torch.eye(6), atol=0.1)
    assert torch.linalg.eigvals(made.transition.detach()).abs().max() <= 1.02 * (1.0 + 1e-5)
    model = made.model(torch.zeros(1, 1, 1))
    close(model.process_noise / model.observation_noise[0], torch.full((6,), 0.01), atol=1e-6)


@pytest.mark.parametrize("kind", ["constant/constant", "input/constant", "state/constant"])
def test_the_joint_scale_with_the_initial_variance_scales_covariances_and_leaves_means(kind):
    made, (z, x) = predictor(f"kalman/{kind}", initial_state="learned"), sequences()
    before, states = made(z, x).predictions, made(z, x).states
    with torch.no_grad():
        made.log_joint_scale += 1.5
        made.initial_log_variance += 1.5
    after = made(z, x).predictions
    close(after.covariance, math.exp(1.5) * before.covariance, atol=1e-9)
    close(after.mean, before.mean, atol=1e-9)
    close(made(z, x).states, states, atol=1e-9)


def test_the_initial_variance_has_no_part_in_the_joint_scale():
    """Predictions scale with s once P_0 is forgotten; the first is D (A P_0 Aᵀ + s Q) Dᵀ + s R."""
    made, (z, x) = predictor("kalman/constant/constant"), sequences(200)
    before = made(z, x).predictions.covariance
    with torch.no_grad():
        made.log_joint_scale += 1.5
    after = made(z, x).predictions.covariance
    close(after[:, -1], math.exp(1.5) * before[:, -1], atol=1e-8)
    a, d, scale = made.transition, made.observation_matrix, made.log_joint_scale.exp()
    first = d @ (a @ a.T + scale * made.log_process_noise.exp().diag()) @ d.T
    close(after[0, 0], first + scale * torch.eye(LATENTS, dtype=z.dtype))


def test_no_model_is_named_where_noise_depends_on_what_the_filter_finds():
    for kind in ("state/constant", "constant/errors"):
        with pytest.raises(ValueError, match="no model is known beforehand") as error:
            predictor(f"kalman/{kind}").model(torch.zeros(1, 2, FEATURES))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_transition_that_is_not_finite_is_named_before_its_eigenvalues_are_asked_for(value):
    made = predictor("kalman/constant/constant")
    with torch.no_grad():
        made.matrix[0, 1] = value
    with pytest.raises(ValueError, match="matrix: expected a finite transition, got 1 of"):
        _ = made.transition
