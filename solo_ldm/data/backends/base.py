"""What a backend is, and what both backends are asked for: the same images, drawn the same way."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from solo_ldm.data.augment.draws import Ints, ViewParameters, draw_view
from solo_ldm.data.augment.pairs import Partners
from solo_ldm.data.augment.photometric import Normalise
from solo_ldm.data.augment.resolution import Resolution
from solo_ldm.data.config import ViewSpec
from solo_ldm.data.sampler import EpochSampler
from solo_ldm.data.sources.images import ImageSource
from solo_ldm.data.sources.unreadable import Unreadable


class TrainViews:
    """Images of training and how their views are drawn: by (seed, epoch, index) alone.

    Args:
        source: of the images.
        views: how each view is drawn.
        seed: of the run.
        unreadable: where images that cannot be read are noted; the next one replaces each.
        partners: which image every other view is of; None for the same.
        resolution: of the crops over the training; None for that of the views.
    """

    def __init__(
        self,
        source: ImageSource,
        views: Sequence[ViewSpec],
        seed: int,
        unreadable: Unreadable | None = None,
        partners: Partners | None = None,
        resolution: Resolution | None = None,
    ) -> None:
        self.source, self.seed = source, seed
        self._resolution = resolution
        self._specs = [view for view in views for _ in range(view.num_crops)]
        self.normalise = [
            Normalise(view.mean or source.mean, view.std or source.std) for view in self._specs
        ]
        self.unreadable = unreadable or Unreadable(source)
        self.partners = partners if len(self._specs) > 1 else None

    def specs(self, epoch: int) -> list[ViewSpec]:
        """Return how the views of an epoch are drawn."""
        return self._resolution.views(self._specs, epoch) if self._resolution else self._specs

    def draw(
        self,
        view: int,
        epoch: int,
        samples: npt.ArrayLike,
        widths: npt.ArrayLike,
        heights: npt.ArrayLike,
    ) -> ViewParameters:
        """Draw the parameters of one view of images; see `draw_view`."""
        return draw_view(self.specs(epoch)[view], view, self.seed, epoch, samples, widths, heights)

    def batch(self, indexes: Ints, views: list[Tensor]) -> list[Any]:
        """Return the batch [indexes (B,), views, targets (B,)]."""
        return [torch.from_numpy(indexes), views, torch.from_numpy(self.source.labels[indexes])]


@dataclass(frozen=True)
class PlainImages:
    """Images without augmentation; those that cannot be read are left out.

    Args:
        source: of the images.
        indexes: of the images used, in order.
        crop_size: in pixels.
        mean: of the channels.
        std: of the channels.
        unreadable: where images that cannot be read are noted.
    """

    source: ImageSource
    indexes: Ints
    crop_size: int
    mean: Sequence[float]
    std: Sequence[float]
    unreadable: Unreadable

    def batch(self, pixels: Tensor, indexes: npt.ArrayLike) -> list[Tensor]:
        """Return the batch [images (B, C, H, W), targets (B,)] of uint8 pixels (B, H, W, C)."""
        images = pixels.permute(0, 3, 1, 2)
        images = images.to(torch.float32, memory_format=torch.contiguous_format)
        targets = torch.from_numpy(self.source.labels[np.asarray(indexes, dtype=np.int64)])
        return [Normalise(self.mean, self.std)(images), targets]


class Backend(ABC):
    """A library that reads and augments images.

    Args:
        device: where images are decoded and augmented.
        version: of the library.
    """

    library: str

    def __init__(self, device: torch.device, version: str) -> None:
        self.device, self.version = device, version

    @property
    def name(self) -> str:
        """The backend as results name it."""
        where = "gpu" if self.device.type == "cuda" else "cpu"
        return f"{self.library} {self.version} ({where})"

    @abstractmethod
    def train_loader(self, views: TrainViews, sampler: EpochSampler, num_workers: int) -> Any:
        """Return batches [indexes (B,), one (B, C, H, W) float32 tensor a view, targets (B,)].

        Args:
            views: what is drawn.
            sampler: decides which images make each batch.
            num_workers: processes or threads.
        """

    @abstractmethod
    def evaluation_loader(
        self, images: PlainImages, batch_size: int, num_workers: int, persistent: bool = False
    ) -> Any:
        """Return batches [images (B, C, H, W), targets (B,)], each image once.

        Args:
            images: which, in which order.
            batch_size: the last batch may be smaller.
            num_workers: processes or threads.
            persistent: keep processes between passes; threads are kept in any case.
        """


def usable_cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
