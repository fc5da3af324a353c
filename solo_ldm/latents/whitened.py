"""Whitened latents, compared as directions: the model of W-MSE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from solo_ldm.config.arguments import Positive, checked
from solo_ldm.latents.base import LatentModel
from solo_ldm.latents.views import mean_product, stacked
from solo_ldm.numerics import check_pair, narrow, widen

# As in the log-determinant: Cholesky succeeds on covariances of any size.
_RELATIVE_RIDGE = 1e-12


class WhitenedPlane(LatentModel):
    """Two views agree in their direction after each is whitened over the batch.

    log p(z1, z2) = −λ ‖x1 − x2‖² = −2λ (1 − x1ᵀx2),   x = y / ‖y‖,   y = L⁻¹ (z − mean),
    L Lᵀ = Cov(z) + ε I, Cov with divisor B − 1

    Whitening is by Cholesky, of each view over the whole batch (of all processes). Latents of unit
    covariance cannot collapse, so that no entropy is needed: it constrains what an entropy would
    reward. Scale, shift and correlations of the latents do not matter, and a pair's density
    depends on its batch.

    Args:
        prediction_precision: λ, dimensionless; 1 in W-MSE.
        ridge: ε, in squared units of z.

    Raises:
        ValueError: λ or ε is not above zero.

    Source:
        Ermolov et al., Whitening for Self-Supervised Representation Learning, arXiv 2007.06346,
        equations 2 to 5; they whiten random parts of a batch, here the whole batch is whitened.
    """

    support = "plane"
    prevents_collapse = True

    @checked
    def __init__(self, prediction_precision: Positive = 1.0, ridge: Positive = 1e-9) -> None:
        super().__init__()
        self.prediction_precision, self.ridge = prediction_precision, ridge

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return −2λ (1 − x1ᵀx2) of each pair of latents, both (B, D).

        Returns:
            (B,), dimensionless.

        Raises:
            ValueError: the shapes differ, or there are no more samples than dimensions.
        """
        check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            x1, x2 = (self._direction(widen(z)) for z in (z1, z2))
            gap = 1.0 - (x1 * x2).sum(dim=1)
            return narrow(-2.0 * self.prediction_precision * gap, z1)

    def mean_log_prob(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], num_large: int
    ) -> Tensor:
        """Return the mean over samples and pairs of views, each of which is whitened once."""
        with torch.autocast(targets[0].device.type, enabled=False):
            t = torch.stack([self._direction(z) for z in stacked(targets)])
            p = t
            if predictions is not targets:
                p = torch.stack([self._direction(z) for z in stacked(predictions)])
            gap = 1.0 - mean_product(p, t, num_large)
            return narrow(-2.0 * self.prediction_precision * gap, targets[0])

    def _direction(self, z: Tensor) -> Tensor:
        if len(z) <= z.shape[1]:
            raise ValueError(
                f"whitening {z.shape[1]} dimensions needs more samples than that, got a batch of "
                f"{len(z)}: raise optimizer.batch_size or lower method_kwargs.proj_output_dim"
            )
        centred = z - z.mean(dim=0)
        covariance = centred.T @ centred / (len(z) - 1)
        variance = covariance.diagonal()
        epsilon = self.ridge + _RELATIVE_RIDGE * variance.sum()
        factor = torch.linalg.cholesky(covariance + torch.diag_embed(epsilon.expand_as(variance)))
        return normalize(torch.linalg.solve_triangular(factor, centred.T, upper=False).T)
