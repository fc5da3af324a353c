"""The torchvision backend: images decoded and cropped by Pillow, in worker processes."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from solo_ldm.data.augment.pairs import of_partner
from solo_ldm.data.augment.photometric import render
from solo_ldm.data.augment.transforms import crop_view, evaluation_view
from solo_ldm.data.backends.base import Backend, PlainImages, TrainViews, usable_cpus
from solo_ldm.data.sampler import EpochSampler, SampleKey
from solo_ldm.data.sources.pixels import Picture, UnreadableImageError

# Decoded images held at a time; the rest of a batch waits in its files.
_DECODED = 64


class MultiViewImages(Dataset[Any]):
    """Augmented views of images, by (epoch, index).

    Args:
        views: what is drawn.
    """

    def __init__(self, views: TrainViews) -> None:
        self._views = views

    def __len__(self) -> int:
        return len(self._views.source)

    def __getitems__(self, keys: Sequence[SampleKey | int]) -> list[Any]:
        """Return the batch [indexes, views, targets] of (epoch, index) keys, all of one epoch.

        A bare index is of epoch 0: Lightning's `overfit_batches` replaces the sampler.
        """
        views = self._views
        pairs = [(0, key) if isinstance(key, int) else key for key in keys]
        epoch, samples = pairs[0][0], [index for _, index in pairs]
        specs, channels = views.specs(epoch), views.source.num_channels
        sizes = [spec.crop_size for spec in specs]
        drawn = [torch.empty((len(keys), channels, size, size)) for size in sizes]
        indexes = np.empty(len(keys), np.int64)
        for start in range(0, len(keys), _DECODED):
            rows = slice(start, start + _DECODED)
            loaded = [self._load(index) for index in samples[rows]]
            indexes[rows] = [index for index, _ in loaded]
            images = others = [image for _, image in loaded]
            if views.partners is not None:
                partners = views.partners(epoch, indexes[rows])
                others = [self._load(index)[1] for index in partners.tolist()]
            for number, spec in enumerate(specs):
                shown = others if of_partner(number) else images
                sides = zip(*(image.size for image in shown), strict=True)
                parameters = views.draw(number, epoch, samples[rows], *sides)
                crops = (
                    crop_view(image, parameters, row, spec.crop_size, spec.rrc.enabled)
                    for row, image in enumerate(shown)
                )
                pixels = torch.from_numpy(np.stack([np.asarray(crop) for crop in crops]))
                drawn[number][rows] = render(pixels, parameters, views.normalise[number])
        return views.batch(indexes, drawn)

    def _load(self, index: int) -> tuple[int, Picture]:
        """Load an image, or the next one that can be read."""
        while True:
            try:
                return index, self._views.unreadable.load(index)
            except UnreadableImageError:
                index = self._views.unreadable.replacement(index)


class EvaluationImages(Dataset[Any]):
    """Images without augmentation, by their position in a list; unreadable ones are left out.

    Args:
        images: which, and how large.
    """

    def __init__(self, images: PlainImages) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images.indexes)

    def __getitems__(self, positions: Sequence[int]) -> list[Tensor]:
        """Return the batch [images, targets]."""
        size, channels = self._images.crop_size, self._images.source.num_channels
        pixels: list[np.ndarray] = []
        readable: list[int] = []
        for index in self._images.indexes[np.asarray(positions)].tolist():
            try:
                image = self._images.unreadable.load(index)
            except UnreadableImageError:
                continue
            pixels.append(np.asarray(evaluation_view(image, size)))
            readable.append(index)
        batch = np.stack(pixels) if pixels else np.empty((0, size, size, channels), np.uint8)
        return self._images.batch(torch.from_numpy(batch), readable)


class TorchvisionBackend(Backend):
    """Loaders whose worker processes decode with Pillow, on the CPU."""

    library = "torchvision"

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"), torchvision.__version__)

    def train_loader(self, views: TrainViews, sampler: EpochSampler, num_workers: int) -> Any:
        """Return the loader of augmented batches; see `Backend`."""
        return _loader(MultiViewImages(views), sampler.batch_size, num_workers, True, sampler)

    def evaluation_loader(
        self, images: PlainImages, batch_size: int, num_workers: int, persistent: bool = False
    ) -> Any:
        """Return the loader of plain batches; see `Backend`."""
        return _loader(EvaluationImages(images), batch_size, num_workers, persistent)


def _loader(
    dataset: Dataset[Any],
    batch_size: int,
    num_workers: int,
    persistent: bool,
    sampler: EpochSampler | None = None,
) -> DataLoader[Any]:
    num_workers = min(num_workers, usable_cpus())
    return _Loader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=list,  # the data set returns whole batches
        pin_memory=torch.cuda.is_available(),
        persistent_workers=persistent and num_workers > 0,
        # A loader draws a number for its workers; from its own generator it leaves the run's alone.
        generator=torch.Generator(),
    )


class _Loader(DataLoader[Any]):
    """A loader whose worker processes never collect what they inherit.

    Collected in a forked process, an object with threads (a DALI pipeline in a reference cycle)
    would wait forever for threads that only the parent has.
    """

    def __iter__(self) -> Any:
        """Start the workers, if there are any, with the objects of this process frozen."""
        if not self.num_workers:
            return super().__iter__()
        gc.freeze()
        try:
            return super().__iter__()
        finally:
            gc.unfreeze()
