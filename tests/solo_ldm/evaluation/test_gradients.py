"""Gradients of objectives beside each other: of known directions."""

from __future__ import annotations

import itertools

import pytest
import torch

from solo_ldm.entropy import (
    KernelEntropy,
    LogDetEntropy,
    LogDetExpansionEntropy,
    NeighbourEntropy,
    VICRegEntropy,
)
from solo_ldm.evaluation import gradients
from solo_ldm.evaluation.gradients import (
    compare_objectives,
    cosines,
    gradients_of,
    inner_products,
)
from solo_ldm.latents import GaussianPlane, VonMisesFisherSphere
from solo_ldm.objective import LDMObjective
from tests.support.methods.cells import objective

CELLS = list(itertools.product(("kernel", "neighbour", "logdet"), ("joint", "marginal")))


def cosine(first, second, inputs):
    return float(cosines(inner_products(gradients_of([first, second], inputs)))[0, 1])


def near(value):
    return pytest.approx(value, abs=1e-9)


def whitened(samples, dim):
    """Samples whose mean is 0 and whose covariance (divisor B − 1) is I, in float64."""
    z = torch.randn(samples, dim, dtype=torch.float64)
    q, _ = torch.linalg.qr(z - z.mean(dim=0))
    return q * (samples - 1) ** 0.5


def leaf(z):
    return z.clone().requires_grad_()


def two_views(samples=40, dim=6):
    z = torch.randn(samples, dim, dtype=torch.float64)
    return leaf(z), leaf(z + 0.5 * torch.randn_like(z))


