"""Masks: what they are, and those of separate blocks, drawn at random."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solo_ldm.data.augment.draws import Bools, Floats, Ints, Uniforms

# Placements of an image's blocks before its context becomes all that the targets leave.
_TRIES = 10

# Streams of random numbers, apart from those of the views: independent of the augmentations.
_SIZES, PLACES, RANGES = 2**32, 2**32 + 1, 2**32 + 2


@dataclass(frozen=True)
class DrawnMasks:
    """The masks of B images of N patches.

    Args:
        targets: (B, M, S) the patches of each target block, numbered row by row.
        visible: (B, N) whether a patch lies in the context block and in no target.
        order: (B, N) random numbers: the context keeps the visible patches with the smallest.
    """

    targets: Ints
    visible: Bools
    order: Floats

    @property
    def smallest_context(self) -> int:
        """The number of visible patches of the image that has the fewest."""
        return int(self.visible.sum(axis=1).min())

    def context(self, count: int) -> Ints:
        """Return the patches that the context encoder sees, (B, count), in rising order.

        Args:
            count: of patches, at most `smallest_context`: a random choice of the visible ones.

        Raises:
            ValueError: more than some image has.
        """
        if not 1 <= count <= self.smallest_context:
            raise ValueError(
                f"expected from 1 to {self.smallest_context} patches of context, got {count}"
            )
        chosen = np.argsort(np.where(self.visible, self.order, 2.0), axis=1, kind="stable")
        return np.sort(chosen[:, :count], axis=1)


class Masks(ABC):
    """How the masks of images are drawn. Arguments of a constructor besides the grid are keys."""

    @abstractmethod
    def draw(self, seed: int, epoch: int, step: int, samples: npt.ArrayLike) -> DrawnMasks:
        """Draw the masks of a batch, the same for an image whatever else is in the batch.

        Args:
            seed: of the run.
            epoch: of the run.
            step: of the epoch.
            samples: (B,) indexes of the images in the data set.
        """


class BlockMasks(Masks):
    """Target blocks of an image, and a context block without them.

    The sizes of the blocks are drawn once a step, the same for all images and processes, so that
    targets form one tensor. Positions are drawn for each image, as a function of (seed, epoch,
    image) and the sizes alone. A size is the one nearest to a uniform share of the area and a
    uniform aspect ratio, among all whole heights and widths within both ranges. Targets may overlap
    each other. Every patch of a target is removed from the context. If fewer than `least_context`
    patches remain, all blocks of the image are drawn again; after ten draws, its context is all
    that its targets leave.

    Args:
        grid: rows and columns of patches.
        num_targets: M, blocks to predict.
        target_scale: smallest and largest share of the patches in a target.
        target_aspect: smallest and largest height / width of a target.
        context_scale: smallest and largest share of the patches in the context block, which
            has the shape of the image.
        least_context: smallest number of patches in the context.

    Raises:
        ValueError: ranges that no block fits, or that can leave too little context.

    Source:
        Assran et al., I-JEPA, arXiv 2301.08243, section 3 and appendix A.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        num_targets: int = 4,
        target_scale: Sequence[float] = (0.15, 0.2),
        target_aspect: Sequence[float] = (0.75, 1.5),
        context_scale: Sequence[float] = (0.85, 1.0),
        least_context: int = 10,
    ) -> None:
        self.grid = grid
        self.num_targets = num_targets
        self.least_context = least_context
        self._target_ranges = (tuple(target_scale), tuple(target_aspect))
        ratio = grid[0] / grid[1]
        self._context_ranges = (tuple(context_scale), (ratio, ratio))
        self._target_sizes = _sizes(grid, "target", *self._target_ranges)
        self._context_sizes = _sizes(grid, "context", *self._context_ranges)
        count = grid[0] * grid[1]
        left = count - num_targets * max(h * w for h, w in self._target_sizes)
        if left < least_context:
            raise ValueError(
                f"{num_targets} targets can leave {max(left, 0)} of {count} patches, but "
                f"method_kwargs.least_context={least_context}: lower it, num_targets or "
                "target_scale, or make the patches smaller"
            )

    def draw(self, seed: int, epoch: int, step: int, samples: npt.ArrayLike) -> DrawnMasks:
        """Draw the masks of a batch; see `Masks.draw`."""
        sizes = Uniforms(seed, epoch, _SIZES, [step])
        shares = sizes.take(4)[0]
        target = _nearest(self._target_sizes, *self._target_ranges, self.grid, *shares[:2])
        context = _nearest(self._context_sizes, *self._context_ranges, self.grid, *shares[2:])
        draws = Uniforms(seed, epoch, PLACES, samples)
        rows, columns = self.grid
        # All tries are drawn, used or not, so that later numbers do not depend on the sizes.
        blocks = self.num_targets + 1
        places = draws.take(_TRIES * blocks * 2).reshape(-1, _TRIES, blocks, 2)
        order = draws.take(rows * columns)
        visible = np.zeros((len(places), rows, columns), dtype=bool)
        corners = np.zeros((len(places), self.num_targets, 2), dtype=np.int64)
        open_ = np.ones(len(places), dtype=bool)
        for attempt in range(_TRIES):
            place = places[open_, attempt]
            corner = _corners(place[:, 1:], target, self.grid)
            free = ~_covered(corner, target, self.grid).any(axis=1)
            block = _covered(_corners(place[:, :1], context, self.grid), context, self.grid)[:, 0]
            seen = free & block
            enough = seen.sum(axis=(1, 2)) >= self.least_context
            last = attempt == _TRIES - 1
            visible[open_] = np.where(enough[:, None, None], seen, free) if last else seen
            corners[open_] = corner
            open_[open_] = ~enough
            if not open_.any():
                break
        row = corners[..., 0, None] + np.repeat(np.arange(target[0]), target[1])
        column = corners[..., 1, None] + np.tile(np.arange(target[1]), target[0])
        return DrawnMasks(row * columns + column, visible.reshape(len(places), -1), order)


