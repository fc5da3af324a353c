"""Masks that hide a fixed share of the patches and leave all others: one target, of any shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from solo_ldm.data.augment.draws import Bools, Floats, Uniforms
from solo_ldm.methods.masked.masks import PLACES, BlockMasks, DrawnMasks, Masks

# Blocks of an image before what its mask still lacks is drawn patch by patch.
_MOST_BLOCKS = 100


class RandomMasks(Masks):
    """A share of the patches, each as likely as any other; in square units of several patches.

    ⌈s U⌉ of U units are hidden, a function of (seed, epoch, image) alone.

    Args:
        grid: rows and columns of patches.
        mask_share: s, of the patches to hide.
        mask_unit: side of a unit, in patches.

    Raises:
        ValueError: units that do not fit the grid, or a share that leaves or hides nothing.

    Source:
        He et al., MAE, arXiv 2111.06377; Xie et al., SimMIM, arXiv 2111.09886, for units.
    """

    def __init__(self, grid: tuple[int, int], mask_share: float = 0.75, mask_unit: int = 1) -> None:
        if any(side % mask_unit for side in grid):
            raise ValueError(
                f"method_kwargs.mask_unit={mask_unit} does not divide the {grid[0]} × {grid[1]} "
                "patches of an image: change it, or the size of the patches"
            )
        self.grid, self.mask_unit = grid, mask_unit
        self._units = (grid[0] // mask_unit, grid[1] // mask_unit)
        self._count = _hidden(math.prod(self._units), mask_share, "units")

    def draw(self, seed: int, epoch: int, step: int, samples: npt.ArrayLike) -> DrawnMasks:
        """Draw the masks of a batch; see `Masks.draw`."""
        draws = Uniforms(seed, epoch, PLACES, samples)
        order = draws.take(math.prod(self._units)).argsort(axis=1, kind="stable")
        units = np.zeros(order.shape, dtype=bool)
        np.put_along_axis(units, order[:, : self._count], True, axis=1)
        side = self.mask_unit
        hidden = units.reshape(-1, *self._units).repeat(side, axis=1).repeat(side, axis=2)
        return _drawn(hidden)


class BlockwiseMasks(Masks):
    """A share of the patches, made of rectangles that may overlap.

    Rectangles are drawn until ⌈s N⌉ of N patches are covered; of the last, the first patches in
    reading order are taken. Its area is uniform from the smallest share to the largest, or to what
    the mask still lacks if that is less; the logarithm of its aspect ratio is uniform. All are
    functions of (seed, epoch, image) alone.

    Args:
        grid: rows and columns of patches.
        mask_share: s, of the patches to hide.
        target_scale: smallest and largest share of the patches in a rectangle.
        target_aspect: smallest and largest height / width of a rectangle.
        key: that says s, for messages.

    Raises:
        ValueError: a share that leaves or hides nothing.

    Source:
        Bao et al., BEiT, arXiv 2106.08254, algorithm 1.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        mask_share: float = 0.4,
        target_scale: Sequence[float] = (0.08, 0.4),
        target_aspect: Sequence[float] = (0.3, 1 / 0.3),
        key: str = "mask_share",
    ) -> None:
        self.grid = grid
        self._scale, self._aspect = tuple(target_scale), tuple(target_aspect)
        self._count = _hidden(math.prod(grid), mask_share, "patches", key)

    def draw(self, seed: int, epoch: int, step: int, samples: npt.ArrayLike) -> DrawnMasks:
        """Draw the masks of a batch; see `Masks.draw`."""
        draws = Uniforms(seed, epoch, PLACES, samples)
        patches = math.prod(self.grid)
        hidden = np.zeros((len(np.asarray(samples)), patches), dtype=bool)
        for _ in range(_MOST_BLOCKS):
            lacking = self._count - hidden.sum(axis=1)
            if not lacking.any():
                break
            block = self._rectangles(draws.take(4), lacking / patches).reshape(-1, patches)
            new = block & ~hidden
            hidden |= new & (new.cumsum(axis=1) <= lacking[:, None])
        else:
            # What is hidden stays first; the rest follows in random order.
            order = np.where(hidden, -1.0, draws.take(patches)).argsort(axis=1, kind="stable")
            np.put_along_axis(hidden, order[:, : self._count], True, axis=1)
        return _drawn(hidden.reshape(-1, *self.grid))

    def _rectangles(self, uniforms: Floats, lacking: Floats) -> Bools:
        """Return which patches one rectangle of each image covers, (B, rows, columns)."""
        least, most = self._scale
        share = least + uniforms[:, 0] * (np.clip(lacking, least, most) - least)
        low, high = np.log(self._aspect)
        root_ratio = np.exp(0.5 * (low + uniforms[:, 1] * (high - low)))
        root_area = np.sqrt(share * math.prod(self.grid))
        covered = np.ones((len(uniforms), *self.grid), dtype=bool)
        for axis, length in enumerate((root_area * root_ratio, root_area / root_ratio)):
            side = self.grid[axis]
            size = np.clip(np.rint(length), 1, side)
            first = np.floor(uniforms[:, 2 + axis] * (side - size + 1))
            place = np.arange(side)
            within = (place >= first[:, None]) & (place < (first + size)[:, None])
            covered &= np.expand_dims(within, 2 - axis)
        return covered


def _hidden(count: int, share: float, what: str, key: str = "mask_share") -> int:
    """Return how many of so many are hidden: at least one, and not all."""
    # A share such as 0.6 of 5 is 3 of them.
    hidden = math.ceil(count * share - 1e-9)
    if not 0 < hidden < count:
        raise ValueError(
            f"method_kwargs.{key}: {share} hides {hidden} of {count} {what}; change it, or make "
            "the patches smaller (backbone.kwargs.patch_size) or the crops larger "
            "(augmentations.0.crop_size)"
        )
    return hidden


def _drawn(hidden: Bools) -> DrawnMasks:
    """Return masks (B, rows, columns), each with as many hidden patches, as one target block."""
    flat = hidden.reshape(len(hidden), -1)
    targets = np.nonzero(flat)[1].reshape(len(flat), 1, -1)
    return DrawnMasks(targets, ~flat, np.zeros(flat.shape))


# What method_kwargs.masks may be.
MASKS: dict[str, type[Masks]] = {
    "blocks": BlockMasks,
    "random": RandomMasks,
    "blockwise": BlockwiseMasks,
}
