"""Barlow Twins' redundancy between dimensions, read as an entropy."""

from __future__ import annotations

from torch import Tensor

from solo_ldm.config.arguments import NonNegative, Positive, checked
from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.latents.base import Support
from solo_ldm.numerics import standardise
from solo_ldm.pairs import gram, small_gram


class RedundancyEntropy(EntropyEstimator):
    """Minus the squared correlations between different dimensions.

    joint:     H = −ν Σ_{a≠b} C_ab², C_ab the correlation of z1's dimension a with z2's b
    marginal:  the same with z2 = z1

    To second order, the log-determinant of a correlation matrix is −½ of this sum: dimensions
    that repeat each other carry less entropy. The scale of the latents does not matter. With
    `CorrelatedPlane` and over="joint", −log p − H is Barlow Twins' published loss.

    Args:
        support: "plane" or "sphere".
        redundancy_weight: ν; 0.0051 in Barlow Twins.
        ridge: ε, added to variances, in squared units of z.

    Raises:
        ValueError: ν below zero, ε not above zero; fewer than two samples.

    Source:
        Zbontar et al., Barlow Twins, arXiv 2103.03230, equations 1 and 2.
    """

    not_in_nats = "correlations ignore variances"

    @checked
    def __init__(
        self,
        support: Support = "plane",
        redundancy_weight: NonNegative = 0.0051,
        ridge: Positive = 1e-5,
    ) -> None:
        super().__init__(support)
        self.redundancy_weight, self.ridge = redundancy_weight, ridge

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return the value of samples (B, D) as a scalar; see the class for the equation."""
        return self.estimate_joint(z, z)

    def estimate_joint(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the value of paired samples, both (B, D), as a scalar."""
        batch, dim = z1.shape
        if batch < dim:
            # ‖X1ᵀX2‖² = Σ (X1X1ᵀ ∘ X2X2ᵀ): the smaller matrices give the same sum.
            x1 = standardise(z1, self.ridge)
            x2 = x1 if z2 is z1 else standardise(z2, self.ridge)
            similar = small_gram(x1)
            total = (similar * (similar if z2 is z1 else small_gram(x2))).sum() / batch**2
            diagonal = (x1 * x2).mean(dim=0)
        else:
            correlations = self._correlations(z1, z2)
            total, diagonal = correlations.square().sum(), correlations.diagonal()
        return -self.redundancy_weight * (total - diagonal.square().sum())

    def _correlations(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return C (D, D) from the covariances: samples need not be scaled as well as centred."""
        x1 = z1 - z1.mean(dim=0)
        if z2 is z1:
            covariance = small_gram(x1) / len(x1)
            scales = [(covariance.diagonal() + self.ridge).rsqrt()] * 2
        else:
            x2 = z2 - z2.mean(dim=0)
            covariance = gram(x1, x2) / len(x1)
            scales = [(x.square().mean(dim=0) + self.ridge).rsqrt() for x in (x1, x2)]
        return covariance * scales[0][:, None] * scales[1]
