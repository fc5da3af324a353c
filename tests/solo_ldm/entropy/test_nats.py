"""What estimators return in nats, exactly: densities and distances written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import digamma
from scipy.stats import chi2
from torch.distributions import MultivariateNormal
from torch.nn.functional import normalize

from solo_ldm.entropy import (
    CodingRateEntropy,
    KernelEntropy,
    LogDetEntropy,
    LogDetExpansionEntropy,
    NeighbourEntropy,
    NoEntropy,
    RedundancyEntropy,
    VICRegEntropy,
)


def wide(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def nats(estimator, views):
    """The value in nats, of samples or of pairs of them."""
    value = estimator.joint(*views) if len(views) == 2 else estimator.marginal(*views)
    return estimator.to_nats(value, *views[0].shape, num_views=len(views)).item()


def mean_log_density(log_kernels, leave_one_out):
    """(1/B) Σ_i log of the mean kernel, over all samples or the others."""
    kernels = log_kernels.exp()
    if leave_one_out:
        others = ~torch.eye(len(kernels), dtype=torch.bool)
        kernels = kernels[others].view(len(kernels), -1)
    return kernels.mean(dim=1).log().mean().item()


@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("dim", [1, 3])
def test_the_plane_kernel_is_the_gaussian_of_variance_d_over_twice_the_precision(
    dim, views, leave_one_out
):
    samples = [0.2 * wide(9, dim) for _ in range(views)]
    estimator = KernelEntropy("plane", 3.0, leave_one_out)
    stacked, size = torch.cat(samples, dim=1), dim * views
    covariance = size / (2 * 3.0) * torch.eye(size, dtype=torch.float64)
    log_kernels = MultivariateNormal(stacked, covariance).log_prob(stacked[:, None])
    expected = -mean_log_density(log_kernels, leave_one_out)
    assert nats(estimator, samples) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("views", [1, 2])
def test_the_sphere_kernel_is_the_von_mises_fisher_density_of_each_view(views, leave_one_out):
    """In three dimensions κ / (4π sinh κ) exp(κ zᵀz'), and the product over views."""
    samples = [normalize(wide(9, 3)) for _ in range(views)]
    log_normaliser = math.log(4.0 / (4.0 * math.pi * math.sinh(4.0)))
    log_kernels = sum(4.0 * z @ z.T + log_normaliser for z in samples)
    expected = -mean_log_density(log_kernels, leave_one_out)
    estimator = KernelEntropy("sphere", 4.0, leave_one_out)
    assert nats(estimator, samples) == pytest.approx(expected, abs=1e-12)


# Volumes of the unit balls |x|_p ≤ 1 in the plane and in space.
VOLUMES = {
    1.0: {1: 2.0, 2: 2.0, 3: 4.0 / 3.0, 4: 2.0 / 3.0, 6: 64.0 / 720.0},
    2.0: {1: 2.0, 2: math.pi, 3: 4.0 / 3.0 * math.pi, 4: math.pi**2 / 2.0, 6: math.pi**3 / 6.0},
    math.inf: {1: 2.0, 2: 4.0, 3: 8.0, 4: 16.0, 6: 64.0},
}


@pytest.mark.parametrize("norm", VOLUMES)
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("support", ["plane", "sphere"])
def test_the_neighbour_estimate_is_kozachenko_and_leonenkos(support, views, norm):
    """ψ(B) − ψ(k) + log V + (m/B) Σ log ρ_k, m the dimension of the support."""
    samples = [wide(12, 3) for _ in range(views)]
    samples = [normalize(z) if support == "sphere" else z for z in samples]
    z = torch.cat(samples, dim=1).numpy()
    apart = np.linalg.norm(z[:, None] - z, ord=norm, axis=2)
    reach = np.sort(apart, axis=1)[:, 2]  # that of the sample itself is first
    dim = views * (3 if support == "plane" else 2)
    expected = digamma(12) - digamma(2) + math.log(VOLUMES[norm][dim]) + dim * np.log(reach).mean()
    estimator = NeighbourEntropy(support, num_neighbours=2, norm=norm, clip_quantile=1.0)
    assert nats(estimator, samples) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, 4.0, math.inf])
