"""The latent model of Huber's loss on the plane ℝᴰ: Gaussian near zero, Laplace far out."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from solo_ldm.config.arguments import NonNegative, Positive, checked
from solo_ldm.latents.base import LatentModel
from solo_ldm.numerics import check_pair, narrow, widen


class HuberPlane(LatentModel):
    """Two views differ by noise with a Gaussian centre and exponential tails.

    log p(z1, z2) = −λ · (1/D) Σ_d h(z1_d − z2_d),   h(r) = r² / (2β)  if |r| < β
                                                            |r| − β/2  otherwise

    λ the prediction precision: a density of scale D / λ in the tails of every dimension and a flat
    prior, constants dropped. At β = 0 it is Laplace's distribution. h is the smooth L1 loss; β
    times it is Huber's, so that λ = β matches by Huber's.

    Args:
        prediction_precision: λ, in units of 1 / z.
        huber_beta: β ≥ 0, in units of z: where the square ends.

    Raises:
        ValueError: λ is not above zero, or β is below it.

    Source:
        Huber 1964, "Robust estimation of a location parameter"; the smooth L1 loss of torch.
    """

    support = "plane"

    @checked
    def __init__(self, prediction_precision: Positive = 1.0, huber_beta: NonNegative = 1.0) -> None:
        super().__init__()
        self.prediction_precision = prediction_precision
        self.huber_beta = huber_beta

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return −λ · mean_d h(z1 − z2) of each pair of latents, both (B, D).

        Returns:
            (B,), in nats up to a constant of λ, β and D.

        Raises:
            ValueError: the shapes differ.
        """
        check_pair(z1, z2)
        loss = smooth_l1_loss(widen(z1), widen(z2), reduction="none", beta=float(self.huber_beta))
        return narrow(-self.prediction_precision * loss.mean(dim=1), z1)
