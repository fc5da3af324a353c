"""Many views: the mean over all pairs, at a cost that is linear in the views."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from solo_ldm.entropy import ENTROPIES, KernelEntropy, NoEntropy, PlugInEntropy
from solo_ldm.latents import (
    LATENTS,
    CategoricalSimplex,
    ConditionalGaussian,
    CorrelatedPlane,
    GaussianPlane,
    LatentModel,
    VonMisesFisherSphere,
    WhitenedPlane,
)
from solo_ldm.latents.views import mean_square, pairs_of_views, shares_of_views
from solo_ldm.objective import LDMObjective, ProductObjective
from tests.support.methods.cells import each_cell, objective

# Those of which `mean_log_prob` is not the loop over pairs.
LINEAR: dict[str, Callable[[], LatentModel]] = {
    "plane": GaussianPlane,
    "sphere": VonMisesFisherSphere,
    "whitened": WhitenedPlane,
    "categorical": CategoricalSimplex,
}
NUMBERS = [(3, 3), (4, 4), (5, 2), (4, 1)]  # of views, of large ones


def latents(model: LatentModel, count: int, batch: int = 11, dim: int = 4) -> list[Tensor]:
    """Views of the same samples, leaves on the support of a model."""
    base = torch.randn(batch, dim, dtype=torch.float64)
    made = [base + 0.4 * torch.randn(batch, dim, dtype=torch.float64) for _ in range(count)]
    return [model.project(one).requires_grad_() for one in made]


def value_and_gradients(value: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    gradients = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
    return value.detach(), *gradients


def mean_over_pairs(cell: Any, views: Any, num_large: int, p: Any = None, t: Any = None) -> Tensor:
    """The definition: the mean of the loss of two views over all pairs with a large one."""
    losses = [
        cell(views[i], views[j], p and (p[i], p[j]), t and (t[i], t[j])).loss
        for i, j in itertools.combinations(range(len(views)), 2)
        if i < num_large
    ]
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("count", "num_large"), NUMBERS)
@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("given", ["nothing", "predictions", "targets", "both"])
def test_a_linear_mean_is_that_over_pairs_in_value_and_gradients(name, count, num_large, given):
    model = LINEAR[name]()
    views, p, t = (latents(model, count) for _ in range(3))
    first = p if given in ("predictions", "both") else views
    second = t if given in ("targets", "both") else views
    leaves = [*views, *p, *t]
    ours = value_and_gradients(model.mean_log_prob(first, second, num_large), leaves)
    loop = value_and_gradients(LatentModel.mean_log_prob(model, first, second, num_large), leaves)
    torch.testing.assert_close(ours, loop, atol=1e-12, rtol=0)


def test_squares_of_all_pairs_are_those_about_the_mean_view():
    """Σ_{i<j} |z_i − z_j|² = V Σ_i |z_i − z̄|², and Σ_{i<j} z_iᵀz_j = (|Σ z_i|² − Σ |z_i|²) / 2."""
    z, pairs = torch.randn(6, 5, 3, dtype=torch.float64), 15
    about = 6 * (z - z.mean(dim=0)).square().sum()
    torch.testing.assert_close(mean_square(z, z, 6) * 5 * pairs, about, atol=1e-12, rtol=0)
    unit = VonMisesFisherSphere(1.0)
    views = [unit.project(one) for one in z]
    whole = torch.stack(views)
    products = 0.5 * (whole.sum(dim=0).square().sum() - whole.square().sum())
    mean = unit.mean_log_prob(views, views, 6)
    torch.testing.assert_close(mean * 5 * pairs, products, atol=1e-12, rtol=0)


def test_distances_of_views_far_from_the_origin_keep_their_digits():
    z = [(1e4 + torch.randn(8, 4)).requires_grad_() for _ in range(5)]
    plane = GaussianPlane()
    ours = value_and_gradients(plane.mean_log_prob(z, z, 5), z)
    wide = [one.detach().double().requires_grad_() for one in z]
    expected = value_and_gradients(LatentModel.mean_log_prob(plane, wide, wide, 5), wide)
    torch.testing.assert_close(ours, tuple(one.float() for one in expected), atol=0, rtol=2e-6)


def test_shares_are_those_of_the_pairs():
    for count, num_large in [*NUMBERS, (2, 1), (2, 2)]:
        pairs = pairs_of_views(count, num_large)
        expected = [sum(view in pair for pair in pairs) / len(pairs) for view in range(count)]
        assert shares_of_views(count, num_large) == pytest.approx(expected)
        assert sum(expected) == pytest.approx(2.0)


@each_cell
@pytest.mark.parametrize(("count", "num_large"), [(4, 4), (4, 2)])
def test_the_loss_of_many_views_is_the_mean_over_pairs(support, name, over, count, num_large):
    cell = objective(support, name, over)
    views = latents(cell.latent, count)
    ours = value_and_gradients(cell.of_views(views, num_large).loss, views)
    loop = value_and_gradients(mean_over_pairs(cell, views, num_large), views)
    torch.testing.assert_close(ours, loop, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("model", [CorrelatedPlane(), ConditionalGaussian()], ids=["corr", "cond"])
def test_a_model_without_a_linear_mean_takes_the_pairs(model):
    cell = LDMObjective(model, NoEntropy("plane"), "marginal")
    views = latents(model, 4, dim=3)
    wide = [torch.randn(11, model.prediction_dim(3)).double().requires_grad_() for _ in range(4)]
    p, t = (wide, [z.detach() for z in views]) if model.needs_predictor else (None, None)
    leaves = [*views, *wide]
    ours = value_and_gradients(cell.of_views(views, 3, p, t).loss, leaves)
    loop = value_and_gradients(mean_over_pairs(cell, views, 3, p, t), leaves)
    torch.testing.assert_close(ours, loop, atol=1e-12, rtol=1e-12)


def test_a_product_of_many_views_is_the_sum_of_its_blocks_over_pairs():
    blocks = [
        LDMObjective(GaussianPlane(), KernelEntropy("plane"), "marginal", weight=0.7),
        LDMObjective(VonMisesFisherSphere(), KernelEntropy("sphere"), "joint"),
        LDMObjective(CategoricalSimplex(), PlugInEntropy("simplex"), "pooled", weight=2.0),
    ]
    product = ProductObjective(blocks, [2, 3, 4])
    views = [
        product.latent.project(torch.randn(11, 9, dtype=torch.float64)).requires_grad_()
        for _ in range(4)
    ]
    terms = product.of_views(views, 3)
    torch.testing.assert_close(terms.loss, -terms.log_prob - terms.entropy)
    ours = value_and_gradients(terms.loss, views)
    loop = value_and_gradients(mean_over_pairs(product, views, 3), views)
    torch.testing.assert_close(ours, loop, atol=1e-12, rtol=1e-12)


@each_cell
def test_of_two_views_it_is_the_objective_bit_for_bit(support, name, over):
    cell = objective(support, name, over)
    views = [one.detach().float().requires_grad_() for one in latents(cell.latent, 2)]
    for num_large in (1, 2):
        ours = value_and_gradients(cell.of_views(views, num_large).loss, views)
        theirs = value_and_gradients(cell(*views).loss, views)
        assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("name", ["kernel", "logdet", "coding_rate", "redundancy", "sliced"])
def test_marginal_entropies_are_calculated_once_a_view(name):
    cell = LDMObjective(GaussianPlane(), ENTROPIES[name]("plane"), "marginal")

    def operations(count: int) -> int:
        views = latents(cell.latent, count)
        with FlopCounterMode(display=False) as counter:
            cell.of_views(views, count).loss.backward()
        return counter.get_total_flops()

    assert operations(12) == 6 * operations(2) > 0


@pytest.mark.parametrize("name", sorted(set(LATENTS) - {"conditional"}))
def test_many_views_of_different_shapes_are_one_clear_line(name):
    views = [torch.rand(8, 3), torch.rand(8, 3), torch.rand(8, 4)]
    with pytest.raises(ValueError, match="two views of the same samples"):
        LATENTS[name]().mean_log_prob(views, views, 3)


def test_three_views_in_half_precision_have_finite_gradients_in_float32():
    cell = objective("plane", "kernel", "marginal")
    views = [torch.randn(16, 8, dtype=torch.float16, requires_grad=True) for _ in range(3)]
    terms = cell.of_views(views, 3)
    assert terms.loss.dtype == torch.float32
    assert all(one.isfinite().all() for one in value_and_gradients(terms.loss, views))
