"""No entropy: only the predictor and the target then prevent collapse."""

from __future__ import annotations

from torch import Tensor

from solo_ldm.entropy.base import EntropyEstimator


class NoEntropy(EntropyEstimator):
    """H = 0.

    With a predictor and a target that no gradient reaches, this is BYOL and SimSiam.

    Args:
        support: "plane", "sphere" or "simplex".

    Raises:
        ValueError: samples that are no (B, D).
    """

    supports = ("plane", "sphere", "simplex")
    not_in_nats = "nothing was estimated"
    crosses = True

    @property
    def fewest_samples(self) -> int:
        """One: nothing is estimated."""
        return 1

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return zero."""
        return z.new_zeros(())

    def estimate_cross(self, z: Tensor, centres: Tensor) -> Tensor:
        """Return zero."""
        return z.new_zeros(())
