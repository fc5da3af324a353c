"""Kernel entropies whose most similar pairs are removed or count otherwise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from solo_ldm import pairs
from solo_ldm.entropy import KernelEntropy
from solo_ldm.latents import LATENTS, Support

SAMPLES = 24
each_support = pytest.mark.parametrize("support", ["plane", "sphere"])


def samples(support: Support) -> Tensor:
    z = torch.randn(SAMPLES, 5, dtype=torch.float64)
    return LATENTS[support]().project(z).requires_grad_()


def exponents(z: Tensor, support: Support, precision: float = 5.0) -> Tensor:
    if support == "sphere":
        return precision * z @ z.T
    return -precision * (z[:, None] - z).square().mean(dim=2)


def definition(
    z: Tensor, support: Support, count: int, weight: float, without_itself: bool = False
) -> Tensor:
    """Every sum written out: the kernels of the `count` most similar others times `weight`."""
    exponent = exponents(z, support)
    others = exponent.detach().clone().fill_diagonal_(-torch.inf)
    factors = torch.ones_like(others)
    factors.scatter_(1, others.topk(count, dim=1).indices, weight) if count else factors
    kernels = factors * exponent.exp()
    if without_itself:
        kernels = kernels * (1.0 - torch.eye(len(z), dtype=z.dtype))
    floor = 1e-8 if support == "plane" and not without_itself else 0.0
    return -(kernels.sum(dim=1) + floor).log().mean()


def value_and_gradient(value: Tensor, z: Tensor) -> tuple[Tensor, ...]:
    return value.detach(), *torch.autograd.grad(value, z)


@each_support
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("weight", [0.0, 0.3, 4.0])
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_similar_samples_count_as_the_definition_says(
    support, share, weight, leave_one_out, monkeypatch
):
    z, count = samples(support), int(share * (SAMPLES - 1))
    expected = value_and_gradient(definition(z, support, count, weight, leave_one_out), z)
    estimator = KernelEntropy(support, 5.0, leave_one_out, share, weight)
    for block, kept in ((2**24, 2**27), (8 * SAMPLES * 7, 0)):  # whole, and seven rows at a time
        monkeypatch.setattr(pairs, "BLOCK_BYTES", block)
        monkeypatch.setattr(pairs, "_KEPT_BYTES", kept)
        ours = value_and_gradient(estimator.marginal(z), z)
        torch.testing.assert_close(ours, expected, atol=1e-12, rtol=0)


@each_support
def test_a_share_of_none_and_a_weight_of_one_are_the_plain_estimator_bit_for_bit(support):
    z = samples(support)
    plain = value_and_gradient(KernelEntropy(support).marginal(z), z)
    for share, weight in ((0.0, 0.0), (0.9, 1.0), (0.9 / SAMPLES, 0.0)):
        made = KernelEntropy(support, similar_share=share, similar_weight=weight)
        assert all(map(torch.equal, value_and_gradient(made.marginal(z), z), plain))


@each_support
def test_without_all_others_but_one_it_is_the_mean_exponent_of_the_least_similar(support):
    z = samples(support)
    alone = KernelEntropy(support, 5.0, True, similar_share=0.999999)
    exponent = exponents(z, support)
    least = exponent.detach().clone().fill_diagonal_(torch.inf).argmin(dim=1, keepdim=True)
    expected = -exponent.gather(1, least).mean()
    ours = value_and_gradient(alone.marginal(z), z)
    torch.testing.assert_close(ours, value_and_gradient(expected, z), atol=1e-12, rtol=0)


def test_a_weight_of_exp_minus_beta_m_is_a_margin_of_m_on_the_cosine():
    z, margin, count = samples("sphere"), 0.2, 7
    exponent = exponents(z, "sphere")
    others = exponent.detach().clone().fill_diagonal_(-torch.inf)
    moved = torch.zeros_like(others).scatter_(1, others.topk(count, dim=1).indices, margin)
    expected = -torch.logsumexp(exponent - 5.0 * moved, dim=1).mean()
    share = (count + 0.5) / (SAMPLES - 1)
    made = KernelEntropy("sphere", 5.0, False, share, math.exp(-5.0 * margin))
    torch.testing.assert_close(made.marginal(z), expected, atol=1e-12, rtol=0)


@each_support
def test_samples_that_are_all_alike_have_no_most_similar_one(support):
    z = LATENTS[support]().project(torch.ones(SAMPLES, 5)).requires_grad_()
    made = KernelEntropy(support, similar_share=0.5)
    value, gradient = value_and_gradient(made.marginal(z), z)
    torch.testing.assert_close(value, KernelEntropy(support).marginal(z))
    assert gradient.isfinite().all()


def test_a_reweighed_value_is_no_entropy_in_nats():
    with pytest.raises(ValueError, match="KernelEntropy has no value in nats"):
        KernelEntropy(similar_share=0.1).to_nats(torch.zeros(()), 8, 2)
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match="similar_share: expected a number"):
            KernelEntropy(similar_share=share)
    with pytest.raises(ValueError, match="similar_weight: expected a number"):
        KernelEntropy(similar_weight=-1.0)


@each_support
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_of_two_views_the_most_similar_centres_of_other_samples_count_so_too(support, weight):
    z, centres, count = samples(support), samples(support).detach(), 5
    if support == "sphere":
        exponent = 5.0 * z @ centres.T
    else:
        exponent = -5.0 * (z[:, None] - centres).square().mean(dim=2)
    others = exponent.detach().clone().fill_diagonal_(-torch.inf)
    factors = torch.ones_like(others).scatter_(1, others.topk(count, dim=1).indices, weight)
    expected = value_and_gradient(-(factors * exponent.exp()).sum(dim=1).log().mean(), z)
    estimator = KernelEntropy(support, similar_share=5.5 / (SAMPLES - 1), similar_weight=weight)
    found = value_and_gradient(estimator.estimate_cross(z, centres), z)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
