"""The torchvision backend: images decoded and cropped by Pillow, in worker processes."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from solo_ldm.data.augment.draws import draw_view
from solo_ldm.data.augment.pairs import of_partner
from solo_ldm.data.augment.photometric import Normalise, render
from solo_ldm.data.augment.transforms import crop_view, evaluation_view
from solo_ldm.data.backends.base import Backend, PlainImages, TrainViews, usable_cpus
from solo_ldm.data.sampler import EpochSampler, SampleKey
from solo_ldm.data.sources.images import UnreadableImageError

# Decoded images held at a time; the rest of a batch waits in its files.
_DECODED = 64


class MultiViewImages(Dataset[Any]):
    """Augmented views of images, by (epoch, index).

    Args:
        views: what is drawn.
    """

    def __init__(self, views: TrainViews) -> None:
        self._drawn = views

    def __len__(self) -> int:
        return len(self._drawn.source)

    def __getitems__(self, keys: Sequence[SampleKey | int]) -> list[Any]:
        """Return the batch [indexes, views, targets] of (epoch, index) keys.

        A bare index is of epoch 0: Lightning's `overfit_batches` replaces the sampler.
        """
        pairs = [(0, key) if isinstance(key, int) else key for key in keys]
        sizes = [spec.crop_size for spec in self._drawn.specs]
        pixels = [np.empty((len(keys), size, size, 3), np.uint8) for size in sizes]
        views = [torch.empty((len(keys), 3, size, size)) for size in sizes]
        indexes = np.empty(len(keys), np.int64)
        for start in range(0, len(keys), _DECODED):
            rows = slice(start, min(start + _DECODED, len(keys)))
            loaded = [self._load(index) for _, index in pairs[rows]]
            indexes[rows] = [index for index, _ in loaded]
            images = [image for _, image in loaded]
            others = images
            if self._drawn.partners is not None:
                # Keys of one batch are of one epoch.
                partners = self._drawn.partners(pairs[0][0], indexes[rows])
                others = [self._load(index)[1] for index in partners.tolist()]
            self._draw(pairs[rows], (images, others), rows, pixels, views)
        targets = torch.from_numpy(self._drawn.source.labels[indexes])
        return [torch.from_numpy(indexes), views, targets]

    def _draw(
        self,
        pairs: Sequence[SampleKey],
        images: tuple[Sequence[Image.Image], Sequence[Image.Image]],
        rows: slice,
        pixels: Sequence[npt.NDArray[np.uint8]],
        views: Sequence[Tensor],
    ) -> None:
        """Draw every view of some images of a batch, and of their partners."""
        samples = [index for _, index in pairs]
        for number, spec in enumerate(self._drawn.specs):
            shown = images[of_partner(number)]
            widths, heights = zip(*(image.size for image in shown), strict=True)
            drawn = draw_view(spec, number, self._drawn.seed, pairs[0][0], samples, widths, heights)
            for row, image in enumerate(shown):
                crop = crop_view(image, drawn, row, spec.crop_size, spec.rrc.enabled)
                pixels[number][rows.start + row] = np.asarray(crop)
            part = torch.from_numpy(pixels[number][rows])
            views[number][rows] = render(part, drawn, self._drawn.normalise[number])

    def _load(self, index: int) -> tuple[int, Image.Image]:
        """Load an image, or the next one that can be read."""
        while True:
            try:
                return index, self._drawn.source.load(index)
            except UnreadableImageError:
                self._drawn.unreadable.mark(index)
                index = self._drawn.unreadable.replacement(index)


class EvaluationImages(Dataset[Any]):
    """Images without augmentation, by their position in a list; unreadable ones are left out.

    Args:
        images: which, and how large.
    """

    def __init__(self, images: PlainImages) -> None:
        self._images = images
        self._normalise = Normalise(images.mean, images.std)

    def __len__(self) -> int:
        return len(self._images.indexes)

    def __getitems__(self, positions: Sequence[int]) -> list[Tensor]:
        """Return the batch [images, targets]."""
        source, size = self._images.source, self._images.crop_size
        pixels, labels = [], []
        for index in self._images.indexes[np.asarray(positions)].tolist():
            try:
                image = source.load(index)
            except UnreadableImageError:
                self._images.unreadable.mark(index)
                continue
            pixels.append(np.asarray(evaluation_view(image, size)))
            labels.append(source.labels[index])
        batch = np.stack(pixels) if pixels else np.empty((0, size, size, 3), np.uint8)
        images = torch.from_numpy(batch).permute(0, 3, 1, 2)
        images = images.to(torch.float32, memory_format=torch.contiguous_format)
        return [self._normalise(images), torch.tensor(labels, dtype=torch.int64)]


class TorchvisionBackend(Backend):
    """Loaders whose worker processes decode with Pillow, on the CPU."""

    library = "torchvision"

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"), torchvision.__version__)

    def train_loader(self, views: TrainViews, sampler: EpochSampler, num_workers: int) -> Any:
        """Return the loader of augmented batches; see `Backend`."""
        how = {"sampler": sampler, "drop_last": True}
        return _loader(MultiViewImages(views), sampler.batch_size, num_workers, True, **how)

    def evaluation_loader(
        self, images: PlainImages, batch_size: int, num_workers: int, persistent: bool = False
    ) -> Any:
        """Return the loader of plain batches; see `Backend`."""
        return _loader(EvaluationImages(images), batch_size, num_workers, persistent)


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


def _whole_batch(batch: Any) -> Any:
    return batch