def _sizes(
    grid: tuple[int, int], kind: str, scale: Sequence[float], aspect: Sequence[float]
) -> list[tuple[int, int]]:
    """Return all heights and widths in patches within both ranges."""
    rows, columns = grid
    # A share such as 0.15 of 100 patches is 15 of them.
    low, high = scale[0] - 1e-9, scale[1] + 1e-9
    narrow, wide = aspect[0] * (1.0 - 1e-9), aspect[1] * (1.0 + 1e-9)
    found = [
        (height, width)
        for height in range(1, rows + 1)
        for width in range(1, columns + 1)
        if low <= height * width / (rows * columns) <= high and narrow <= height / width <= wide
    ]
    if not found:
        shape = f" and target_aspect={list(aspect)}" if kind == "target" else ""
        raise ValueError(
            f"no block of {rows} × {columns} patches fits method_kwargs.{kind}_scale="
            f"{list(scale)}{shape}: widen them, or make the patches smaller"
        )
    return found


def _nearest(
    sizes: Sequence[tuple[int, int]],
    scale: Sequence[float],
    aspect: Sequence[float],
    grid: tuple[int, int],
    share_of_scale: float,
    share_of_aspect: float,
) -> tuple[int, int]:
    """Return the size nearest to a point of both ranges, in the logarithms of area and aspect."""
    area = (scale[0] + (scale[1] - scale[0]) * share_of_scale) * grid[0] * grid[1]
    ratio = aspect[0] + (aspect[1] - aspect[0]) * share_of_aspect

    def distance(size: tuple[int, int]) -> float:
        height, width = size
        of_area = math.log(height * width / area)
        of_ratio = math.log(height / width / ratio)
        return of_area * of_area + of_ratio * of_ratio

    return min(sizes, key=distance)


def _corners(places: Floats, size: tuple[int, int], grid: tuple[int, int]) -> Ints:
    """Return the first row and column of blocks at uniform positions (..., 2) in [0, 1)."""
    room = np.array([grid[0] - size[0] + 1, grid[1] - size[1] + 1])
    return np.floor(places * room).astype(np.int64)


def _covered(corners: Ints, size: tuple[int, int], grid: tuple[int, int]) -> Bools:
    """Return which patches blocks (B, M, 2) cover, (B, M, rows, columns)."""
    row = np.arange(grid[0]) - corners[..., 0, None]
    column = np.arange(grid[1]) - corners[..., 1, None]
    of_row, of_column = (row >= 0) & (row < size[0]), (column >= 0) & (column < size[1])
    return of_row[..., :, None] & of_column[..., None, :]
