"""VICReg's variance hinge and covariance penalty, read as an entropy."""

from __future__ import annotations

import torch
from torch import Tensor

from solo_ldm.config.arguments import NonNegative, Positive, checked
from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.entropy.logdet import scatter_root, sum_of_squares_off_diagonal
from solo_ldm.latents.base import Support


class VICRegEntropy(EntropyEstimator):
    """Minus VICReg's regularisers: variances up to a target, covariances towards zero.

    H = −μ · mean_d max(0, γ − √(Var(z_d) + ε)) − (ν / D) Σ_{a≠b} Cov(z)_ab²

    With the Gaussian on the plane at prediction_precision 25, over="marginal" and the default
    weights, −log p − H is VICReg's published loss.

    Args:
        support: "plane" or "sphere".
        variance_weight: μ.
        covariance_weight: ν.
        target_std: γ, in units of z.
        ridge: ε, in squared units of z.

    Raises:
        ValueError: a weight below zero, γ or ε not above zero; fewer than two samples.

    Source:
        Bardes et al., VICReg, arXiv 2105.04906, equations 1 to 6, coefficients of section 4.2.
    """

    not_in_nats = "the hinge is flat above target_std"

    @checked
    def __init__(
        self,
        support: Support = "plane",
        variance_weight: NonNegative = 25.0,
        covariance_weight: NonNegative = 1.0,
        target_std: Positive = 1.0,
        ridge: Positive = 1e-4,
    ) -> None:
        super().__init__(support)
        self.variance_weight, self.covariance_weight = variance_weight, covariance_weight
        self.target_std, self.ridge = target_std, ridge

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return the value of samples (B, D) as a scalar; see the class for the equation."""
        root = scatter_root(z)
        std = (root.square().sum(dim=0) + self.ridge).sqrt()
        hinge = torch.relu(self.target_std - std).mean()
        covariance = sum_of_squares_off_diagonal(root) / z.shape[1]
        return -self.variance_weight * hinge - self.covariance_weight * covariance
