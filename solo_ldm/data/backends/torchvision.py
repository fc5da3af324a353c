"""The torchvision backend: images decoded and cropped by Pillow, in worker processes.

Every sample's augmentation is a function of (seed, epoch, index) alone.
"""

import gc
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from solo_ldm.data.augment.draws import draw_view
from solo_ldm.data.augment.pairs import Partners, of_partner
from solo_ldm.data.augment.photometric import Normalise, render
from solo_ldm.data.augment.transforms import crop_view, evaluation_view
from solo_ldm.data.backends.choice import usable_cpus
from solo_ldm.data.config import ViewSpec
from solo_ldm.data.sampler import EpochSampler, SampleKey
from solo_ldm.data.sources.images import ImageSource, UnreadableImageError
from solo_ldm.data.sources.unreadable import Unreadable

# Decoded images held at a time; the rest of a batch waits in its files.
_DECODED = 64


class MultiViewImages(Dataset[Any]):
    """Augmented views of the images of a source.

    Args:
        source: of the images.
        views: how each view is drawn.
        seed: of the run; with the epoch and the index it decides every augmentation.
        unreadable: where images that cannot be read are noted; the next one stands in for each.
        partners: which image every other view is of; None for the same.
    """

    def __init__(
        self,
        source: ImageSource,
        views: Sequence[ViewSpec],
        seed: int,
        unreadable: Unreadable | None = None,
        partners: Partners | None = None,
    ) -> None:
        self._source = source
        self._seed = seed
        self._views = [view for view in views for _ in range(view.num_crops)]
        self._normalise = [
            Normalise(view.mean or source.mean, view.std or source.std) for view in self._views
        ]
        self._unreadable = unreadable or Unreadable(source)
        self._partners = partners if len(self._views) > 1 else None

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
        pairs = [(0, key) if isinstance(key, int) else key for key in keys]
        sizes = [view.crop_size for view in self._views]
        pixels = [np.empty((len(keys), size, size, 3), np.uint8) for size in sizes]
        views = [torch.empty((len(keys), 3, size, size)) for size in sizes]
        indexes = np.empty(len(keys), np.int64)
        for start in range(0, len(keys), _DECODED):
            rows = slice(start, min(start + _DECODED, len(keys)))
            loaded = [self._load(index) for _, index in pairs[rows]]
            indexes[rows] = [index for index, _ in loaded]
            images = [image for _, image in loaded]
            others = images
            if self._partners is not None:
                # Keys of one batch are of one epoch.
                drawn = self._partners(pairs[0][0], indexes[rows])
                others = [self._load(index)[1] for index in drawn.tolist()]
            self._draw(pairs[rows], (images, others), rows, pixels, views)
        return [torch.from_numpy(indexes), views, torch.from_numpy(self._source.labels[indexes])]

    def _draw(
        self,
        pairs: Sequence[SampleKey],
        images: tuple[Sequence[Image.Image], Sequence[Image.Image]],
        rows: slice,
        pixels: Sequence[npt.NDArray[np.uint8]],
        views: Sequence[Tensor],
    ) -> None:
        """Draw every view of some images of a batch, and of those they are shown with."""
        samples = [index for _, index in pairs]
        for number, view in enumerate(self._views):
            shown = images[of_partner(number)]
            widths, heights = zip(*(image.size for image in shown), strict=True)
            drawn = draw_view(view, number, self._seed, pairs[0][0], samples, widths, heights)
            for row, image in enumerate(shown):
                crop = crop_view(image, drawn, row, view.crop_size, view.rrc.enabled)
                pixels[number][rows.start + row] = np.asarray(crop)
            part = torch.from_numpy(pixels[number][rows])
            views[number][rows] = render(part, drawn, self._normalise[number])

    def _load(self, index: int) -> tuple[int, Image.Image]:
        """Load an image, or the next one that can be read."""
        while True:
            try:
                return index, self._source.load(index)
            except UnreadableImageError:
                self._unreadable.mark(index)
                index = self._unreadable.stand_in(index)


class EvaluationImages(Dataset[Any]):
    """Images of a source without augmentation; those that cannot be read are left out.

    Args:
        source: of the images.
        indexes: of the images used, in order.
        crop_size: in pixels.
        mean: of the channels.
        std: of the channels.
        unreadable: where images that cannot be read are noted.
    """

    def __init__(
        self,
        source: ImageSource,
        indexes: npt.NDArray[np.int64],
        crop_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        unreadable: Unreadable | None = None,
    ) -> None:
        self._source = source
        self._indexes = indexes
        self._crop_size = crop_size
        self._normalise = Normalise(mean, std)
        self._unreadable = unreadable or Unreadable(source)

    def __len__(self) -> int:
        return len(self._indexes)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Return (image (3, H, W), label) of one sample."""
        images, targets = self.__getitems__([position])
        return images[0], int(targets[0])

    def __getitems__(self, positions: Sequence[int]) -> list[Tensor]:
        """Return the batch [images, targets]."""
        size = self._crop_size
        pixels, labels = [], []
        for index in self._indexes[np.asarray(positions)].tolist():
            try:
                image = self._source.load(index)
            except UnreadableImageError:
                self._unreadable.mark(index)
                continue
            pixels.append(np.asarray(evaluation_view(image, size)))
            labels.append(self._source.labels[index])
        batch = np.stack(pixels) if pixels else np.empty((0, size, size, 3), np.uint8)
        images = torch.from_numpy(batch).permute(0, 3, 1, 2)
        images = images.to(torch.float32, memory_format=torch.contiguous_format)
        return [self._normalise(images), torch.tensor(labels, dtype=torch.int64)]


def train_loader(
    source: ImageSource,
    views: Sequence[ViewSpec],
    sampler: EpochSampler,
    num_workers: int,
    unreadable: Unreadable | None = None,
    partners: Partners | None = None,
) -> DataLoader[Any]:
    """Return the loader of batches [indexes (B,), one (B, 3, H, W) tensor a view, targets (B,)].

    Args:
        source: of the images.
        views: how each view is drawn.
        sampler: decides which images make each batch; its seed is the augmentations' too.
        num_workers: processes.
        unreadable: where images that cannot be read are noted.
        partners: which image every other view is of; None for the same.
    """
    dataset = MultiViewImages(source, views, sampler.seed, unreadable, partners)
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
    unreadable: Unreadable | None = None,
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
        unreadable: where images that cannot be read are noted; they are left out.
    """
    dataset = EvaluationImages(source, indexes, crop_size, mean, std, unreadable)
    return _loader(dataset, batch_size, num_workers, persistent)


def _loader(
    dataset: Dataset[Any], batch_size: int, num_workers: int, persistent: bool, **arguments: Any
) -> DataLoader[Any]:
    num_workers = min(num_workers, usable_cpus())
    return _Loader(
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


class _Loader(DataLoader[Any]):
    """A loader whose worker processes never collect what they inherit.

    Collected in a forked process, an object with threads (a DALI pipeline in a reference cycle)
    would wait for ever for threads that are the parent's alone.
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


def _whole_batch(batch: Any) -> Any:
    return batch