def test_a_value_its_multiples_and_its_negative():
    z = torch.randn(9, 3, requires_grad=True)
    value = KernelEntropy("plane").marginal(z)
    found = cosines(inner_products(gradients_of([value, 3.0 * value, -value], [z])))
    expected = torch.tensor([[1.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    torch.testing.assert_close(found, expected.double())
    value.backward()  # the graph is still there


def test_gradients_that_are_orthogonal_or_at_an_angle_or_out_of_reach():
    a, b = (torch.randn(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert cosine(a[0], a[1], [a]) == 0.0
    assert cosine(a[0], b[0], [a, b]) == 0.0
    assert cosine(a[0], a[0] + 3.0**0.5 * b[1], [a, b]) == near(0.5)
    assert gradients_of([a[0] + 2.0 * b[1]], [a, b]).tolist() == [[1.0, 0.0, 0.0, 2.0]]
    assert cosine(a[0], torch.zeros(()), [a]) != cosine(a[0], a[0], [a])


def test_a_zero_gradient_has_no_cosine():
    a = torch.randn(2, requires_grad=True)
    found = cosines(inner_products(gradients_of([a[0], 0.0 * a[0]], [a])))
    assert found[0, 0] == 1.0
    assert found[0, 1].isnan()
    assert found[1, 1].isnan()


def test_what_cannot_be_differentiated_is_refused():
    a = torch.randn(2, requires_grad=True)
    with pytest.raises(ValueError, match="at least one that requires a gradient, got none"):
        gradients_of([a[0]], [a.detach()])
    with pytest.raises(ValueError, match=r"expected scalars, got a shape \(2,\)"):
        gradients_of([a], [a])


def test_products_are_sums_over_blocks_in_float64(monkeypatch):
    g = torch.randn(3, 10) * torch.tensor([[1e-25], [1.0], [1e25]])
    expected = g.double() @ g.double().T
    monkeypatch.setattr(gradients, "_BLOCK", 4)
    torch.testing.assert_close(inner_products(g), expected)


def test_log_determinant_and_expansion_agree_to_first_order_about_a_white_batch():
    """Their gradients are (Cov⁻¹ z, and its expansion): apart by the square of the correlations."""
    z, mix = whitened(60, 5), torch.randn(5, 5, dtype=torch.float64)
    apart = []
    for size in (0.0, 0.02, 0.04):
        x = leaf(z @ (torch.eye(5, dtype=torch.float64) + size * mix))
        values = LogDetEntropy().marginal(x), LogDetExpansionEntropy().marginal(x)
        apart.append(1.0 - cosine(*values, [x]))
    assert apart[0] == near(0.0)
    assert 0.0 < apart[1] < 1e-3
    assert apart[2] > 4.0 * apart[1]


def test_vicregs_covariances_are_the_log_determinant_of_correlations_to_first_order():
    """−½ log det(corr) ≈ ¼ Σ corr²: variances of 1 and small correlations."""
    covariance, apart = VICRegEntropy(variance_weight=0.0), []
    for size in (0.003, 0.03):
        z = whitened(80, 4) + size * whitened(80, 1)
        x = leaf(z / z.std(dim=0))
        variances = (x.var(dim=0) + 1e-6).log().sum() / 8.0
        correlations = LogDetEntropy(ridge=1e-6).marginal(x) - variances
        apart.append(1.0 - cosine(correlations, covariance.marginal(x), [x]))
    assert apart[0] < 1e-3
    assert apart[1] < 0.1


def test_a_wide_kernel_pushes_a_white_batch_as_the_log_determinant_does():
    """Both gradients are along the centred samples: the mean squared distance is the trace."""
    z = leaf(whitened(50, 4) + 3.0)
    kernel = KernelEntropy("plane", kernel_precision=1e-5).marginal(z)
    assert cosine(kernel, LogDetEntropy().marginal(z), [z]) == pytest.approx(1.0, abs=1e-4)


def test_joint_and_marginal_log_determinants_agree_where_views_are_uncorrelated():
    z1, z2 = (leaf(view) for view in whitened(60, 6).split(3, dim=1))
    cells = {over: objective("plane", "logdet", over) for over in ("joint", "marginal")}
    assert compare_objectives(z1, z2, cells).entropy[0, 1] == near(1.0)
    z2 = leaf((z1 + z2).detach())
    assert compare_objectives(z1, z2, cells).entropy[0, 1] < 0.95


@pytest.mark.parametrize("support", ["plane", "sphere"])
def test_cosines_and_shares_are_those_of_each_loss_differentiated_by_itself(support):
    network = torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 4)
    ).double()
    x, kind = torch.randn(2, 30, 5, dtype=torch.float64), GaussianPlane
    if support == "sphere":
        kind = VonMisesFisherSphere
    z1, z2 = kind().project(network(x[0])), kind().project(network(x[1]))
    cells = {
        "kernel": LDMObjective(kind(5.0), KernelEntropy(support), "marginal"),
        "neighbour": LDMObjective(kind(12.5), NeighbourEntropy(support), "joint", weight=0.3),
        "logdet": LDMObjective(kind(2.0), LogDetEntropy(support), "pooled", weight=2.0),
    }
    for inputs in (None, list(network.parameters())):
        found = compare_objectives(z1, z2, cells, inputs)
        terms = [cell(z1, z2) for cell in cells.values()]
        over = inputs or [z1, z2]
        for of in ("loss", "entropy"):
            g = gradients_of([getattr(one, of) for one in terms], over)
            expected = torch.nn.functional.cosine_similarity(g[:, None], g[None], dim=2)
            torch.testing.assert_close(getattr(found, of), expected)
        for share, cell, one in zip(found.entropy_share, cells.values(), terms, strict=True):
            loss, entropy = gradients_of([one.loss, -cell.weight * one.entropy], over)
            torch.testing.assert_close(share, loss @ entropy / (loss @ loss))


def test_the_share_of_an_entropy_is_all_where_views_agree_and_nothing_without_weight():
    z, _ = two_views()
    other = leaf(z.detach())
    cells = {
        "all": objective("plane", "logdet", "marginal"),
        "nothing": LDMObjective(GaussianPlane(), LogDetEntropy(), "marginal", weight=0.0),
    }
    found = compare_objectives(z, other, cells)
    assert found.entropy_share[0] == near(1.0)  # −log p is at its minimum
    assert found.entropy_share[1].isnan()  # and so there is no gradient at all
    apart = compare_objectives(*two_views(), cells)
    assert apart.entropy_share[1] == near(0.0)
    assert apart.entropy[0, 1] == near(1.0)


def test_comparisons_do_not_depend_on_the_order_of_samples_or_the_scale_of_a_weight():
    z1, z2 = two_views()
    cells = {f"{e} {o}": objective("plane", e, o) for e, o in CELLS}
    order = torch.randperm(len(z1))
    one = compare_objectives(z1, z2, cells)
    other = compare_objectives(leaf(z1.detach()[order]), leaf(z2.detach()[order]), cells)
    for name in ("entropy", "loss", "entropy_share"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))
    heavier = {"kernel joint": LDMObjective(GaussianPlane(), KernelEntropy("plane"), weight=9.0)}
    both = compare_objectives(z1, z2, {"kernel": cells["kernel joint"], **heavier})
    assert both.entropy[0, 1] == near(1.0)


def test_an_encoder_without_constraints_has_the_gradients_of_its_latents():
    """The latents themselves as parameters: ∂z/∂θ = I."""
    table = torch.nn.Parameter(torch.randn(2, 20, 3, dtype=torch.float64))
    z1, z2 = table.unbind()
    cells = {f"{e} {o}": objective("plane", e, o) for e, o in CELLS}
    latents, encoder = (compare_objectives(z1, z2, cells, inputs) for inputs in (None, [table]))
    torch.testing.assert_close(latents.loss, encoder.loss)
    torch.testing.assert_close(latents.entropy_share, encoder.entropy_share)


def test_rows_name_each_pair_once():
    z1, z2 = two_views()
    cells = {name: objective("plane", name, "joint") for name in ("kernel", "logdet")}
    found = compare_objectives(z1, z2, cells)
    assert found.rows() == [
        ("entropy cosine", "kernel", "logdet", float(found.entropy[0, 1])),
        ("loss cosine", "kernel", "logdet", float(found.loss[0, 1])),
        ("entropy share", "kernel", "", float(found.entropy_share[0])),
        ("entropy share", "logdet", "", float(found.entropy_share[1])),
    ]


def test_objectives_on_different_latent_models_are_not_compared():
    z1, z2 = two_views()
    cells = {name: objective(name, "kernel", "joint") for name in ("plane", "sphere")}
    with pytest.raises(ValueError, match="got GaussianPlane, VonMisesFisherSphere"):
        compare_objectives(z1, z2, cells)
    with pytest.raises(ValueError, match="got none"):
        compare_objectives(z1, z2, {})
