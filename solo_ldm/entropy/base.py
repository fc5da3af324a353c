"""What an entropy estimator is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from solo_ldm.config.arguments import check_value, shown
from solo_ldm.latents.base import Support
from solo_ldm.numerics import check_pair, check_samples, narrow, widen


class EntropyEstimator(nn.Module, ABC):
    """An estimate of the entropy of a batch of latents, to be maximised.

    A concrete estimator defines the value of one set of samples (`estimate`) and, if it has one,
    the conversion of its value into nats (`to_nats`). Each argument of its constructor is an
    attribute of the same name.

    Args:
        support: where the latents live, one of `supports`.

    Raises:
        ValueError: another support.
    """

    supports: ClassVar[tuple[Support, ...]] = ("plane", "sphere")
    # Why a value does not determine an entropy, where `to_nats` is not defined.
    not_in_nats: ClassVar[str] = "its estimator does not say how to convert it"
    # Whether it has a value of samples under the density of others, for over=cross.
    crosses: ClassVar[bool] = False
    # Whether its value is of kernels, which sharpen with a precision that is learned.
    has_kernel: ClassVar[bool] = False
    # What helps when a batch is smaller than `fewest_samples`.
    remedy: ClassVar[str] = "raise optimizer.batch_size"

    def __init__(self, support: Support = "plane") -> None:
        super().__init__()
        check_value("support", support, Literal[self.supports])
        self.support: Support = support

    @property
    def fewest_samples(self) -> int:
        """The smallest batch that the estimator is defined for."""
        return 2

    def at_step(self, step: int) -> None:
        """Set the number of the training step; for estimators that draw at random."""
        return

    @abstractmethod
    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return the value of samples as a scalar; see the class for the equation.

        Args:
            z: (B, D), or two views stacked (B, 2D); in the precision of statistics (see
                `solo_ldm.numerics.widen`), outside autocast.
            num_views: how many views are stacked along features.
        """

    def estimate_joint(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the value of paired samples, as `estimate` does, which takes them stacked."""
        return self.estimate(torch.cat([z1, z2], dim=1), num_views=2)

    def estimate_cross(self, z: Tensor, centres: Tensor) -> Tensor:
        """Return the value of samples under the density of other samples, both (B, D), wide."""
        raise ValueError(
            f"over=cross: {type(self).__name__} has no value of one view under the density of the "
            "other; use KernelEntropy or LogisticEntropy"
        )

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        """Convert a value at the training scale into an estimate of the entropy in nats.

        Args:
            value: what `marginal` or `pooled` (num_views 1) or `joint` (num_views 2) returned.
            num_samples: rows that the estimate was made from: B, or 2B for `pooled`.
            dim: D, the dimension of the latents of one view.
            num_views: how many views were stacked along features.

        Returns:
            Differential entropy in nats, with respect to length in ℝᴰ or area on the sphere.

        Raises:
            ValueError: the value does not determine an entropy.
        """
        raise ValueError(
            f"{type(self).__name__} has no value in nats: {self.not_in_nats}; "
            "use LogDetEntropy on the same latents to read an entropy"
        )

    def marginal(self, z: Tensor) -> Tensor:
        """Return H[q(z)] of samples (B, D) as a scalar, at the training scale.

        Raises:
            ValueError: samples of another shape, or fewer than `fewest_samples`.
        """
        return self._value(self.estimate, z)

    def joint(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return H[q(z1, z2)] of paired samples, both (B, D), as a scalar.

        The two views are stacked along features. On the sphere this is the entropy on the product
        of two spheres.
        """
        check_pair(z1, z2)
        return self._value(self.estimate_joint, z1, z2)

    def pooled(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the entropy of the 2B samples of both views together, as a scalar."""
        check_pair(z1, z2)
        return self.marginal(torch.cat([z1, z2], dim=0))

    def cross(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return H[q(z1), q(z2)] + H[q(z2), q(z1)] of paired samples, both (B, D), as a scalar.

        H[q, r] = −E_q[log r] is the cross-entropy of one view under the density of the other.

        Raises:
            ValueError: as of `marginal`, or the estimator has none.
        """
        check_pair(z1, z2)
        return self._value(self.estimate_cross, z1, z2) + self._value(self.estimate_cross, z2, z1)

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        return shown(self)

    def _value(self, estimate: Callable[..., Tensor], *views: Tensor) -> Tensor:
        z = views[0]
        check_samples(z, self.fewest_samples, type(self).__name__, self.remedy)
        with torch.autocast(z.device.type, enabled=False):
            return narrow(estimate(*map(widen, views)), z)
