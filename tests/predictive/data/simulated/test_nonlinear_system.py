"""The nonlinear system of the identification task: its dynamics, its noise and its frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy.integrate import solve_ivp
from skimage.transform import swirl

from predictive.data.simulated.nonlinear_system import nonlinear_system, runge_kutta_step, velocity
from predictive.evaluation import unidentifiable
from tests.support.predictive.series import angles


def _polar_solution(position, seconds):
    """Return where the system is after some time: θ grows evenly, and dr/dθ is then integrable."""
    angle, radius = angles(position), position.norm(dim=-1)
    wobble = [torch.sin(4 * (angle + s + 3 * math.pi / 8)) for s in (seconds, 0.0)]
    radius, angle = radius + 0.5 * (wobble[0] - wobble[1]), angle + seconds
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)


def _ring(radius, count=24):
    angle = torch.linspace(0, 2 * math.pi, count, dtype=torch.float64)
    return radius * torch.stack([angle.cos(), angle.sin()], dim=-1)


def test_the_velocity_is_the_derivative_of_the_solution_in_polar_coordinates():
    position = _ring(1.7)
    ahead, behind = _polar_solution(position, 1e-5), _polar_solution(position, -1e-5)
    torch.testing.assert_close(velocity(position), (ahead - behind) / 2e-5, atol=1e-8, rtol=0)


def test_a_step_is_that_of_an_adaptive_solver_within_the_fifth_power_of_its_length():
    position = _ring(2.0, count=6)

    def error(seconds):
        def flow(_, flat):
            return velocity(torch.from_numpy(flat).reshape(-1, 2)).numpy().ravel()

        start = position.numpy().ravel()
        exact = solve_ivp(flow, (0, seconds), start, rtol=1e-11, atol=1e-12).y[:, -1]
        return np.abs(runge_kutta_step(position, seconds).numpy().ravel() - exact).max()

    assert error(0.3) < 0.01
    assert error(0.08) / error(0.04) == pytest.approx(32, rel=0.3)


def test_the_system_starts_on_the_unit_circle_and_gets_noise_of_the_given_variance():
    settings = {"num_train": 400, "num_held_out": 1, "num_steps": 50, "process_noise": 0.1}
    data = nonlinear_system(**settings, rendering="random_network").train
    position = data.targets["position"].double()
    assert (position[:, 0].norm(dim=-1) - 1).abs().max() < 1e-6
    assert position[:, 0].mean(dim=0).abs().max() < 0.15
    noise = position[:, 1:] - runge_kutta_step(position[:, :-1], 0.3)
    # 39,200 draws know their variance to 0.7 %.
    assert noise.var().item() == pytest.approx(0.1, rel=0.03)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.008)


def test_frames_of_the_system_are_swirled_gaussians_at_the_target_position():
    data = nonlinear_system(num_train=1, num_held_out=2, num_steps=5).held_out
    pixel = torch.arange(10)
    for frame, (x, y) in zip(data.inputs[1], data.targets["position"][1], strict=True):
        u, v = ((p + 3) * 10 / 6 for p in (x.clamp(-3, 2.4), y.clamp(-3, 2.4)))
        blob = torch.exp(-((pixel[:, None] - u) ** 2 + (pixel[None] - v) ** 2) / 2)
        expected = swirl(blob.numpy(), rotation=0, strength=10, radius=200)
        np.testing.assert_allclose(frame.reshape(10, 10), expected, atol=1e-5)


def test_the_dot_of_the_nonlinear_system_leaves_the_frame_within_a_hundred_steps():
    videos = nonlinear_system(num_train=1, num_held_out=100, num_steps=100).held_out
    hidden = torch.isnan(videos.targets["position"]).any(dim=-1).float()
    assert hidden[:, :20].mean() < 0.15
    assert hidden.mean() > 0.3


def test_a_position_outside_the_frame_is_not_known():
    settings = {"num_train": 1, "num_held_out": 40, "num_steps": 40}
    shown = nonlinear_system(**settings).held_out.targets["position"]
    everywhere = nonlinear_system(**settings, rendering="random_network").held_out
    everywhere = everywhere.targets["position"]
    known = torch.isfinite(shown).all(dim=-1)
    assert torch.equal(known, ((everywhere >= -3) & (everywhere <= 2.4)).all(dim=-1))
    assert 0.5 < known.float().mean() < 0.95
    assert torch.equal(shown[known], everywhere[known])


def test_several_systems_are_side_by_side_and_each_follows_the_dynamics():
    settings = {"num_train": 300, "num_held_out": 1, "num_steps": 40, "num_systems": 3}
    data = nonlinear_system(**settings, rendering="random_network")
    position = data.train.targets["position"].double()
    assert position.shape == (300, 40, 6)
    assert data.train.inputs.shape == (300, 40, 100)
    systems = position.unflatten(-1, (3, 2))
    assert (systems[:, 0].norm(dim=-1) - 1).abs().max() < 1e-6
    noise = (systems[:, 1:] - runge_kutta_step(systems[:, :-1], 0.3)).flatten(-2)
    covariance = noise.flatten(0, 1).T.cov()
    # 11,700 draws know a variance to 1.3 %, and a covariance of 0 to 0.001.
    torch.testing.assert_close(covariance, 0.1 * torch.eye(6).double(), atol=0.006, rtol=0)


def test_several_systems_need_a_random_network():
    with pytest.raises(ValueError, match=r"rendering: expected random_network .* got swirl"):
        nonlinear_system(num_train=2, num_held_out=1, num_systems=2)


@pytest.mark.parametrize(("latents", "lines"), [(2, 1), (4, 0)])
def test_fewer_latents_than_coordinates_to_identify_are_told(latents, lines):
    few = {"num_train": 2, "num_held_out": 2, "num_steps": 3, "num_systems": 2}
    data = nonlinear_system(**few, rendering="random_network")
    about = {"evaluation": {"identify": "position"}, "predictor": {"latent_dim": latents}}
    told = unidentifiable(OmegaConf.create(about), data)
    assert len(told) == lines
    assert all("has 4 coordinates" in one and "\n" not in one for one in told)
    about["evaluation"]["identify"] = None
    assert unidentifiable(OmegaConf.create(about), data) == []
