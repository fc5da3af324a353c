"""Batches of windows for training, and of whole held-out sequences for validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor

from predictive.data.sequences import Sequences, TimeSeriesData, as_floats
from solo_ldm.config.arguments import Bounds, Count, checked
from solo_ldm.data.sampler import EpochSampler


class Batch(NamedTuple):
    """Sequences that are filtered together.

    Args:
        inputs: (B, T, F); zero where there is none.
        known: true where an input was observed, (B, T): neither padding nor missing.
        missing: whether an input is missing before the end of its sequence, so that a filter needs
            the mask. It does not for padding, which nothing follows.
        targets: (B, T, k) each, NaN where unknown.
    """

    inputs: Tensor
    known: Tensor
    missing: bool
    targets: dict[str, Tensor]


# Held-out sequences filtered at a time.
_VALIDATION_BATCH = 64


class SequenceModule(pl.LightningDataModule):
    """Batches of windows for training and of whole held-out sequences for validation.

    The data are in memory and a batch is one indexing operation, without worker processes. The
    order is a function of (seed, epoch), the same for any number of processes.

    Args:
        data: the data set.
        window: bins of a training window; None trains on whole sequences.
        stride: bins between the starts of windows; None takes the window's length.
        batch_size: windows of a step, of each process.
        seed: of the run.

    Raises:
        ValueError: windows longer than every sequence.
    """

    @checked
    def __init__(
        self,
        data: TimeSeriesData,
        window: Annotated[int, Bounds(2)] | None,
        stride: Count | None,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.data = data
        self.windows = data.train.windows(window, stride)
        self.batch_size = batch_size
        self.seed = seed
        self.first_epoch = 0

    def check_batches(self, num_processes: int) -> None:
        """Raise a ValueError if there are fewer windows than one batch of all processes."""
        most = len(self.windows) // num_processes
        if most < self.batch_size:
            raise ValueError(
                f"optimizer.batch_size: expected at most {max(1, most)} for {len(self.windows)} "
                f"training windows and {num_processes} processes, got {self.batch_size}; lower it, "
                "data.window or data.stride"
            )

    def train_dataloader(self) -> SequenceLoader:
        """Return batches of windows, in a new order each epoch."""
        trainer = self.trainer
        world_size, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
        sampler = EpochSampler(len(self.windows), self.batch_size, self.seed, world_size, rank)
        sampler.set_epoch(self.first_epoch)
        return SequenceLoader(self.windows, self.batch_size, sampler)

    def val_dataloader(self) -> SequenceLoader:
        """Return the held-out sequences, whole and in order."""
        return SequenceLoader(self.data.held_out, _VALIDATION_BATCH)


class SequenceLoader:
    """Iterates over batches of sequences; Lightning passes the epoch to its sampler.

    Args:
        sequences: to draw from.
        batch_size: sequences of a batch.
        sampler: gives their order; None for that of the sequences.
    """

    def __init__(
        self, sequences: Sequences, batch_size: int, sampler: EpochSampler | None = None
    ) -> None:
        self.sequences = sequences
        self.batch_size = batch_size
        self.sampler = sampler
        # Lightning expects this attribute of a loader with a sampler.
        self.batch_sampler = None

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        count = len(self.sequences if self.sampler is None else self.sampler)
        return -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the current epoch."""
        if self.sampler is None:
            order = list(range(len(self.sequences)))
        else:
            order = [index for _, index in self.sampler]
        for start in range(0, len(order), self.batch_size):
            yield as_batch(self.sequences.select(order[start : start + self.batch_size]))


def as_batch(sequences: Sequences) -> Batch:
    """Return sequences as a batch; inputs that are not finite count as missing."""
    inputs = as_floats(sequences.inputs)
    finite = torch.isfinite(inputs).all(dim=-1)
    mask = sequences.mask
    missing = bool((mask & ~finite).any())
    if missing:
        inputs = torch.where(finite[..., None], inputs, 0.0)
    return Batch(inputs, mask & finite, missing, dict(sequences.targets))
