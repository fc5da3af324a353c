"""What an entropy estimator is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from solo_ldm.latents.base import Support
from solo_ldm.numerics import check_pair


class EntropyEstimator(nn.Module, ABC):
    """An estimate of the entropy of a batch of latents, to be maximised.

    A concrete estimator defines the entropy of one set of samples (`marginal`) and the conversion
    of its value into nats (`to_nats`); the joint and the pooled entropies follow.

    Args:
        support: where the latents live, one of `supports`.

    Raises:
        ValueError: another support.
    """

    supports: ClassVar[tuple[Support, ...]] = ("plane", "sphere")

    def __init__(self, support: Support = "plane") -> None:
        super().__init__()
        if support not in self.supports:
            raise ValueError(f"support must be one of {self.supports}, got {support!r}")
        self.support: Support = support

    @property
    def fewest_samples(self) -> int:
        """The smallest batch that the estimator is defined for."""
        return 2

    def at_step(self, step: int) -> None:
        """Set the number of the training step; for estimators that draw at random."""
        return

    @abstractmethod
    def marginal(self, z: Tensor) -> Tensor:
        """Return H[q(z)] of samples (B, D) as a scalar, at the training scale."""

    @abstractmethod
    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        """Convert a value at the training scale into an estimate of the entropy in nats.

        Args:
            value: what `marginal` or `pooled` (num_views 1) or `joint` (num_views 2) returned.
            num_samples: rows that the estimate was made from: B, or 2B for `pooled`.
            dim: D, the dimension of the latents of one view.
            num_views: how many views were stacked along features.

        Returns:
            Differential entropy in nats, with respect to length in ℝᴰ or area on the sphere.
        """

    def joint(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return H[q(z1, z2)] of paired samples, both (B, D), as a scalar.

        The two views are stacked along features. On the sphere this is the entropy on the product
        of two spheres.
        """
        check_pair(z1, z2)
        return self.marginal(torch.cat([z1, z2], dim=1))

    def pooled(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the entropy of the 2B samples of both views together, as a scalar."""
        check_pair(z1, z2)
        return self.marginal(torch.cat([z1, z2], dim=0))
