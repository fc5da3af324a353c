"""The torchvision backend: loaders of a source's images, augmented as its specification says.

Every sample's augmentation is a function of (seed, epoch, index) alone.
"""

import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from solo_ldm.data.config import ViewSpec
from solo_ldm.data.sampler import EpochSampler, SampleKey
from solo_ldm.data.sources import ImageSource
from solo_ldm.data.transforms import ViewTransform, evaluation_view


class _Normalise:
    """Turn uint8 pixels (B, H, W, 3) into normalised float32 images (B, 3, H, W)."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        deviation = torch.tensor(std).view(3, 1, 1)
        self._scale = 1 / (255 * deviation)
        self._shift = -torch.tensor(mean).view(3, 1, 1) / deviation

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        images = images.to(torch.float32, memory_format=torch.contiguous_format)
        return images.mul_(self._scale).add_(self._shift)


class MultiViewImages(Dataset[Any]):
    """Augmented views of the images of a source.

    Args:
        source: of the images.
        views: how each view is drawn.
        seed: of the run; with the epoch and the index it decides every augmentation.
    """

    def __init__(self, source: ImageSource, views: Sequence[ViewSpec], seed: int) -> None:
        self._source = source
        self._seed = seed
        self._transforms = [ViewTransform(view) for view in views for _ in range(view.num_crops)]
        self._normalise = [
            _Normalise(view.mean or source.mean, view.std or source.std)
            for view in views
            for _ in range(view.num_crops)
        ]
        self._sizes = [view.crop_size for view in views for _ in range(view.num_crops)]

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, key: SampleKey | int) -> tuple[int, list[Tensor], int]:
        """Return (index, one (3, H, W) tensor a view, label) of one sample."""
        indexes, views, targets = self.__getitems__([key])
        return int(indexes[0]), [view[0] for view in views], int(targets[0])

    def __getitems__(self, keys: Sequence[SampleKey | int]) -> list[Any]:
        """Return the batch [indexes, views, targets] of (epoch, index) keys.

        A bare index stands for epoch 0: Lightning's `overfit_batches` replaces the sampler.
        """
        generator = random.Random()
        pixels = [np.empty((len(keys), size, size, 3), np.uint8) for size in self._sizes]
        indexes = np.empty(len(keys), np.int64)
        for row, key in enumerate(keys):
            epoch, index = (0, key) if isinstance(key, int) else key
            generator.seed(_sample_seed(self._seed, epoch, index))
            image = self._source.load(index)
            for view, transform in zip(pixels, self._transforms, strict=True):
                view[row] = np.asarray(transform(image, generator))
            indexes[row] = index
        views = [normalise(view) for normalise, view in zip(self._normalise, pixels, strict=True)]
        return [torch.from_numpy(indexes), views, torch.from_numpy(self._source.labels[indexes])]


def _sample_seed(seed: int, epoch: int, index: int) -> int:
    # One integer with room for each: Python's generator mixes all of its bits.
    return (seed % 2**64) << 96 | epoch << 64 | index


class EvaluationImages(Dataset[Any]):
    """Images of a source without augmentation.

    Args:
        source: of the images.
        indexes: of the images used, in order.
        crop_size: in pixels.
        mean: of the channels.
        std: of the channels.
    """

    def __init__(
        self,
        source: ImageSource,
        indexes: npt.NDArray[np.int64],
        crop_size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self._source = source
        self._indexes = indexes
        self._crop_size = crop_size
        self._normalise = _Normalise(mean, std)

    def __len__(self) -> int:
        return len(self._indexes)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Return (image (3, H, W), label) of one sample."""
        images, targets = self.__getitems__([position])
        return images[0], int(targets[0])

    def __getitems__(self, positions: Sequence[int]) -> list[Tensor]:
        """Return the batch [images, targets]."""
        indexes = self._indexes[np.asarray(positions)]
        size = self._crop_size
        pixels = np.empty((len(indexes), size, size, 3), np.uint8)
        for row, index in enumerate(indexes):
            pixels[row] = np.asarray(evaluation_view(self._source.load(int(index)), size))
        return [self._normalise(pixels), torch.from_numpy(self._source.labels[indexes])]


def train_loader(
    source: ImageSource, views: Sequence[ViewSpec], sampler: EpochSampler, num_workers: int
) -> DataLoader[Any]:
    """Return the loader of batches [indexes (B,), one (B, 3, H, W) tensor a view, targets (B,)].

    Args:
        source: of the images.
        views: how each view is drawn.
        sampler: decides which images make each batch; its seed is the augmentations' too.
        num_workers: processes.
    """
    dataset = MultiViewImages(source, views, sampler.seed)
    return _loader(
        dataset, sampler.batch_size, num_workers, persistent=True, sampler=sampler, drop_last=True
    )


def evaluation_loader(
    source: ImageSource,
    indexes: npt.NDArray[np.int64],
    crop_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    batch_size: int,
    num_workers: int,
    persistent: bool = False,
) -> DataLoader[Any]:
    """Return the loader of batches [images (B, 3, H, W), targets (B,)] in the order of `indexes`.

    Args:
        source: of the images.
        indexes: of the images used.
        crop_size: in pixels.
        mean: of the channels.
        std: of the channels.
        batch_size: the last batch may be smaller.
        num_workers: processes.
        persistent: keep the processes between passes.
    """
    dataset = EvaluationImages(source, indexes, crop_size, mean, std)
    return _loader(dataset, batch_size, num_workers, persistent)


def _loader(
    dataset: Dataset[Any], batch_size: int, num_workers: int, persistent: bool, **arguments: Any
) -> DataLoader[Any]:
    num_workers = min(num_workers, _num_cpus())
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=_whole_batch,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=persistent and num_workers > 0,
        # A loader draws a number for its workers; from its own generator it leaves the run's alone.
        generator=torch.Generator(),
        **arguments,
    )


def _whole_batch(batch: Any) -> Any:
    return batch


def _num_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