def test_duplicates_have_distance_zero_and_pull_at_nothing(norm):
    z = wide(3, 2).repeat(2, 1).requires_grad_()
    value = NeighbourEntropy(num_neighbours=1, norm=norm, clip_quantile=1.0).marginal(z)
    assert value.item() == pytest.approx(math.log(1e-8))
    (gradient,) = torch.autograd.grad(value, z)
    assert gradient.eq(0.0).all()


def test_distances_above_the_quantile_are_clipped_to_it():
    z = wide(20, 2)
    reach = torch.cdist(z, z).sort(dim=1).values[:, 3]
    for quantile in (0.3, 0.9):
        clipped = reach.clamp(max=torch.quantile(reach, quantile))
        ours = NeighbourEntropy(clip_quantile=quantile).marginal(z)
        torch.testing.assert_close(ours, (clipped + 1e-8).log().mean(), atol=1e-12, rtol=0)
    assert NeighbourEntropy().clip_quantile == 0.9


def expected_log_chi_squared(degrees):
    """E log χ², by quadrature over the logarithm."""

    def integrand(x):
        return x * chi2.pdf(math.exp(x), degrees) * math.exp(x)

    return quad(integrand, -60.0, 8.0, limit=200, epsabs=1e-11)[0]


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize(("num_samples", "dim"), [(7, 1), (9, 2), (8, 3)])
def test_the_log_determinant_in_nats_is_unbiased_for_gaussian_samples(num_samples, dim, views):
    """By Bartlett: det of B − 1 times the sample covariance is a product of χ²_{B−i}, i = 1 … D."""
    stacked = dim * views
    log_det = sum(expected_log_chi_squared(num_samples - i) for i in range(1, stacked + 1))
    mean_value = (log_det - stacked * math.log(num_samples - 1)) / (2.0 * stacked)
    entropy = 0.5 * stacked * math.log(2.0 * math.pi * math.e)
    value = torch.tensor(mean_value, dtype=torch.float64)
    ours = LogDetEntropy().to_nats(value, num_samples, dim, views)
    assert ours.item() == pytest.approx(entropy, abs=1e-7)


def test_the_log_determinant_of_a_singular_covariance_has_the_ridge_and_a_share_of_the_trace():
    """λ + ε and D − 1 times ε, with ε the ridge and 1e-12 of the trace λ."""
    for size in (1.0, 1e9):
        z = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, -2.0]], dtype=torch.float64) * size
        trace = 9.0 * size**2 / 2.0
        epsilon = 1e-6 + 1e-12 * trace
        expected = (math.log(trace + epsilon) + 2.0 * math.log(epsilon)) / 6.0
        assert LogDetEntropy().marginal(z).item() == pytest.approx(expected, abs=1e-4)


def test_with_no_more_samples_than_features_the_bias_stays():
    value = torch.tensor(-0.3, dtype=torch.float64)
    for views in (1, 2):
        expected = 4 * views * (-0.3 + 0.5 * math.log(2.0 * math.pi * math.e))
        ours = LogDetEntropy().to_nats(value, 4 * views, 4, views)
        assert ours.item() == pytest.approx(expected)
        above = LogDetEntropy().to_nats(value, 4 * views + 1, 4, views)
        assert above.item() > expected + 0.1


@pytest.mark.parametrize("views", [1, 2])
def test_the_expansion_in_nats_is_the_gaussian_entropy_of_uncorrelated_features(views):
    z = torch.linalg.qr(wide(20, 2 * views + 1) + 1.0).Q
    z = torch.linalg.qr(torch.cat([torch.ones(20, 1).double(), z], dim=1)).Q[:, 1 : 2 * views + 1]
    scales = torch.arange(1.0, 2 * views + 1, dtype=torch.float64)
    samples = (z * math.sqrt(19) * scales).split(2, dim=1)
    expected = scales.log().sum().item() + views * math.log(2.0 * math.pi * math.e)
    assert nats(LogDetExpansionEntropy(ridge=1e-12), samples) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize(("num_samples", "dim"), [(30, 2), (3, 4)])
