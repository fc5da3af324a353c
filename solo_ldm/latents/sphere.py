"""The von Mises–Fisher latent model on the unit sphere Sᴰ⁻¹."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
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
        learn_precision: κ is a parameter, by its logarithm, and `prediction_precision` where it
            starts. The kernel of the entropy sharpens in proportion.
        largest_precision: κ is clamped to it before each step.

    Raises:
        ValueError: κ is not above zero, or starts above the largest.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517; the scale is that of the authors' code. Learned
        precision: Radford et al., CLIP, arXiv 2103.00020, section 2.5.
    """

    support = "sphere"

    @checked
    def __init__(
        self,
        prediction_precision: Positive = 5.0,
        learn_precision: bool = False,
        largest_precision: Positive = 100.0,
    ) -> None:
        super().__init__()
        self.prediction_precision = prediction_precision
        self.learn_precision, self.largest_precision = learn_precision, largest_precision
        self.log_precision: nn.Parameter | None = None
        if learn_precision:
            if prediction_precision > largest_precision:
                raise ValueError(
                    f"prediction_precision: expected at most largest_precision="
                    f"{largest_precision:g}, got {prediction_precision:g}; raise largest_precision"
                )
            self.log_precision = nn.Parameter(torch.tensor(math.log(prediction_precision)))

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
        aligned = (widen(z1) * widen(z2)).sum(dim=1)
        return narrow(self._precision() * aligned, z1)

    def mean_log_prob(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], num_large: int
    ) -> Tensor:
        """Return the mean over samples and pairs of views; see `mean_product`."""
        t = stacked(targets)
        p = t if predictions is targets else stacked(predictions)
        return narrow(self._precision() * mean_product(p, t, num_large), targets[0])

    def precision_factor(self) -> Tensor | None:
        """Return a learned κ relative to where it started; None where it is not learned."""
        if self.log_precision is None:
            return None
        return (widen(self.log_precision) - math.log(self.prediction_precision)).exp()

    @torch.no_grad()
    def at(self, progress: float) -> None:
        """Clamp a precision that is learned."""
        if self.log_precision is not None:
            self.log_precision.clamp_(max=math.log(self.largest_precision))

    def schedule(self, dim: int) -> dict[str, float | Tensor]:
        """Return the precision, if it is learned."""
        learned = self.log_precision
        return {} if learned is None else {"precision": learned.detach().exp()}

    def _precision(self) -> float | Tensor:
        """Return κ."""
        factor = self.precision_factor()
        kappa: float | Tensor = self.prediction_precision
        return kappa if factor is None else kappa * factor
