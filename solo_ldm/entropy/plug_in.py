"""The plug-in entropy of categories."""

from __future__ import annotations

from torch import Tensor

from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.latents.base import Support
from solo_ldm.numerics import safe_log
from solo_ldm.pairs import category_table


class PlugInEntropy(EntropyEstimator):
    """The entropy of the category of a random sample, its distribution taken from the batch.

    marginal:  H[c] = −Σ_c π_c log π_c,   π = mean_i z_i
    joint:     H[c1, c2] = −Σ P log P,    P = mean_i z1_i z2_iᵀ
    pooled:    the marginal of the 2B samples of both views

    Given their images the categories of two views are independent, so that P is the distribution
    of the pair. It is in nats, 0 to log n (2 log n), and biased down by about (n − 1) / 2B nats
    where latents are certain (Miller & Madow).

    Args:
        support: "simplex".

    Raises:
        ValueError: another support; fewer than two samples.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517, and their code (catprob), which adds 1e-6 to each
        probability within the logarithm.
    """

    supports = ("simplex",)

    def __init__(self, support: Support = "simplex") -> None:
        super().__init__(support)

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return H[c] of probabilities (B, n) as a scalar, in nats."""
        return _entropy(z.mean(dim=0))

    def estimate_joint(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return H[c1, c2] of pairs of probabilities, both (B, n), as a scalar, in nats."""
        return _entropy(category_table(z1, z2))

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        """Return the value, which is in nats: the entropy of a category, or of a pair of them."""
        return value


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * safe_log(probabilities)).sum()
