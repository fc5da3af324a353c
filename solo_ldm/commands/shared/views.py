"""Some images of a source, plain, inverted or in views, as a network takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from solo_ldm.data.backends.base import PlainImages, TrainViews
from solo_ldm.data.backends.torchvision import EvaluationImages, MultiViewImages
from solo_ldm.data.config import ViewSpec
from solo_ldm.data.module import ImageDataModule
from solo_ldm.data.sources.images import ImageSource
from solo_ldm.data.sources.unreadable import Unreadable


@dataclass(frozen=True)
class Images:
    """Some images of a source.

    Args:
        name: of the set.
        source: of the images.
        indexes: of those used.
        data: whose image size and normalisation are used.
        device: where they are put.
        batch_size: images at a time.
        seed: of the views.
        inverted: whether every value v is replaced by 1 − v.
    """

    name: str
    source: ImageSource
    indexes: np.ndarray
    data: ImageDataModule
    device: torch.device
    batch_size: int
    seed: int
    inverted: bool = False

    def plain(self) -> Iterator[Tensor]:
        """Yield all images as they are evaluated, in batches (B, 3, H, W)."""
        for rows in self._batches():
            yield self._finish(plain_images(self.data, self.source, rows))

    def drawn(self, specs: Sequence[ViewSpec], draw: int) -> Iterator[list[Tensor]]:
        """Draw views of all images, in batches of one (B, 3, H, W) a specification.

        Args:
            specs: how each view is drawn.
            draw: in place of the epoch. The random numbers of a draw are those of every strength.
        """
        views = MultiViewImages(TrainViews(self.source, specs, self.seed))
        for rows in self._batches():
            keys = [(draw, index) for index in rows.tolist()]
            yield [self._finish(view) for view in views.__getitems__(keys)[1]]

    def _batches(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.indexes), self.batch_size):
            yield self.indexes[start : start + self.batch_size]

    def _finish(self, views: Tensor) -> Tensor:
        if self.inverted:
            mean, std = (
                torch.tensor(part).view(-1, 1, 1) for part in (self.data.mean, self.data.std)
            )
            views = (1.0 - 2.0 * mean) / std - views  # of the value 1 − (mean + std · view)
        return views.to(self.device)


def view_specs(data: ImageDataModule, views: Sequence[ViewSpec] | None = None) -> list[ViewSpec]:
    """Return how two views of an image are drawn: the first that are of the size of the images.

    Args:
        data: whose normalisation is used.
        views: of a training; those of the data if left out.
    """
    given = data.views if views is None else views
    each = [view for view in given for _ in range(view.num_crops)]
    large = [view for view in each if view.crop_size == data.image_size]
    normalised = {"num_crops": 1, "mean": data.mean, "std": data.std}
    return [replace(view, **normalised) for view in (large * 2)[:2]]


def plain_images(
    data: ImageDataModule,
    source: ImageSource,
    indexes: np.ndarray,
    unreadable: Unreadable | None = None,
) -> Tensor:
    """Return images of a source as a data module evaluates them (B, 3, H, W).

    Args:
        data: whose image size and normalisation are used.
        source: of the images.
        indexes: (B,) of the images in it.
        unreadable: where images that cannot be read, and are left out, are noted.
    """
    how = (data.image_size, data.mean, data.std, unreadable or Unreadable(source))
    images = EvaluationImages(PlainImages(source, indexes, *how))
    return images.__getitems__(list(range(len(indexes))))[0]


def pictured(
    data: ImageDataModule, source: ImageSource, indexes: np.ndarray, values: np.ndarray
) -> list[tuple[np.ndarray, float]]:
    """Return images (H, W, 3) in [0, 1] of a source, not normalised, each with a value (B,)."""
    if not len(indexes):
        return []
    mean, std = (torch.tensor(part).view(-1, 1, 1) for part in (data.mean, data.std))
    images = (plain_images(data, source, indexes) * std + mean).clamp(0, 1).permute(0, 2, 3, 1)
    if data.num_channels != 3:  # the first three, or the first one in gray
        images = images[..., [0, 1, 2] if data.num_channels > 3 else [0, 0, 0]]
    return list(zip(images.numpy(), values.tolist(), strict=True))
