"""The DALI backend: images read, decoded and cropped by DALI, on a CPU or on a GPU.

DALI does what it is best at: it reads and decodes files and cuts and resizes their crops in
threads of its own, ahead of the training step. The draws come from `solo_ldm.data.augment.draws`
and the colours from `solo_ldm.data.augment.photometric`, so both backends show the same views of
an image, and a batch is a function of (seed, epoch, step) alone: a resumed run has nothing to
restore.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import nvidia.dali
import torch
from torch import Tensor

from solo_ldm.data.augment.pairs import of_partner
from solo_ldm.data.augment.photometric import render
from solo_ldm.data.augment.transforms import evaluation_box
from solo_ldm.data.backends.base import Backend, PlainImages, TrainViews
from solo_ldm.data.backends.dali.batches import Batches, Job
from solo_ldm.data.backends.dali.graph import Crop
from solo_ldm.data.backends.dali.sources import Feed
from solo_ldm.data.sampler import EpochSampler


class DaliBackend(Backend):
    """Loaders whose threads decode and crop by DALI."""

    library = "dali"

    def __init__(self, device: torch.device) -> None:
        super().__init__(device, nvidia.dali.__version__)

    def train_loader(self, views: TrainViews, sampler: EpochSampler, num_workers: int) -> Any:
        """Return the loader of augmented batches; see `Backend`."""
        return TrainLoader(views, sampler, num_workers, self.device)

    def evaluation_loader(
        self, images: PlainImages, batch_size: int, num_workers: int, persistent: bool = False
    ) -> Any:
        """Return the loader of plain batches; see `Backend`."""
        return EvaluationLoader(images, batch_size, num_workers, self.device)


class TrainLoader:
    """Batches [indexes (B,), one (B, C, H, W) float32 tensor a view, targets (B,)].

    Images and their partners go through the pipeline as one batch, of which each view takes its
    half.

    Args:
        views: what is drawn.
        sampler: which images make each batch of this process.
        num_workers: threads of DALI.
        device: where images are decoded, cropped and augmented.
    """

    def __init__(
        self, views: TrainViews, sampler: EpochSampler, num_workers: int, device: torch.device
    ) -> None:
        self._views = views
        self.sampler = sampler
        self._feed = Feed(views.source, views.unreadable)
        paired = views.partners is not None
        self._how = (sampler.batch_size, num_workers, device, paired)
        self._crops: list[Crop] = []

    def __len__(self) -> int:
        return self.sampler.num_steps

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield the batches of the epoch that the sampler was last set to."""
        # The epoch is asked for with the first batch: Lightning makes its iterator before it names
        # the epoch of a resumed run.
        asked = list(self.sampler)
        crops = [
            Crop(spec.crop_size, cut_first=spec.rrc.enabled, affine=spec.affine.prob > 0)
            for spec in self._views.specs(asked[0][0])
        ]
        if crops != self._crops:
            self._crops, self._batches = crops, Batches(self._feed, crops, *self._how)
        for job, drawn in self._batches.run(asked, self._prepare):
            yield self._finish(job, drawn)

    def _prepare(self, asked: Any) -> Job:
        views, feed = self._views, self._feed
        epoch, samples = asked[0][0], np.array([index for _, index in asked], dtype=np.int64)
        indexes = feed.readable(samples)
        if views.partners is not None:
            others = feed.readable(views.partners(epoch, indexes))
            indexes, samples = np.concatenate([indexes, others]), np.tile(samples, 2)
        sides = feed.sizes(indexes)
        parameters = [
            views.draw(number, epoch, samples, *sides) for number in range(len(self._crops))
        ]
        boxes, affines = zip(*((drawn.box, drawn.affine) for drawn in parameters), strict=True)
        inputs = self._batches.inputs(indexes, boxes, affines)
        return Job(asked, indexes, inputs, parameters)

    def _finish(self, job: Job, crops: list[Tensor]) -> list[Any]:
        drawn, count = [], len(job.asked)
        with _one_thread():
            for number, normalise in enumerate(self._views.normalise):
                partner = self._views.partners is not None and of_partner(number)
                rows = slice(count, 2 * count) if partner else slice(count)
                parameters = job.parameters[number].rows(rows)
                drawn.append(render(crops[number][rows], parameters, normalise))
        return self._views.batch(job.indexes[:count], drawn)


class EvaluationLoader:
    """Batches [images (B, C, H, W), targets (B,)] without augmentation, in a fixed order.

    Args:
        images: which, and how large.
        batch_size: the last batch may be smaller.
        num_workers: threads of DALI.
        device: where images are decoded and cropped.
    """

    def __init__(
        self, images: PlainImages, batch_size: int, num_workers: int, device: torch.device
    ) -> None:
        self._images, self.batch_size = images, batch_size
        feed, crops = Feed(images.source, images.unreadable), [Crop(images.crop_size)]
        self._batches = Batches(feed, crops, batch_size, num_workers, device)

    def __len__(self) -> int:
        return -(-len(self._images.indexes) // self.batch_size)

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield every image once."""
        for job, (crops,) in self._batches.run(self._images.indexes, self._prepare):
            yield self._images.batch(crops, job.indexes)

    def _prepare(self, asked: Any) -> Job:
        feed = self._batches.feed
        indexes = feed.readable(asked, replace=False)
        if not len(indexes):
            return Job(asked, indexes, {})
        boxes = [
            evaluation_box(int(width), int(height), self._images.crop_size)
            for width, height in zip(*feed.sizes(indexes), strict=True)
        ]
        box = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        box[:, 2:] -= box[:, :2]
        return Job(asked, indexes, self._batches.inputs(indexes, [box]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep tensor operations to this thread: the other cores are DALI's, decoding ahead.

    Threads that wait for one another among busy ones cost more than they save.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
