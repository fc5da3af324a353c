"""Statistics of pairs: blocks of rows, and what they are made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from solo_ldm import pairs
from solo_ldm.entropy import ENTROPIES, EntropyEstimator, KernelEntropy, NeighbourEntropy
from solo_ldm.entropy import SlicedGaussianEntropy as Sliced
from solo_ldm.pairs import category_table, mean_log_kernel_sum, small_gram, squared_distances

ESTIMATORS = {
    "kernel, plane": KernelEntropy("plane"),
    "kernel, plane, without itself": KernelEntropy("plane", leave_one_out=True),
    "kernel, sphere": KernelEntropy("sphere"),
    "kernel, sphere, without itself": KernelEntropy("sphere", leave_one_out=True),
    "neighbour": NeighbourEntropy(),
    "neighbour, other norm": NeighbourEntropy(norm=1.0),
    "sliced": Sliced(num_slices=7),
    "sliced, sphere": Sliced("sphere", num_slices=7),
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(("rows", "kept"), [(1, 0), (4, 0), (4, 8 * 23 * 23), (23, 0)])
def test_blocks_of_rows_change_neither_values_nor_gradients(name, rows, kept, monkeypatch):
    z = torch.nn.functional.normalize(torch.randn(23, 5, dtype=torch.float64))

    def of(estimator: EntropyEstimator) -> tuple[Tensor, Tensor]:
        leaf = z.clone().requires_grad_()
        value = estimator.marginal(leaf)
        (gradient,) = torch.autograd.grad(value, leaf)
        return value, gradient

    whole = of(ESTIMATORS[name])
    monkeypatch.setattr(pairs, "BLOCK_BYTES", rows * 8 * 23)
    monkeypatch.setattr(pairs, "_KEPT_BYTES", kept)
    for ours, expected in zip(of(ESTIMATORS[name]), whole, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("without_itself", [True, False])
@pytest.mark.parametrize("kept", [0, 8 * 9 * 9])
def test_log_sums_of_kernels_and_their_gradients_are_those_of_the_definition(
    gaussian, without_itself, kept, monkeypatch
):
    monkeypatch.setattr(pairs, "BLOCK_BYTES", 4 * 8 * 9)
    monkeypatch.setattr(pairs, "_KEPT_BYTES", kept)
    z = (3.0 + torch.randn(9, 4, dtype=torch.float64)).requires_grad_()
    exponent = -((z[:, None] - z).square().sum(dim=2)) if gaussian else z @ z.T
    exponent = 0.7 * exponent
    if without_itself:
        exponent = exponent.masked_fill(torch.eye(9, dtype=torch.bool), -torch.inf)
    direct = torch.logsumexp(exponent, dim=1).mean()
    ours = mean_log_kernel_sum(z, 0.7, gaussian, without_itself)
    torch.testing.assert_close(ours, direct, atol=0, rtol=1e-12)
    gradients = [torch.autograd.grad(3.0 * value, z)[0] for value in (ours, direct)]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-12)


def test_log_sums_of_kernels_keep_their_digits_far_from_the_origin_and_do_not_overflow():
    z = torch.randn(9, 4, dtype=torch.float64)
    near = mean_log_kernel_sum(z, 0.7, True, False)
    far = mean_log_kernel_sum(z + 2.0**20, 0.7, True, False)
    torch.testing.assert_close(far, near, atol=1e-8, rtol=0)
    alone = mean_log_kernel_sum(z, 1e4, True, True)
    assert alone < -1e3
    large = mean_log_kernel_sum(z, 1e4, False, False)
    torch.testing.assert_close(large, torch.logsumexp(1e4 * z @ z.T, dim=1).mean())


@pytest.mark.parametrize("kept", [0, 2**20])
def test_blocks_of_the_rows_of_one_process_are_those_of_the_whole(kept, monkeypatch):
    z = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    (whole,) = torch.autograd.grad(mean_log_kernel_sum(z, 0.7, True, False), z)
    log_sums = torch.logsumexp(-0.7 * squared_distances(z.detach()), dim=1)

    def joined(part: Tensor) -> Tensor:
        torch.testing.assert_close(part, log_sums[4:])
        return log_sums

    monkeypatch.setattr(pairs, "own_rows", lambda count: slice(4, count))
    monkeypatch.setattr(pairs, "joined", joined)
    monkeypatch.setattr(pairs, "BLOCK_BYTES", 3 * 8 * 12)
    monkeypatch.setattr(pairs, "_KEPT_BYTES", kept)
    (share,) = torch.autograd.grad(mean_log_kernel_sum(z, 0.7, True, False), z)
    assert share[:4].eq(0.0).all()
    # Data-parallel training averages over processes, of which each has a share of the rows.
    torch.testing.assert_close(share[4:], whole[4:] * 12 / 8)


def test_squared_distances_are_those_of_differences():
    x = torch.randn(6, 3, dtype=torch.float64)
    direct = (x[:, None] - x).square().sum(dim=2)
    torch.testing.assert_close(squared_distances(x), direct, atol=1e-12, rtol=0)
    torch.testing.assert_close(squared_distances(x, slice(2, 5)), direct[2:5], atol=1e-12, rtol=0)
    repeated = squared_distances((x - x.mean(dim=0)).repeat(2, 1))
    assert repeated.min() >= 0.0
    assert repeated.diagonal().eq(0.0).all()


def test_the_table_of_categories_is_the_mean_over_pairs():
    z1 = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    z2 = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    expected = torch.tensor([[0.25, 0.5], [0.25, 0.0]])
    torch.testing.assert_close(category_table(z1, z2), expected)


@pytest.mark.parametrize(("batch", "dim"), [(7, 4), (4, 7)])
def test_the_smaller_gram_matrix_has_the_gradients_of_its_definition(batch, dim):
    x = torch.randn(batch, dim, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 4, dtype=torch.float64)
    weight = weight + weight.T
    direct = x.T @ x if batch > dim else x @ x.T
    assert torch.equal(small_gram(x), direct)
    found = [torch.autograd.grad((one * weight).sum(), x)[0] for one in (small_gram(x), direct)]
    torch.testing.assert_close(*found, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", ["logdet", "coding_rate", "redundancy", "vicreg"])
@pytest.mark.parametrize(("batch", "dim"), [(24, 5), (5, 24)])
def test_a_value_and_its_gradient_take_the_two_products_that_they_need(name, batch, dim):
    z = torch.randn(batch, dim, dtype=torch.float64, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        ENTROPIES[name]().marginal(z).backward()
    assert counter.get_total_flops() == 2 * 2 * batch * dim * min(batch, dim)
