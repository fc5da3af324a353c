"""The conditional Gaussian: densities, bounds, warm-up."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import distributions as td

from solo_ldm.latents import ConditionalGaussian
from solo_ldm.objective import LDMObjective
from tests.support.methods.tensors import DEGENERATE, HALF_AND_SINGLE, LargestTensor, degenerate

COVARIANCES = ("diagonal", "low_rank", "full")
DIM = 5

each_covariance = pytest.mark.parametrize("covariance", COVARIANCES)


def warm(covariance: str, **settings) -> ConditionalGaussian:
    model = ConditionalGaussian(covariance, **settings)  # pyright: ignore[reportArgumentType]
    model.at(1.0)
    return model


def drawn(model: ConditionalGaussian, count: int = 7, size: float = 2.0):
    """Return random predictions and latents in float64, with gradients."""
    shapes = (count, model.prediction_dim(DIM)), (count, DIM)
    return [(size * torch.randn(*s, dtype=torch.float64)).requires_grad_() for s in shapes]


def spelt_out(model: ConditionalGaussian, h: torch.Tensor) -> td.MultivariateNormal:
    """Build the distribution of predictions from the equations of the class, whole matrices."""
    mean, u, numbers = h[:, :DIM], h[:, DIM : 2 * DIM], h[:, 2 * DIM :]
    low, high = math.log(model.smallest_std), math.log(model.largest_std)
    half = (high - low) / 2
    std = torch.exp((high + low) / 2 + half * u / (half**2 + u**2).sqrt())
    identity = torch.eye(DIM, dtype=h.dtype).expand(len(h), -1, -1)
    if model.covariance == "low_rank":
        rows = numbers.unflatten(1, (DIM, -1)) / math.sqrt(model.covariance_rank)
        rows = (0.99 / (1 + rows.square().sum(dim=2, keepdim=True))).sqrt() * rows
        correlation = rows @ rows.mT + identity * (1 - rows.square().sum(dim=2))[..., None]
    elif model.covariance == "full":
        lower = identity.clone()
        row, column = torch.tril_indices(DIM, DIM, -1)
        lower[:, row, column] = numbers / math.sqrt(DIM)
        lower = torch.nn.functional.normalize(lower, dim=2)
        correlation = 0.01 * identity + 0.99 * lower @ lower.mT
    else:
        correlation = identity
    return td.MultivariateNormal(mean, std[:, :, None] * correlation * std[:, None])


@each_covariance
def test_densities_entropies_and_gradients_are_those_of_the_equations(covariance):
    model = warm(covariance, covariance_rank=2)
    h, z = drawn(model)
    theirs = spelt_out(model, h)
    ours = model.gaussian(h, DIM)
    torch.testing.assert_close(ours.entropy(), theirs.entropy(), atol=1e-10, rtol=0)
    expected = theirs.log_prob(z)
    torch.testing.assert_close(ours.log_prob(z), expected, atol=1e-9, rtol=1e-12)
    scaled = expected / DIM + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(model.log_prob(h, z), scaled, atol=1e-9, rtol=1e-12)
    for mine, other in zip(
        torch.autograd.grad(model.log_prob(h, z).sum(), (h, z)),
        torch.autograd.grad(scaled.sum(), (h, z)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=1e-9, rtol=1e-9)


@each_covariance
def test_gradients_pass_gradcheck(covariance):
    model = warm(covariance, covariance_rank=2)
    assert torch.autograd.gradcheck(model.log_prob, drawn(model, count=3))


def test_covariances_agree_without_correlations():
    mean_and_std, z = torch.randn(7, 2 * DIM, dtype=torch.float64), torch.randn(7, DIM)
    values = []
    for covariance in COVARIANCES:
        model = warm(covariance, covariance_rank=3)
        h = torch.zeros(7, model.prediction_dim(DIM), dtype=torch.float64)
        h[:, : 2 * DIM] = mean_and_std
        values.append(model.log_prob(h, z.double()))
    torch.testing.assert_close(values[0], values[1], atol=1e-12, rtol=0)
    torch.testing.assert_close(values[0], values[2], atol=1e-12, rtol=0)


def test_low_rank_and_full_agree_on_one_correlation():
    """In two dimensions each can say any correlation below 0.99."""
    low, full = warm("low_rank", covariance_rank=1), warm("full")
    h = torch.tensor([[0.3, -0.2, 0.5, 0.1, 0.8, -1.1]], dtype=torch.float64)
    z = torch.tensor([[1.0, 0.4]], dtype=torch.float64)
    gaussian: Any = low.gaussian(h, 2)
    share = (
        float(gaussian.covariance_matrix[0, 0, 1] / gaussian.stddev.prod()) / 0.99
    )  # a / √(1 + a²) in full
    number = math.sqrt(2.0) * share / math.sqrt(1.0 - share**2)
    other = torch.cat([h[:, :4], torch.tensor([[number]], dtype=torch.float64)], dim=1)
    assert abs(share) > 0.2
    torch.testing.assert_close(low.log_prob(h, z), full.log_prob(other, z), atol=1e-12, rtol=0)


@each_covariance
@pytest.mark.parametrize("size", [0.0, 1.0, 1e2, 1e15])
def test_standard_deviations_and_eigenvalues_stay_within_their_bounds(covariance, size):
    model = warm(covariance, smallest_std=0.05, largest_std=3.0)
    h, _ = drawn(model, size=size)
    gaussian: Any = model.gaussian(h, DIM)
    assert gaussian.stddev.min() >= 0.05 * (1 - 1e-12)
    assert gaussian.stddev.max() <= 3.0 * (1 + 1e-12)
    if covariance != "diagonal":
        scale = gaussian.stddev[:, :, None] * gaussian.stddev[:, None]
        correlation = gaussian.covariance_matrix / scale
        torch.testing.assert_close(
            correlation.diagonal(dim1=1, dim2=2), torch.ones(7, DIM).double()
        )
        assert torch.linalg.eigvalsh(correlation).min() >= 0.01 - 1e-9


def test_a_prediction_at_the_bound_still_has_a_gradient():
    model = warm("diagonal")
    h = torch.full((1, 2), 40.0, dtype=torch.float64, requires_grad=True)
    model.gaussian(h, 1).stddev.log().sum().backward()
    assert h.grad is not None
    # tanh would leave 1e-22 here.
    assert 1e-6 < float(h.grad[0, 1]) < 1e-3


@each_covariance
def test_the_warm_up_starts_isotropic_and_ends_at_the_prediction(covariance):
    model = ConditionalGaussian(covariance, 2, 0.1, 2.0, covariance_warm_up=0.2)
    h, z = drawn(model)
    isotropic = td.Normal(h[:, :DIM], math.sqrt(0.1 * 2.0)).log_prob(z).sum(dim=1)
    torch.testing.assert_close(model.gaussian(h, DIM).log_prob(z), isotropic)
    spread = []
    for progress in (0.0, 0.1, 0.2, 1.0):
        model.at(progress)
        spread.append(model.gaussian(h, DIM).stddev.log().std().item())
    assert spread[0] == 0.0
    assert spread[1] == pytest.approx(spread[2] / 2)
    assert spread[2] == spread[3]
    torch.testing.assert_close(
        model.log_prob(h, z), warm(covariance, covariance_rank=2).log_prob(h, z)
    )
    at_once = ConditionalGaussian(covariance, 2, covariance_warm_up=0.0)
    torch.testing.assert_close(at_once.log_prob(h, z), model.log_prob(h, z))


@each_covariance
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_degenerate_latents_and_predictions_give_finite_values(progress, covariance):
    model = ConditionalGaussian(covariance, covariance_warm_up=1.0)
    model.at(progress)
    for kind, dtype in itertools.product(DEGENERATE, HALF_AND_SINGLE):
        z = degenerate(kind, dtype, 1e15).requires_grad_()
        repeats = math.ceil(model.prediction_dim(z.shape[1]) / z.shape[1])
        h = z.detach().flip(0).repeat(1, repeats)[:, : model.prediction_dim(z.shape[1])]
        h = h.clone().requires_grad_()
        value = model.log_prob(h, z)
        assert value.dtype == torch.float32
        value.mean().backward()
        for one in (value, h.grad, z.grad):
            assert one is not None
            assert torch.isfinite(one).all(), (kind, dtype)


def test_autocast_leaves_the_density_in_float32():
    model = warm("full")
    h, z = (one.detach().float() for one in drawn(model))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.log_prob(h, z)
    torch.testing.assert_close(mixed, model.log_prob(h, z))


@pytest.mark.parametrize("covariance", ["diagonal", "low_rank"])
def test_no_step_makes_a_tensor_of_samples_times_dimensions_squared(covariance):
    model = warm(covariance, covariance_rank=3)
    h = torch.randn(12, model.prediction_dim(64), requires_grad=True)
    z = torch.randn(12, 64, requires_grad=True)
    with LargestTensor() as largest:
        model.log_prob(h, z).sum().backward()
    assert largest.elements <= h.numel()


def test_predictions_of_a_wrong_shape_are_one_clear_line():
    model = warm("diagonal")
    for h, z in itertools.product([torch.randn(4, 3)], [torch.randn(4, 2), torch.randn(5, 2)]):
        with pytest.raises(ValueError, match="prediction") as caught:
            model.log_prob(h, z)
        assert "\n" not in str(caught.value)


def test_the_entropy_must_live_on_the_plane():
    from solo_ldm.entropy import KernelEntropy

    with pytest.raises(ValueError, match="lives on the plane"):
        LDMObjective(ConditionalGaussian(), KernelEntropy("sphere"))
