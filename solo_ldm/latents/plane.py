"""The Gaussian latent model on the plane ℝᴰ."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from solo_ldm.config.arguments import Positive, checked
from solo_ldm.latents.base import LatentModel
from solo_ldm.latents.views import mean_square, stacked
from solo_ldm.numerics import check_pair, narrow, widen


class GaussianPlane(LatentModel):
    """Two views differ by isotropic Gaussian noise.

    log p(z1, z2) = −λ · (1/D) Σ_d (z1_d − z2_d)², λ the prediction precision: a Gaussian of
    variance D / (2λ) in every dimension and a flat prior, constants dropped.

    Args:
        prediction_precision: λ, dimensionless; 5 in the paper, 12.5 with nearest neighbours.

    Raises:
        ValueError: λ is not above zero.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517; the scale is that of the authors' code.
    """

    support = "plane"

    @checked
    def __init__(self, prediction_precision: Positive = 5.0) -> None:
        super().__init__()
        self.prediction_precision = prediction_precision

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return −λ · mean_d (z1 − z2)² of each pair of latents, both (B, D).

        Returns:
            (B,), in nats up to the constant (D/2) log(λ / (πD)).

        Raises:
            ValueError: the shapes differ.
        """
        check_pair(z1, z2)
        square = (widen(z1) - widen(z2)).square().mean(dim=1)
        return narrow(-self.prediction_precision * square, z1)

    def mean_log_prob(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], num_large: int
    ) -> Tensor:
        """Return the mean over samples and pairs of views; see `mean_square`."""
        t = stacked(targets)
        p = t if predictions is targets else stacked(predictions)
        mean = mean_square(p, t, num_large) / t.shape[2]
        return narrow(-self.prediction_precision * mean, targets[0])
