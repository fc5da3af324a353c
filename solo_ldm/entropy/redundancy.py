"""Barlow Twins' redundancy between dimensions, read as an entropy."""

from __future__ import annotations

from torch import Tensor

from solo_ldm.config.arguments import NonNegative, Positive, checked
from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.latents.base import Support
from solo_ldm.numerics import standardise
from solo_ldm.pairs import gram, outer


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
        x1 = standardise(z1, self.ridge)
        x2 = x1 if z2 is z1 else standardise(z2, self.ridge)
        batch, dim = x1.shape
        diagonal = (x1 * x2).mean(dim=0)
        # ‖X1ᵀX2‖² = Σ (X1X1ᵀ ∘ X2X2ᵀ): the smaller matrices give the same sum.
        if batch < dim:
            total = (outer(x1, x1) * outer(x2, x2)).sum() / batch**2
        else:
            total = (gram(x1, x2) / batch).square().sum()
        return -self.redundancy_weight * (total - diagonal.square().sum())
