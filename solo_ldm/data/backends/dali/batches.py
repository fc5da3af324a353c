"""Batches out of a DALI pipeline, in order, whatever file of them breaks it."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from solo_ldm.data.augment.draws import ViewParameters
from solo_ldm.data.backends.dali.graph import Crop, Inputs, build_pipeline, to_torch
from solo_ldm.data.backends.dali.sources import Feed

# Batches under way at a time: one is trained on while the next is decoded.
_PREFETCH = 2


@dataclass(frozen=True)
class Job:
    """One batch: what was asked for, the images that are read for it, what the pipeline is fed."""

    asked: Any
    indexes: npt.NDArray[np.int64]
    inputs: Inputs
    parameters: list[ViewParameters] = field(default_factory=list)


class Batches:
    """Crops of the images of a feed, batch by batch in the order they are asked for.

    A file that cannot be decoded breaks a DALI pipeline for good. The batches under way are then
    searched for it, it is noted, and they are fed again to a new pipeline.

    Args:
        feed: the images as the pipeline takes them.
        crops: what each view keeps of an image.
        batch_size: the largest batch.
        num_threads: of DALI.
        device: where images are decoded and cropped.
    """

    def __init__(
        self,
        feed: Feed,
        crops: Sequence[Crop],
        batch_size: int,
        num_threads: int,
        device: torch.device,
    ) -> None:
        self.feed = feed
        self.crops = list(crops)
        self._size = batch_size
        self._num_threads = num_threads
        self._device = device
        self._idle: _Run | None = None

    def run(
        self, wanted: Iterable[Any], prepare: Callable[[Any], Job]
    ) -> Iterator[tuple[Job, list[Tensor]]]:
        """Yield the job of every batch with its crops, uint8 (B, size, size, 3) each.

        Args:
            wanted: what is asked for, a batch each.
            prepare: returns the job of a batch; without indexes if nothing of it is readable.
        """
        run, self._idle = self._idle or self._build(), None
        queue = run.queue
        queue.start(wanted, prepare)
        try:
            while True:
                try:
                    outputs = run.pipeline.run()
                except StopIteration:
                    break
                except RuntimeError as error:
                    run = None
                    self.feed.find_unreadable([job.indexes for job in queue.under_way], error)
                    run = self._build()
                    again = [job.asked for job in queue.under_way]
                    run.queue.start(itertools.chain(again, queue.wanted), prepare)
                    queue = run.queue
                    continue
                crops = [to_torch(output, self._device) for output in outputs]
                yield queue.under_way.popleft(), crops
        except Exception:
            run = None
            raise
        finally:
            # An epoch that is left early leaves batches behind that the next one must not see.
            if run is not None and run.drain():
                self._idle = run

    def _build(self) -> _Run:
        queue = _Queue()
        how = (self._size, self._num_threads, self._device, _PREFETCH)
        return _Run(build_pipeline(self.feed.kind, self.crops, *how, queue.take), queue)


class _Queue:
    """What a pipeline still has to be fed, and the batches that are under way in it.

    It must not refer to the pipeline, nor for longer than an epoch to an object that does: a cycle
    of references would leave the pipeline to the garbage collector, which in a forked loader
    process would wait forever for threads that only the parent has.
    """

    def __init__(self) -> None:
        self.under_way: deque[Job] = deque()
        self.stop()

    def start(self, wanted: Iterable[Any], prepare: Callable[[Any], Job]) -> None:
        self.wanted: Iterator[Any] = iter(wanted)
        self._prepare: Callable[[Any], Job] | None = prepare

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
            return (
                False  # a file that cannot be read; it is noted when its batch is asked for again
            )
        self.queue.under_way.clear()
        return True
