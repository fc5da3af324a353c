"""The coding rate of a batch, an entropy at finite precision."""

from __future__ import annotations

import math

from torch import Tensor

from solo_ldm.config.arguments import Positive, checked
from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.entropy.logdet import log_det_ridge
from solo_ldm.latents.base import Support


class CodingRateEntropy(EntropyEstimator):
    """Nats needed to code the samples up to a distortion, per feature.

    H = (1/2D) log det( I + D/(B ε²) ZᵀZ ), D the number of (stacked) features. Second moments are
    not centred, as in the source.

    Args:
        support: "plane" or "sphere".
        distortion: ε, the root of the mean squared error allowed per sample, in units of z.

    Raises:
        ValueError: ε is not above zero; fewer than two samples.

    Source:
        Yu et al., Maximal Coding Rate Reduction, arXiv 2006.08558, equation 7 (times 1/D here).
    """

    @checked
    def __init__(self, support: Support = "plane", distortion: Positive = 0.5) -> None:
        super().__init__(support)
        self.distortion = distortion

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return the value of samples (B, D) as a scalar; see the class for the equation."""
        batch, dim = z.shape
        scaled = z * math.sqrt(dim / (batch * self.distortion**2))
        return log_det_ridge(scaled, 1.0) / (2.0 * dim)

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        """Return D · value − (D/2) log(D/ε²) + (D/2) log 2πe.

        This is the entropy of a centred Gaussian with covariance ZᵀZ/B + (ε²/D) I: samples known up
        to the distortion.
        """
        stacked = dim * num_views
        log_scale = math.log(stacked / self.distortion**2)
        return stacked * value + 0.5 * stacked * (math.log(2.0 * math.pi * math.e) - log_scale)