def test_the_coding_rate_is_its_definition_and_in_nats_a_gaussians_with_the_distortion(
    num_samples, dim, views
):
    """The entropy of N(0, ZᵀZ/B + ε²/D I)."""
    samples = [wide(num_samples, dim) for _ in range(views)]
    stacked, size = torch.cat(samples, dim=1), dim * views
    moment, identity = stacked.T @ stacked / num_samples, torch.eye(size, dtype=torch.float64)
    estimator = CodingRateEntropy(distortion=0.3)
    rate = 0.5 * torch.logdet(identity + size / 0.09 * moment) / size
    value = estimator.joint(*samples) if views == 2 else estimator.marginal(*samples)
    torch.testing.assert_close(value, rate, atol=1e-9, rtol=0)
    law = MultivariateNormal(torch.zeros(size).double(), moment + 0.09 / size * identity)
    assert nats(estimator, samples) == pytest.approx(law.entropy().item(), abs=1e-7)


def test_vicregs_hinge_is_flat_above_its_target():
    z = wide(15, 4) * torch.tensor([0.1, 0.5, 2.0, 9.0], dtype=torch.float64)
    covariance = torch.cov(z.T)
    std = (covariance.diagonal() + 1e-2).sqrt()
    hinge = (1.2 - std).clamp(min=0.0).sum() / 4
    squares = (covariance.square().sum() - covariance.diagonal().square().sum()) / 4
    estimator = VICRegEntropy("plane", 3.0, 0.7, 1.2, 1e-2)
    torch.testing.assert_close(estimator.marginal(z), -3.0 * hinge - 0.7 * squares)
    assert (std > 1.2).any()
    assert (std < 1.2).any()


@pytest.mark.parametrize(("num_samples", "dim"), [(6, 3), (3, 6), (4, 4)])
def test_the_redundancy_is_that_of_correlations_with_the_ridge_in_each_variance(num_samples, dim):
    z1, z2 = wide(num_samples, dim), wide(num_samples, dim)
    x1, x2 = ((z - z.mean(0)) / (z.var(0, correction=0) + 0.3).sqrt() for z in (z1, z2))
    correlation = x1.T @ x2 / num_samples
    expected = -2.0 * (correlation.square().sum() - correlation.diagonal().square().sum())
    estimator = RedundancyEntropy("plane", 2.0, 0.3)
    torch.testing.assert_close(estimator.joint(z1, z2), expected)
    pooled = RedundancyEntropy("plane", 2.0, 0.3).joint(z1, z1)
    torch.testing.assert_close(estimator.marginal(z1), pooled)


@pytest.mark.parametrize("support", ["plane", "sphere"])
def test_a_value_is_of_one_view_unless_said_otherwise(support):
    value = torch.tensor(-0.4, dtype=torch.float64)
    kinds = (KernelEntropy, NeighbourEntropy, LogDetEntropy, LogDetExpansionEntropy)
    for estimator in (*(kind(support) for kind in kinds), CodingRateEntropy(support)):
        default = estimator.to_nats(value, 12, 3)
        assert default == estimator.to_nats(value, 12, 3, num_views=1)
        assert default != estimator.to_nats(value, 12, 3, num_views=2)


def test_the_fewest_samples_are_one_for_nothing_two_for_a_density_and_one_more_than_neighbours():
    assert NoEntropy().marginal(torch.zeros(1, 3)).item() == 0.0
    for estimator, fewest in ((KernelEntropy(), 2), (NeighbourEntropy(num_neighbours=4), 5)):
        assert estimator.fewest_samples == fewest
        assert estimator.marginal(torch.randn(fewest, 3)).isfinite()
        with pytest.raises(ValueError, match=f"needs at least {fewest} samples"):
            estimator.marginal(torch.randn(fewest - 1, 3))
