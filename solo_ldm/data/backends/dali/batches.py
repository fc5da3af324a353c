"""Batches out of a DALI pipeline, in order, whatever file of them breaks it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from solo_ldm.data.augment.draws import Floats, ViewParameters
from solo_ldm.data.backends.base import usable_cpus
from solo_ldm.data.backends.dali.graph import Crop, Graph, Inputs, to_torch
from solo_ldm.data.backends.dali.sources import Feed, Indexes

# Batches under way at a time: one is trained on while the next is decoded.
_PREFETCH = 2


@dataclass(frozen=True)
class Job:
    """One batch: what was asked for, the images that are read for it, what the pipeline is fed."""

    asked: Any
    indexes: Indexes
    inputs: Inputs
    parameters: list[ViewParameters] = field(default_factory=list)


class Batches:
    """Crops of the images of a feed, batch by batch in the order they are asked for.

    A file that cannot be decoded breaks a DALI pipeline for good. The batches under way are then
    searched for it, it is noted, and they are fed again to a new pipeline.

    Args:
        feed: the images as the pipeline takes them.
        crops: what each view keeps of an image.
        batch_size: images asked for at a time; the last batch may be smaller.
        num_workers: threads of DALI; no more than there are processors.
        device: where images are decoded and cropped.
        paired: whether another image is read for each that is asked for.
    """

    def __init__(
        self,
        feed: Feed,
        crops: Sequence[Crop],
        batch_size: int,
        num_workers: int,
        device: torch.device,
        paired: bool = False,
    ) -> None:
        self.feed, self._batch_size = feed, batch_size
        self._graph, self._device = Graph(feed.kind, crops, feed.raw), device
        num_threads = max(1, min(num_workers, usable_cpus()))
        self._how = ((2 if paired else 1) * batch_size, num_threads, device, _PREFETCH)
        self._idle: tuple[Any, _Queue] | None = None

    def inputs(self, indexes: Indexes, boxes: Sequence[Floats], affines: Any = ()) -> Inputs:
        """Return what the pipeline is fed for images; see `Graph.inputs`."""
        shapes = self.feed.shapes(indexes) if self.feed.raw else None
        return self._graph.inputs(self.feed.images(indexes), boxes, affines, shapes)

    def run(
        self, asked: Sequence[Any] | Indexes, prepare: Callable[[Any], Job]
    ) -> Iterator[tuple[Job, list[Tensor]]]:
        """Yield the job of every batch with its crops, uint8 (B, size, size, C) each.

        Args:
            asked: what is asked for, an image each.
            prepare: returns the job of a batch of these; without indexes if none is readable.
        """
        size = self._batch_size
        wanted = (asked[start : start + size] for start in range(0, len(asked), size))
        (pipeline, queue), self._idle = self._idle or self._build(), None
        queue.start(wanted, prepare)
        try:
            while True:
                try:
                    outputs = pipeline.run()
                except RuntimeError as error:
                    broken = queue.under_way
                    self.feed.find_unreadable([job.indexes for job in broken], error)
                    pipeline, queue = self._build()
                    wanted = chain([job.asked for job in broken], wanted)
                    queue.start(wanted, prepare)
                    continue
                yield queue.under_way.popleft(), [to_torch(one, self._device) for one in outputs]
        except (StopIteration, GeneratorExit):
            # An epoch that is left early leaves batches behind that the next one must not see.
            if queue.drain(pipeline):
                self._idle = pipeline, queue

    def _build(self) -> tuple[Any, _Queue]:
        queue = _Queue()
        return self._graph.build(queue.take, *self._how), queue


class _Queue:
    """What a pipeline still has to be fed, and the batches that are under way in it.

    It must not refer to the pipeline, nor for longer than an epoch to an object that does: a cycle
    of references would leave the pipeline to the garbage collector, which in a forked loader
    process would wait forever for threads that only the parent has.
    """

    def __init__(self) -> None:
        self.under_way: deque[Job] = deque()

    def start(self, wanted: Iterator[Any], prepare: Callable[[Any], Job]) -> None:
        self._jobs = (job for job in map(prepare, wanted) if len(job.indexes))

    def take(self) -> Inputs:
        """Return the inputs of the next batch; raise StopIteration after the last."""
        job = next(self._jobs)
        self.under_way.append(job)
        return job.inputs

    def drain(self, pipeline: Any) -> bool:
        """Take out and drop what is under way; return whether the pipeline can be used again."""
        self._jobs = iter(())
        try:
            while True:
                pipeline.run()
        except StopIteration:
            pipeline.reset()
        except RuntimeError:  # an unreadable file, noted when its batch is asked for again
            return False
        self.under_way.clear()
        return True
