"""All views around one direction, that of their mean: the model of EMP-SSL's code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from solo_ldm.config.arguments import Positive, checked
from solo_ldm.latents.base import LatentModel
from solo_ldm.latents.views import stacked
from solo_ldm.numerics import check_pair, narrow, widen


class MeanDirectionSphere(LatentModel):
    """The views of a sample are von Mises–Fisher distributed around a direction of its own.

    log p(z_1, …, z_V) = max_μ (κ/V) Σ_i z_iᵀμ = κ ‖z̄‖,   z̄ = (1/V) Σ_i z_i,   ‖z_i‖ = ‖μ‖ = 1

    the likelihood at the direction that makes it largest, μ = z̄/‖z̄‖: κ times the mean cosine
    between a view and the mean view. The plain sphere has κ z_iᵀz_j of pairs, whose mean is linear
    in ‖z̄‖² = (1 + (V − 1) mean_ij z_iᵀz_j) / V: the two agree to first order where views agree,
    and this one pulls harder where they do not. With a predictor or another target it is of pairs.

    Args:
        prediction_precision: κ, dimensionless; 200 in EMP-SSL.

    Raises:
        ValueError: κ is not above zero.

    Source:
        Tong et al., EMP-SSL, arXiv 2304.03977, and their code (tsb0601/EMP-SSL), whose similarity
        is the mean cosine of patches with their mean; read as a profile likelihood here.
    """

    support = "sphere"

    @checked
    def __init__(self, prediction_precision: Positive = 200.0) -> None:
        super().__init__()
        self.prediction_precision = prediction_precision

    def project(self, h: Tensor) -> Tensor:
        """Return h / ‖h‖ for each row of `h` (B, D); zero vectors stay zero."""
        return narrow(normalize(widen(h)), h)

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return κ ‖z1 + z2‖ / 2 of each pair of unit vectors, both (B, D).

        Returns:
            (B,), in nats up to the constant log C_D(κ) and the entropy of the uniform prior.

        Raises:
            ValueError: the shapes differ.
        """
        check_pair(z1, z2)
        mean = 0.5 * (widen(z1) + widen(z2))
        return narrow(self.prediction_precision * _length(mean), z1)

    def mean_log_prob(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], num_large: int
    ) -> Tensor:
        """Return the mean of κ ‖z̄‖ over samples, z̄ over all views, small ones too."""
        if predictions is not targets:
            return super().mean_log_prob(predictions, targets, num_large)
        mean = stacked(targets).mean(dim=0)
        return narrow(self.prediction_precision * _length(mean).mean(), targets[0])


def _length(x: Tensor) -> Tensor:
    """Return ‖x‖ of each row, whose gradient at zero is zero."""
    return torch.linalg.vector_norm(x, dim=1)
