"""The DALI backend: images read, decoded and cropped by DALI, on a CPU or on a GPU.

DALI does what it is best at: it reads and decodes files and cuts and resizes their crops in
threads of its own, ahead of the training step. The draws come from
`solo_ldm.data.augment.draws` and the colours from `solo_ldm.data.augment.photometric`, so both
backends show the same views of an image, and a batch is a function of (seed, epoch, step) alone:
a resumed run has nothing to restore.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from solo_ldm.data.augment.draws import ViewParameters, draw_view
from solo_ldm.data.augment.pairs import Partners, of_partner
from solo_ldm.data.augment.photometric import Normalise, render
from solo_ldm.data.augment.transforms import evaluation_box
from solo_ldm.data.backends.choice import usable_cpus
from solo_ldm.data.backends.dali.graph import Crop, Inputs, build_pipeline, to_torch
from solo_ldm.data.backends.dali.sources import Feed, feed_for
from solo_ldm.data.config import ViewSpec
from solo_ldm.data.sampler import EpochSampler
from solo_ldm.data.sources.images import ImageSource
from solo_ldm.data.sources.unreadable import Unreadable

# Batches under way at a time: one is trained on while the next is decoded.
_PREFETCH = 2


@dataclass(frozen=True)
class _Job:
    """One batch: what was asked for, what stands for it, and what the pipeline is fed."""

    asked: Any
    indexes: npt.NDArray[np.int64]
    inputs: Inputs
    parameters: list[ViewParameters]


class _Loader(ABC):
    """Batches of a pipeline in the order they are asked for; subclasses say what is asked.

    A file that cannot be decoded breaks a DALI pipeline for good. The batches under way are then
    searched for it, it is noted, and they are fed again to a new pipeline.
    """

    def __init__(
        self,
        feed: Feed,
        crops: Sequence[Crop],
        batch_size: int,
        num_threads: int,
        device: torch.device,
    ) -> None:
        self._feed = feed
        self._crops = list(crops)
        self.batch_size = batch_size
        self._num_threads = num_threads
        self._device = device
        self._idle: Any = None

    @abstractmethod
    def _prepare(self, asked: Any) -> _Job:
        """Return the job of a batch that is asked for; without indexes if nothing is readable."""

    @abstractmethod
    def _finish(self, job: _Job, crops: list[Tensor]) -> list[Any]:
        """Make the batch of the crops that came out."""

    def _batches(self, wanted: Iterable[Any]) -> Iterator[list[Any]]:
        run, self._idle = self._idle or self._build(), None
        queue = run.queue
        queue.start(wanted, self._prepare)
        try:
            while True:
                try:
                    outputs = run.pipeline.run()
                except StopIteration:
                    break
                except RuntimeError as error:
                    run = None
                    self._feed.find_unreadable([job.indexes for job in queue.under_way], error)
                    run = self._build()
                    again = [job.asked for job in queue.under_way]
                    run.queue.start(itertools.chain(again, queue.wanted), self._prepare)
                    queue = run.queue
                    continue
                crops = [to_torch(output, self._device) for output in outputs]
                yield self._finish(queue.under_way.popleft(), crops)
        except Exception:
            run = None
            raise
        finally:
            # Whoever stops early leaves batches behind that the next epoch must not see.
            if run is not None and run.drain():
                self._idle = run

    def _build(self) -> _Run:
        queue = _Queue()
        pipeline = build_pipeline(
            self._feed.kind,
            self._crops,
            self.batch_size,
            self._num_threads,
            self._device,
            _PREFETCH,
            queue.take,
        )
        return _Run(pipeline, queue)


class _Queue:
    """What a pipeline still has to be fed, and the batches that are under way in it.

    It must not refer to the pipeline, nor for longer than an epoch to whoever does: a cycle of
    references would leave the pipeline to the garbage collector, and if that runs in a forked
    loader process, it waits forever for threads that live in the parent alone.
    """

    def __init__(self) -> None:
        self.under_way: deque[_Job] = deque()
        self.stop()

    def start(self, wanted: Iterable[Any], prepare: Callable[[Any], _Job]) -> None:
        self.wanted: Iterator[Any] = iter(wanted)
        self._prepare: Callable[[Any], _Job] | None = prepare

    def stop(self) -> None:
        self.wanted, self._prepare = iter(()), None

    def take(self) -> Inputs:
        """Return the inputs of the next batch; raise StopIteration after the last."""
        while True:
            asked = next(self.wanted)
            assert self._prepare is not None, "nothing is wanted of a queue that was stopped"
            job = self._prepare(asked)
            if len(job.indexes):
                self.under_way.append(job)
                return job.inputs


@dataclass(frozen=True)
class _Run:
    """A pipeline and its queue."""

    pipeline: Any
    queue: _Queue

    def drain(self) -> bool:
        """Take out and drop what is under way; return whether the pipeline can be used again."""
        self.queue.stop()
        try:
            while True:
                self.pipeline.run()
        except StopIteration:
            self.pipeline.reset()
        except RuntimeError:
            return False  # a file that cannot be read; whoever asks for its batch will be told
        self.queue.under_way.clear()
        return True


class TrainLoader(_Loader):
    """Batches [indexes (B,), one (B, 3, H, W) float32 tensor a view, targets (B,)].

    Args:
        source: of the images.
        views: how each view is drawn.
        sampler: which images make each batch of this process.
        feed: the images as the pipeline takes them.
        num_threads: of DALI.
        device: where images are decoded, cropped and augmented.
        partners: which image every other view is of; None for the same. Images and partners go
            through the pipeline as one batch, of which each view takes its half.
    """

    def __init__(
        self,
        source: ImageSource,
        views: Sequence[ViewSpec],
        sampler: EpochSampler,
        feed: Feed,
        num_threads: int,
        device: torch.device,
        partners: Partners | None = None,
    ) -> None:
        self._views = [view for view in views for _ in range(view.num_crops)]
        crops = [
            Crop(view.crop_size, cut_first=view.rrc.enabled, affine=view.affine.prob > 0)
            for view in self._views
        ]
        self._partners = partners if len(self._views) > 1 else None
        images = sampler.batch_size * (1 if self._partners is None else 2)
        super().__init__(feed, crops, images, num_threads, device)
        self.sampler = sampler
        self._source = source
        self._normalise = [
            Normalise(view.mean or source.mean, view.std or source.std) for view in self._views
        ]

    def __len__(self) -> int:
        return self.sampler.num_steps

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield the batches of the epoch that the sampler was last set to."""
        # The epoch is asked for with the first batch: Lightning makes its iterator before it names
        # the epoch of a resumed run.
        keys = list(self.sampler)
        size = self.sampler.batch_size
        yield from self._batches(keys[start : start + size] for start in range(0, len(keys), size))

    def _prepare(self, asked: Any) -> _Job:
        epoch, samples = asked[0][0], np.array([index for _, index in asked], dtype=np.int64)
        indexes = self._feed.readable(samples)
        if self._partners is not None:
            others = self._feed.readable(self._partners(epoch, indexes))
            indexes, samples = np.concatenate([indexes, others]), np.tile(samples, 2)
        widths, heights = self._feed.sizes(indexes)
        parameters = [
            draw_view(view, number, self.sampler.seed, epoch, samples, widths, heights)
            for number, view in enumerate(self._views)
        ]
        inputs = self._feed.inputs(indexes, [drawn.box for drawn in parameters], self._crops)
        for number, drawn in enumerate(parameters):
            if drawn.affine is not None:
                matrix = drawn.affine.astype(np.float32).reshape(-1, 2, 3)
                inputs[f"affine{number}"] = matrix
        return _Job(asked, indexes, inputs, parameters)

    def _finish(self, job: _Job, crops: list[Tensor]) -> list[Any]:
        views, count = [], len(job.asked)
        with _one_thread():
            for number, normalise in enumerate(self._normalise):
                partner = self._partners is not None and of_partner(number)
                rows = slice(count, 2 * count) if partner else slice(count)
                drawn = job.parameters[number].rows(rows)
                views.append(render(crops[number][rows], drawn, normalise))
        indexes = job.indexes[:count]
        targets = torch.from_numpy(self._source.labels[indexes])
        return [torch.from_numpy(indexes), views, targets]


