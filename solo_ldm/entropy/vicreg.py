"""VICReg's variance hinge and covariance penalty, read as an entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.entropy.logdet import small_gram
from solo_ldm.latents.base import Support, positive
from solo_ldm.numerics import check_samples, narrow, widen


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

    def __init__(
        self,
        support: Support = "plane",
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        target_std: float = 1.0,
        ridge: float = 1e-4,
    ) -> None:
        super().__init__(support)
        if variance_weight < 0.0 or covariance_weight < 0.0:
            raise ValueError(
                "variance_weight and covariance_weight must be at least 0, "
                f"got {variance_weight} and {covariance_weight}"
            )
        self.variance_weight = float(variance_weight)
        self.covariance_weight = float(covariance_weight)
        self.target_std = positive(target_std, "target_std")
        self.ridge = positive(ridge, "ridge")

    def marginal(self, z: Tensor) -> Tensor:
        """Return the value for samples (B, D) as a scalar; see the class for the equation."""
        check_samples(z, self.fewest_samples, "VICRegEntropy", "raise optimizer.batch_size")
        with torch.autocast(z.device.type, enabled=False):
            wide = widen(z)
            centred = (wide - wide.mean(dim=0)) / math.sqrt(z.shape[0] - 1)
            variance = centred.square().sum(dim=0)
            hinge = torch.relu(self.target_std - (variance + self.ridge).sqrt()).mean()
            # ‖XᵀX‖² = ‖XXᵀ‖²: the smaller matrix gives the same sum of squared covariances.
            off_diagonal = small_gram(centred).square().sum() - variance.square().sum()
            covariance = off_diagonal / z.shape[1]
            return narrow(-self.variance_weight * hinge - self.covariance_weight * covariance, z)

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        """Raise a ValueError: the hinge saturates, so its value does not determine an entropy."""
        raise ValueError(
            "VICReg's penalties have no value in nats (the hinge is flat above target_std); "
            "use LogDetEntropy on the same latents to read an entropy"
        )

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        return (
            f"support={self.support!r}, variance_weight={self.variance_weight}, "
            f"covariance_weight={self.covariance_weight}, target_std={self.target_std}"
        )
