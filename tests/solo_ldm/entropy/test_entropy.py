"""Estimators against closed-form entropies and against direct computations."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import ive
from scipy.stats import vonmises_fisher

from solo_ldm.entropy import (
    KernelEntropy,
    LogDetEntropy,
    LogDetExpansionEntropy,
    NeighbourEntropy,
    RedundancyEntropy,
    logdet,
)
from solo_ldm.entropy.kernel import von_mises_fisher_log_normaliser
from solo_ldm.numerics import widen
from solo_ldm.pairs import squared_distances
from tests.support.methods.cells import ESTIMATORS, ON_SUPPORT, SUPPORTS, each_estimator


def correlated_gaussian(num_samples: int, dim: int) -> tuple[torch.Tensor, float]:
    """Samples of a Gaussian with unequal variances and correlations, and its entropy in nats."""
    factor = torch.eye(dim) + 0.3 * torch.randn(dim, dim).tril(-1)
    factor *= torch.linspace(0.5, 2.0, dim)[:, None]
    entropy = 0.5 * dim * math.log(2 * math.pi * math.e) + factor.diagonal().log().sum().item()
    return (torch.randn(num_samples, dim) @ factor.T).double(), entropy


@pytest.mark.parametrize(("dim", "k"), [(1, 1), (5, 3)])
def test_neighbour_entropy_of_a_gaussian_is_its_closed_form(dim, k):
    z, expected = correlated_gaussian(2000, dim)
    estimator = NeighbourEntropy(num_neighbours=k, clip_quantile=1.0)
    nats = estimator.to_nats(estimator.marginal(z), *z.shape)
    # Standard error about sqrt((dim/2 + trigamma(k)) / 2000): at most 0.04; bias below that.
    assert nats.item() == pytest.approx(expected, abs=0.15)


def test_kernel_entropy_of_a_von_mises_fisher_distribution_is_its_closed_form():
    concentration = 4.0
    law = vonmises_fisher([0.0, 0.0, 1.0], concentration, seed=0)
    z = torch.from_numpy(law.rvs(3000))
    estimator = KernelEntropy("sphere", 200.0)
    nats = estimator.to_nats(estimator.marginal(z), *z.shape)
    assert nats.item() == pytest.approx(float(law.entropy()), abs=0.08)


def log_bessel_by_olvers_expansion(order: float, x: float) -> float:
    """log I_v(x) for large v, to the second correction: DLMF 10.41.3."""
    z = x / order
    root = math.sqrt(1 + z * z)
    t = 1 / root
    eta = root + math.log(z / (1 + root))
    first = (3 * t - 5 * t**3) / 24
    second = (81 * t**2 - 462 * t**4 + 385 * t**6) / 1152
    correction = math.log1p(first / order + second / order**2)
    return order * eta - 0.5 * math.log(2 * math.pi * order * root) + correction


@pytest.mark.parametrize("concentration", [0.1, 5.0, 300.0])
@pytest.mark.parametrize("dim", [2, 3, 16, 512, 2048])
def test_von_mises_fisher_normaliser_equals_known_bessel_functions(dim, concentration):
    order = dim / 2 - 1
    # scipy underflows at large orders, where Olver's expansion is accurate.
    if order > 100:
        log_bessel = log_bessel_by_olvers_expansion(order, concentration)
    else:
        log_bessel = math.log(ive(order, concentration)) + concentration
    expected = order * math.log(concentration) - dim / 2 * math.log(2 * math.pi) - log_bessel
    ours = von_mises_fisher_log_normaliser(concentration, dim)
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-7)


@pytest.mark.parametrize(("batch", "dim"), [(64, 16), (16, 64), (32, 32)])
def test_logdet_equals_slogdet_of_the_covariance_on_both_sides_of_the_gram_trick(batch, dim):
    z = torch.randn(batch, dim, dtype=torch.float64)
    ridge = 1e-3
    covariance = torch.cov(z.T) + ridge * torch.eye(dim, dtype=torch.float64)
    expected = torch.linalg.slogdet(covariance).logabsdet / (2 * dim)
    torch.testing.assert_close(LogDetEntropy(ridge=ridge).marginal(z), expected)


@pytest.mark.parametrize("without_inverse", [(), ("cpu",)])
@pytest.mark.parametrize(("batch", "dim"), [(64, 16), (16, 64)])
def test_the_gradient_of_logdet_is_that_of_slogdet(batch, dim, without_inverse, monkeypatch):
    monkeypatch.setattr(logdet, "_WITHOUT_INVERSE", without_inverse)
    z = torch.randn(batch, dim, dtype=torch.float64, requires_grad=True)
    covariance = torch.cov(z.T) + 0.1 * torch.eye(dim, dtype=torch.float64)
    expected = 5.0 * torch.linalg.slogdet(covariance).logabsdet / (2 * dim)
    ours = 5.0 * LogDetEntropy(ridge=0.1).marginal(z)
    found = [torch.autograd.grad(value, z)[0] for value in (ours, expected)]
    # To the 1e-12th of the trace that is added to the ridge.
    torch.testing.assert_close(*found, atol=1e-10, rtol=0)


def test_logdet_expansion_is_second_order_accurate_in_the_correlations():
    mixing = torch.randn(6, 6, dtype=torch.float64)
    z = torch.linalg.qr(torch.randn(200, 6, dtype=torch.float64) - 0.0).Q
    z = z - z.mean(0)
    z = torch.linalg.qr(z).Q * math.sqrt(199)

    def gap(size: float) -> float:
        mixed = z @ (torch.eye(6, dtype=torch.float64) + size * mixing)
        exact = LogDetEntropy(ridge=1e-12).marginal(mixed)
        return abs((LogDetExpansionEntropy(ridge=1e-12).marginal(mixed) - exact).item())

    # The first term left out is of third order: halving correlations divides it by eight.
    assert gap(0.02) / gap(0.01) == pytest.approx(8, rel=0.2)


def test_logdet_expansion_equals_the_direct_sum_over_correlations():
    z = torch.randn(20, 50, dtype=torch.float64)
    ridge = 1e-2
    covariance = torch.cov(z.T)
    variance = covariance.diagonal() + ridge
    correlation = covariance / (variance[:, None] * variance).sqrt()
    off_diagonal = correlation.square().sum() - correlation.diagonal().square().sum()
    expected = (variance.log().sum() - 0.5 * off_diagonal) / (2 * 50)
    torch.testing.assert_close(LogDetExpansionEntropy(ridge=ridge).marginal(z), expected)


@pytest.mark.parametrize("name", ["vicreg", "redundancy", "sliced", "none"])
def test_what_is_no_entropy_has_no_value_in_nats_and_says_so(name):
    with pytest.raises(ValueError, match="LogDetEntropy on"):
        ESTIMATORS[name]().to_nats(torch.tensor(0.0), 10, 2)


def test_no_entropy_is_zero_and_pulls_at_nothing():
    z = torch.randn(8, 3, requires_grad=True)
    value = ESTIMATORS["none"]().marginal(z)
    assert value.item() == 0.0
    assert not value.requires_grad


@pytest.mark.parametrize(("batch", "dim"), [(64, 16), (16, 64)])
def test_redundancy_is_the_squared_correlation_of_different_dimensions(batch, dim):
    z1, z2 = (torch.randn(batch, dim, dtype=torch.float64) * 3.0 + 1.0 for _ in range(2))
    correlation = torch.corrcoef(torch.cat([z1, z2], dim=1).T)[:dim, dim:]
    expected = correlation.square().sum() - correlation.diagonal().square().sum()
    estimator = RedundancyEntropy(redundancy_weight=0.3, ridge=1e-12)
    torch.testing.assert_close(estimator.joint(z1, z2), -0.3 * expected)
    # Of one set of samples, which takes another way.
    estimator = RedundancyEntropy(redundancy_weight=0.3, ridge=2.0)
    torch.testing.assert_close(estimator.marginal(z1), estimator.joint(z1, z1.clone()))
    z1.requires_grad_()
    (gradient,) = torch.autograd.grad(estimator.marginal(z1), z1)
    twin = z1.detach().clone().requires_grad_()
    pair = torch.autograd.grad(estimator.joint(z1, twin), (z1, twin))
    torch.testing.assert_close(gradient, pair[0] + pair[1], atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-2, 1e-3])
def test_redundancy_is_the_log_determinant_of_small_correlations(scale):
    """−½ Σ corr² is log det of the correlation matrix to second order."""
    z = torch.randn(4000, 4, dtype=torch.float64)
    z = torch.linalg.qr(z - z.mean(0)).Q * math.sqrt(4000)
    mixed = z @ (torch.eye(4, dtype=torch.float64) + scale * torch.randn(4, 4).double())
    exact = torch.logdet(torch.corrcoef(mixed.T))
    ours = RedundancyEntropy(redundancy_weight=0.5, ridge=1e-12).marginal(mixed)
    assert ours.item() == pytest.approx(exact.item(), rel=20 * scale)


@pytest.mark.parametrize("support", SUPPORTS)
def test_leaving_a_sample_out_takes_its_own_kernel_out_of_the_sum(support):
    z = torch.randn(9, 3, dtype=torch.float64)
    if support == "sphere":
        kernels = torch.exp(2.0 * z @ z.T)
    else:
        kernels = torch.exp(-2.0 * (z[:, None] - z).square().mean(dim=2))
    others = kernels.sum(dim=1) - kernels.diagonal()
    ours = KernelEntropy(support, 2.0, leave_one_out=True).marginal(z)
    torch.testing.assert_close(ours, -others.log().mean())


@each_estimator
def test_pooled_is_the_entropy_of_both_views_together(support, name):
    estimator = ESTIMATORS[name](support)
    z1, z2 = torch.randn(12, 4), torch.randn(12, 4)
    torch.testing.assert_close(estimator.pooled(z1, z2), estimator.marginal(torch.cat([z1, z2])))


@pytest.mark.parametrize(("support", "name"), [one for one in ON_SUPPORT if one[1] != "none"])
def test_spreading_out_raises_the_entropy(support, name):
    z = torch.nn.functional.normalize(torch.randn(64, 4, dtype=torch.float64))
    clustered = torch.nn.functional.normalize(z + 3.0)
    estimator = ESTIMATORS[name](support)
    assert estimator.marginal(z) > estimator.marginal(clustered)


@pytest.mark.parametrize("scale", [1e-4, 1e-5])
def test_distances_of_near_duplicates_keep_their_digits_in_float32(scale):
    """Two samples 1e-4 apart, 30 away from the origin: float32 Gram matrices lose the distance."""
    centre = torch.randn(1, 512) * 30 / math.sqrt(512)
    z = torch.cat([centre + scale * torch.randn(8, 512), torch.randn(8, 512)])
    exact = torch.cdist(z.double(), z.double(), compute_mode="donot_use_mm_for_euclid_dist")
    wide = widen(z)
    ours = squared_distances(wide - wide.mean(dim=0)).sqrt()
    off_diagonal = ~torch.eye(16, dtype=torch.bool)
    torch.testing.assert_close(ours[off_diagonal], exact[off_diagonal], rtol=1e-4, atol=0)


def test_neighbour_gradients_push_near_duplicates_straight_apart():
    z = torch.zeros(2, 3)
    z[1, 0] = 1e-5
    z.requires_grad_()
    NeighbourEntropy(num_neighbours=1, clip_quantile=1.0).marginal(z).backward()
    assert z.grad is not None
    assert z.grad[0, 0] < 0 < z.grad[1, 0]
    assert z.grad[:, 1:].abs().max() == 0
