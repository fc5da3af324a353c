"""No entropy: only the predictor and the target then prevent collapse."""

from __future__ import annotations

from torch import Tensor

from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.numerics import check_samples, narrow


class NoEntropy(EntropyEstimator):
    """H = 0.

    With a predictor and a target that no gradient reaches, this is BYOL and SimSiam.

    Args:
        support: "plane", "sphere" or "simplex".

    Raises:
        ValueError: samples that are no (B, D).
    """

    supports = ("plane", "sphere", "simplex")

    def marginal(self, z: Tensor) -> Tensor:
        """Return zero."""
        check_samples(z, 1, "NoEntropy", "raise optimizer.batch_size")
        return narrow(z.new_zeros(()), z)

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        """Raise a ValueError: nothing was estimated."""
        raise ValueError(
            "NoEntropy estimates nothing; use LogDetEntropy on the same latents to read one"
        )

    def extra_repr(self) -> str:
        """Show the support when printed."""
        return f"support={self.support!r}"
