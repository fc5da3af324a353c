"""The sliced Gaussian test: its statistic, its slices, and what it is zero for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightly.loss.lejepa_loss import SIGReg
from scipy.integrate import quad
from scipy.special import hyp0f1

from solo_ldm.entropy import SlicedGaussianEntropy
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.objective import LDMObjective, ProductObjective


def uniform_sphere(count: int, dim: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, dtype=torch.float64))


def statistic_by_integration(z: np.ndarray, directions: np.ndarray, target) -> float:
    """The definition, slice by slice, by adaptive quadrature over all frequencies."""

    def gap(t: float, x: np.ndarray, number: int) -> float:
        phi = np.exp(1j * t * x).mean() - target(t, number)
        return abs(phi) ** 2 * math.exp(-0.5 * t * t)

    slices = [
        quad(gap, -9.0, 9.0, args=(z @ direction, number), limit=200)[0]
        for number, direction in enumerate(directions.T)
    ]
    return len(z) * float(np.mean(slices))


@pytest.mark.parametrize("num_slices", [1, 40])
def test_on_the_plane_value_and_gradient_are_lightlys_sigreg(num_slices):
    z = (torch.randn(32, 6, dtype=torch.float64) * 0.7 + 0.2).requires_grad_()
    estimator = SlicedGaussianEntropy(num_slices=num_slices)
    theirs = SIGReg(num_vectors=num_slices).double()
    theirs._generate_unit_vectors = lambda device, dtype, num_features: estimator.slices(
        num_features
    ).to(dtype)
    expected, ours = -theirs(z), estimator.marginal(z)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
    gradients = [torch.autograd.grad(value, z)[0] for value in (ours, expected)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=0)


def test_on_the_plane_it_is_the_integral_of_the_definition():
    z = torch.randn(20, 3, dtype=torch.float64) * 1.5
    # A wide and fine grid: the trapezoidal sum is then the integral over all frequencies.
    estimator = SlicedGaussianEntropy(num_slices=3, num_points=200, largest_frequency=9.0)
    expected = statistic_by_integration(
        z.numpy(), estimator.slices(3).double().numpy(), lambda t, _: math.exp(-0.5 * t * t)
    )
    assert -estimator.marginal(z).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_on_the_sphere_the_target_is_the_uniform_distribution(dim):
    z = F.normalize(uniform_sphere(20, dim) + 0.5)
    estimator = SlicedGaussianEntropy("sphere", num_slices=3, num_points=150, largest_frequency=7.0)

    def target(t: float, _: int) -> float:
        return float(hyp0f1(dim / 2, -dim * t * t / 4))

    directions = estimator.slices(dim).double().numpy() * math.sqrt(dim)
    expected = statistic_by_integration(z.numpy(), directions, target)
    assert -estimator.marginal(z).item() == pytest.approx(expected, abs=1e-6)


def test_the_joint_target_on_the_sphere_is_that_of_two_independent_uniform_views():
    z1, z2 = uniform_sphere(20, 3), uniform_sphere(20, 3)
    estimator = SlicedGaussianEntropy("sphere", num_slices=3, num_points=150, largest_frequency=7.0)
    directions = estimator.slices(6).double().numpy() * math.sqrt(3)
    lengths = np.linalg.norm(directions.reshape(2, 3, -1), axis=1)

    def target(t: float, number: int) -> float:
        return float(np.prod(hyp0f1(1.5, -((t * lengths[:, number]) ** 2) / 4)))

    stacked = torch.cat([z1, z2], dim=1).numpy()
    expected = statistic_by_integration(stacked, directions, target)
    assert -estimator.joint(z1, z2).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", [100, 1000])
def test_of_the_standard_gaussian_the_statistic_has_the_same_mean_at_every_batch_size(count):
    """The mean of B |φ̂ − φ|² is 1 − |φ|², and its integral √(2π) − √(2π / 3) = 1.06."""
    estimator = SlicedGaussianEntropy(num_slices=20, num_points=40, largest_frequency=6.0)
    values = [-estimator.marginal(torch.randn(count, 20)).item() for _ in range(60)]
    error = float(np.std(values)) / math.sqrt(len(values))
    expected = math.sqrt(2.0 * math.pi) * (1.0 - 3.0**-0.5)
    assert abs(float(np.mean(values)) - expected) < 4.0 * error


@pytest.mark.parametrize(
    ("support", "other"),
    [
        ("plane", lambda z: 0.5 * z),  # too narrow
        ("plane", lambda z: z + 0.5),  # not centred
        ("plane", lambda z: z[:, :1].expand(-1, 5)),  # of one dimension
        ("plane", lambda z: F.normalize(z) * math.sqrt(5)),  # unit covariance, but not Gaussian
        ("sphere", lambda z: F.normalize(z + 0.5)),
        ("sphere", lambda z: F.normalize(z * torch.tensor([3.0, 1, 1, 1, 1]))),
        ("sphere", lambda z: z.sign() / math.sqrt(5)),  # the corners of a cube
    ],
)
def test_any_other_distribution_has_a_lower_value(support, other):
    z = torch.randn(4000, 5, dtype=torch.float64)
    own = z if support == "plane" else F.normalize(z)
    estimator = SlicedGaussianEntropy(support, num_slices=64)
    assert estimator.marginal(other(z)) < estimator.marginal(own) - 3.0


def test_slices_depend_on_the_step_alone():
    first, second = SlicedGaussianEntropy(num_slices=8), SlicedGaussianEntropy(num_slices=8)
    z = torch.randn(16, 4)
    state = torch.get_rng_state()
    assert torch.equal(first.marginal(z), first.marginal(z))
    first.at_step(7)
    assert not torch.equal(first.slices(4), second.slices(4))
    second.at_step(7)
    assert torch.equal(first.marginal(z), second.marginal(z))
    # Neither reads nor moves the generator that the network draws from.
    assert torch.equal(torch.get_rng_state(), state)
    assert first.state_dict() == {}


def test_slices_are_directions_of_unit_length():
    slices = SlicedGaussianEntropy(num_slices=50).slices(7)
    torch.testing.assert_close(slices.norm(dim=0), torch.ones(50))


def test_the_objective_passes_the_step_on():
    sizes = {"proj_hidden_dim": 8, "proj_output_dim": 8, "entropy": "sliced"}
    block = {"latent": "plane", "dim": 4}
    product = resolve({**sizes, "latent": "product", "blocks": [block, block]}).build_objective()
    plain = resolve({**sizes, "latent": "plane"}).build_objective()
    assert isinstance(product, ProductObjective)
    assert isinstance(plain, LDMObjective)
    for objective in (plain, product):
        before = objective(torch.ones(4, 8), torch.ones(4, 8)).entropy
        objective.at(0.5, 3)
        assert not torch.equal(objective(torch.ones(4, 8), torch.ones(4, 8)).entropy, before)


def test_a_gradient_step_moves_latents_towards_the_standard_gaussian():
    generator = torch.Generator().manual_seed(0)
    z = (0.05 * torch.randn(256, 4, generator=generator, dtype=torch.float64)).requires_grad_()
    estimator = SlicedGaussianEntropy(num_slices=64)
    optimizer = torch.optim.Adam([z], lr=0.05)
    for step in range(300):
        estimator.at_step(step)
        optimizer.zero_grad()
        (-estimator.marginal(z)).backward()
        optimizer.step()
    covariance = torch.cov(z.detach().T)
    torch.testing.assert_close(covariance, torch.eye(4).double(), atol=0.15, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_slices": 0}, "num_slices: expected a whole number from 1"),
        ({"num_points": 1}, "num_points: expected a whole number from 2"),
        ({"largest_frequency": 0.0}, "largest_frequency: expected a number above 0"),
    ],
)
def test_settings_out_of_range_are_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        SlicedGaussianEntropy(**arguments)
    assert "\n" not in str(caught.value)


def test_slices_are_those_of_the_number_of_the_step_and_the_first_step_is_zero():
    estimator = SlicedGaussianEntropy(num_slices=5)
    for step in (0, 1, 7):
        if step:
            estimator.at_step(step)
        drawn = torch.randn(3, 5, generator=torch.Generator().manual_seed(0x511CE + step))
        torch.testing.assert_close(estimator.slices(3), drawn / drawn.norm(dim=0))