class EvaluationLoader(_Loader):
    """Batches [images (B, 3, H, W), targets (B,)] without augmentation, in a fixed order.

    Images that cannot be read are left out.

    Args:
        source: of the images.
        indexes: of the images used, in order.
        crop_size: in pixels.
        normalise: applied to the crops.
        batch_size: the last batch may be smaller.
        feed: the images as the pipeline takes them.
        num_threads: of DALI.
        device: where images are decoded and cropped.
    """

    def __init__(
        self,
        source: ImageSource,
        indexes: npt.NDArray[np.int64],
        crop_size: int,
        normalise: Normalise,
        batch_size: int,
        feed: Feed,
        num_threads: int,
        device: torch.device,
    ) -> None:
        crops = [Crop(crop_size, cut_first=False, affine=False)]
        super().__init__(feed, crops, batch_size, num_threads, device)
        self._labels = source.labels
        self._indexes = indexes
        self._crop_size = crop_size
        self._normalise = normalise

    def __len__(self) -> int:
        return -(-len(self._indexes) // self.batch_size)

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield every image once."""
        size = self.batch_size
        starts = range(0, len(self._indexes), size)
        return self._batches(self._indexes[start : start + size] for start in starts)

    def _prepare(self, asked: Any) -> _Job:
        indexes = self._feed.readable(asked, replace=False)
        widths, heights = self._feed.sizes(indexes)
        boxes = [
            evaluation_box(int(width), int(height), self._crop_size)
            for width, height in zip(widths, heights, strict=True)
        ]
        box = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        box[:, 2:] -= box[:, :2]
        return _Job(asked, indexes, self._feed.inputs(indexes, [box], self._crops), [])

    def _finish(self, job: _Job, crops: list[Tensor]) -> list[Any]:
        images = crops[0].permute(0, 3, 1, 2)
        images = images.to(torch.float32, memory_format=torch.contiguous_format)
        return [self._normalise(images), torch.from_numpy(self._labels[job.indexes])]


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


def _threads(num_workers: int) -> int:
    return max(1, min(num_workers, usable_cpus()))


def train_loader(
    source: ImageSource,
    views: Sequence[ViewSpec],
    sampler: EpochSampler,
    num_workers: int,
    unreadable: Unreadable | None = None,
    partners: Partners | None = None,
    device: torch.device | None = None,
) -> TrainLoader:
    """Return the loader of batches [indexes (B,), one (B, 3, H, W) tensor a view, targets (B,)].

    Args:
        source: of the images.
        views: how each view is drawn.
        sampler: decides which images make each batch; its seed is the augmentations' too.
        num_workers: threads.
        unreadable: where images that cannot be read are noted.
        partners: which image every other view is of; None for the same.
        device: where images are decoded and augmented; None means the CPU.
    """
    feed = feed_for(source, unreadable or Unreadable(source))
    device = device or torch.device("cpu")
    return TrainLoader(source, views, sampler, feed, _threads(num_workers), device, partners)


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
    device: torch.device | None = None,
) -> EvaluationLoader:
    """Return the loader of batches [images (B, 3, H, W), targets (B,)] in the order of `indexes`.

    Args:
        source: of the images.
        indexes: of the images used.
        crop_size: in pixels.
        mean: of the channels.
        std: of the channels.
        batch_size: the last batch may be smaller.
        num_workers: threads.
        persistent: has no effect here: threads are kept in any case.
        unreadable: where images that cannot be read are noted; they are left out.
        device: where images are decoded; None means the CPU.
    """
    feed = feed_for(source, unreadable or Unreadable(source))
    device = device or torch.device("cpu")
    return EvaluationLoader(
        source,
        indexes,
        crop_size,
        Normalise(mean, std),
        batch_size,
        feed,
        _threads(num_workers),
        device,
    )
