"""The von Mises–Fisher latent model on the unit sphere Sᴰ⁻¹."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import normalize

from solo_ldm.config.arguments import Positive, checked
from solo_ldm.latents.base import LatentModel
from solo_ldm.latents.views import mean_product, stacked
from solo_ldm.numerics import check_pair, narrow, widen


class VonMisesFisherSphere(LatentModel):
    """One view is von Mises–Fisher distributed around the other.

    log p(z1, z2) = κ · z1ᵀz2 on the unit sphere, κ the prediction precision (concentration),
    constants dropped.

    Args:
        prediction_precision: κ, dimensionless; 5 in the paper, 2.5 for joint entropies on
            CIFAR-100 and ImageNet-100.

    Raises:
        ValueError: κ is not above zero.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517; the scale is that of the authors' code.
    """

    support = "sphere"

    @checked
    def __init__(self, prediction_precision: Positive = 5.0) -> None:
        super().__init__()
        self.prediction_precision = prediction_precision

    def project(self, h: Tensor) -> Tensor:
        """Return h / ‖h‖ for each row of `h` (B, D); zero vectors stay zero."""
        return narrow(normalize(widen(h)), h)

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return κ · z1ᵀz2 of each pair of unit vectors, both (B, D).

        Returns:
            (B,), in nats up to the constant log C_D(κ) and the entropy of the uniform prior.

        Raises:
            ValueError: the shapes differ.
        """
        check_pair(z1, z2)
        return narrow(self.prediction_precision * (widen(z1) * widen(z2)).sum(dim=1), z1)

    def mean_log_prob(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], num_large: int
    ) -> Tensor:
        """Return the mean over samples and pairs of views; see `mean_product`."""
        t = stacked(targets)
        p = t if predictions is targets else stacked(predictions)
        return narrow(self.prediction_precision * mean_product(p, t, num_large), targets[0])
