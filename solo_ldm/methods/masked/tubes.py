"""Masks of clips: tubes, the same patches hidden in every frame, of a short and a long range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from solo_ldm.data.augment.draws import Uniforms
from solo_ldm.methods.masked.masks import RANGES, DrawnMasks, Masks
from solo_ldm.methods.masked.patch_masks import BlockwiseMasks


class Tubes(Masks):
    """Masks of frames, extended over time: a patch is hidden at all times or at none.

    Args:
        frames: masks of rows and columns of patches.
        times: of tubelets.

    Source:
        Tong et al., VideoMAE, arXiv 2203.12602; Bardes et al., V-JEPA, arXiv 2404.08471.
    """

    def __init__(self, frames: Masks, times: int) -> None:
        self.frames, self.times = frames, times

    def draw(self, seed: int, epoch: int, step: int, samples: npt.ArrayLike) -> DrawnMasks:
        """Draw the masks of a batch; see `Masks.draw`."""
        drawn = self.frames.draw(seed, epoch, step, samples)
        patches = drawn.visible.shape[1]
        over_time = np.arange(self.times)[:, None] * patches + drawn.targets[..., None, :]
        return DrawnMasks(
            over_time.reshape(*drawn.targets.shape[:2], -1),
            np.tile(drawn.visible, self.times),
            np.tile(drawn.order, self.times),
        )


class RangeMasks(Masks):
    """Unions of small blocks or, in other steps, of large ones: a short and a long range.

    A step has one of the ranges, each as likely, as a function of (seed, epoch, step): all clips of
    a step, in all processes, hide equally many patches. Blocks of the range's scale are drawn until
    its share of the patches is hidden (`BlockwiseMasks`).

    Args:
        grid: rows and columns of patches.
        range_scales: share of the patches in a block, of each range.
        range_shares: of the patches to hide, of each range.
        target_aspect: smallest and largest height / width of a block.

    Raises:
        ValueError: a share that leaves or hides nothing.

    Source:
        Bardes et al., V-JEPA, arXiv 2404.08471, which hides 8 blocks of 0.15 and 2 of 0.7 of a clip
        in every step, as many patches as they cover.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        range_scales: Sequence[float] = (0.15, 0.7),
        range_shares: Sequence[float] = (0.73, 0.9),
        target_aspect: Sequence[float] = (0.75, 1.5),
    ) -> None:
        self.ranges = [
            BlockwiseMasks(grid, share, (scale, scale), target_aspect, "range_shares")
            for scale, share in zip(range_scales, range_shares, strict=True)
        ]

    def draw(self, seed: int, epoch: int, step: int, samples: npt.ArrayLike) -> DrawnMasks:
        """Draw the masks of a batch; see `Masks.draw`."""
        which = int(Uniforms(seed, epoch, RANGES, [step]).take(1)[0, 0] * len(self.ranges))
        return self.ranges[which].draw(seed, epoch, step, samples)
