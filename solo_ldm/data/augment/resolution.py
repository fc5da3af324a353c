"""Sides of training crops that change over the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from solo_ldm.data.config import ViewSpec


@dataclass(frozen=True)
class Resolution:
    """The side of every training crop as a share of its `crop_size`, in equal parts of a training.

    With K shares r_1, ..., r_K and T epochs, epoch e (from 0) has the share r_(1 + floor(K e / T)).
    What a crop shows of its image is as it would be at full size, as is its blur; only its pixels
    are fewer.

    Args:
        shares: in (0, 1], first to last.
        epochs: of the training, at least one a share.

    Raises:
        ValueError: in one line: fewer epochs than shares.
    """

    shares: tuple[float, ...]
    epochs: int

    def __post_init__(self) -> None:
        if len(self.shares) > self.epochs:
            raise ValueError(
                f"resolution: expected at most max_epochs={self.epochs} shares, an epoch each, got "
                f"{len(self.shares)}; give fewer, or train longer"
            )

    def at(self, epoch: int) -> float:
        """Return the share of an epoch, counted from 0; that of the last beyond the training."""
        part = len(self.shares) * epoch // self.epochs
        return self.shares[min(part, len(self.shares) - 1)]

    def views(self, specs: Sequence[ViewSpec], epoch: int) -> list[ViewSpec]:
        """Return views with the crop sizes of an epoch."""
        return [_scaled(spec, self.at(epoch)) for spec in specs]

    def crop_sizes(self, specs: Sequence[ViewSpec]) -> set[int]:
        """Return the crop sizes of all epochs."""
        return {_scaled(spec, share).crop_size for spec in specs for share in self.shares}


def _scaled(spec: ViewSpec, share: float) -> ViewSpec:
    blur = spec.gaussian_blur  # whose deviations are in pixels of the view
    blur = replace(blur, sigma_min=share * blur.sigma_min, sigma_max=share * blur.sigma_max)
    return replace(spec, crop_size=max(1, round(share * spec.crop_size)), gaussian_blur=blur)
