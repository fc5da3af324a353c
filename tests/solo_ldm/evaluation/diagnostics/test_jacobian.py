"""Jacobians of networks that are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from solo_ldm.evaluation.diagnostics.jacobian import jacobian_ranks, jacobian_singular_values


@pytest.mark.parametrize(("num_outputs", "num_inputs"), [(5, 12), (12, 5)])
def test_singular_values_of_a_linear_network_are_those_of_its_matrix(num_outputs, num_inputs):
    network = nn.Sequential(nn.Flatten(), nn.Linear(num_inputs, num_outputs)).eval()
    found = jacobian_singular_values(network, torch.randn(3, 1, num_inputs, 1))
    expected = torch.linalg.svdvals(network[1].weight.double().detach())
    assert found.shape == (3, 5)
    for one in found:
        torch.testing.assert_close(one, expected, rtol=1e-6, atol=1e-7)


def test_an_elementwise_network_has_the_slopes_of_each_input():
    """f(x) = x³: J = diag(3 x²), different for each image; in chunks of one as in one."""
    images = torch.tensor([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]])
    expected = torch.tensor([[27.0, 12.0, 3.0], [48.0, 3.0, 0.0]], dtype=torch.float64)
    for size in (1, 2**20):
        found = jacobian_singular_values(lambda x: x**3, images, chunk_bytes=size)
        torch.testing.assert_close(found, expected)
    ranks = jacobian_ranks(expected, largest_side=3)
    assert ranks.numerical.tolist() == [3.0, 2.0]
    squares = expected.square()
    torch.testing.assert_close(
        ranks.participation, squares.sum(1).square() / squares.square().sum(1)
    )


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of vmap over batch norm
def test_a_convolutional_network_agrees_with_functional_differentiation():
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 6)
    ).eval()
    images = torch.randn(3, 2, 4, 4)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: network(x[None])[0]))(images)
    expected = torch.linalg.svdvals(jacobian.flatten(2).double())
    found = jacobian_singular_values(network, images)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_bottleneck_bounds_the_numerical_rank():
    network = nn.Sequential(nn.Linear(30, 4), nn.Tanh(), nn.Linear(4, 20)).eval()
    ranks = jacobian_ranks(jacobian_singular_values(network, torch.randn(5, 30)), 30)
    assert (ranks.numerical == 4).all()
    assert (ranks.participation <= 4).all()
    assert (ranks.participation >= 1).all()


def test_participation_of_equal_values_is_their_number_and_of_none_zero():
    values = torch.tensor([[1e-30] * 7, [0.0] * 7, [1e30] * 7], dtype=torch.float64)
    ranks = jacobian_ranks(values, 7)
    torch.testing.assert_close(ranks.participation, torch.tensor([7.0, 0.0, 7.0]).double())
    assert ranks.numerical.tolist() == [7.0, 0.0, 7.0]


def test_what_is_no_jacobian_of_one_image_is_refused():
    mixing = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match="evaluation mode"):
        jacobian_singular_values(mixing, torch.randn(3, 4))
    with pytest.raises(ValueError, match="one vector per input"):
        jacobian_singular_values(nn.Identity().eval(), torch.randn(3, 1, 4))
    with pytest.raises(ValueError, match="at least one"):
        jacobian_singular_values(nn.Identity().eval(), torch.randn(0, 4))
    with pytest.raises(ValueError, match="finite"):
        jacobian_ranks(torch.full((2, 3), torch.nan), 3)
