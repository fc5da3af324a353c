"""A Gaussian in standardised coordinates, whose precision is what a dimension still disagrees."""

from __future__ import annotations

from torch import Tensor, autocast

from solo_ldm.config.arguments import Positive, checked
from solo_ldm.latents.base import LatentModel
from solo_ldm.numerics import check_pair, narrow, standardise, widen


class CorrelatedPlane(LatentModel):
    """Two views agree in each dimension up to scale and shift: the model of Barlow Twins.

    With x the latents standardised over the batch and C_dd = mean_i x1_id x2_id,

    log p(z1_i, z2_i) = −λ Σ_d (1 − C_dd) (1 − x1_id x2_id)

    1 − x1 x2 is ½ (x1 − x2)² up to a part whose mean over the batch is zero: a Gaussian whose
    precision in dimension d is (1 − C_dd), estimated from the batch. The mean over the batch is
    −λ Σ_d (1 − C_dd)², the invariance term of Barlow Twins. Other than in the other models, a
    pair's density depends on its batch.

    Args:
        prediction_precision: λ, dimensionless.
        ridge: ε, added to variances, in squared units of z.

    Raises:
        ValueError: λ or ε is not above zero.

    Source:
        Zbontar et al., Barlow Twins, arXiv 2103.03230, equation 1; read as a likelihood here.
    """

    support = "plane"

    @checked
    def __init__(self, prediction_precision: Positive = 1.0, ridge: Positive = 1e-5) -> None:
        super().__init__()
        self.prediction_precision, self.ridge = prediction_precision, ridge

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return −λ Σ_d (1 − C_dd) (1 − x1_d x2_d) of each pair of latents, both (B, D).

        Returns:
            (B,), dimensionless.

        Raises:
            ValueError: the shapes differ.
        """
        check_pair(z1, z2)
        with autocast(z1.device.type, enabled=False):
            x1, x2 = (standardise(widen(z), self.ridge) for z in (z1, z2))
            gap = 1.0 - x1 * x2
            return narrow(-self.prediction_precision * (gap @ gap.mean(dim=0)), z1)
