"""The order of training: which images make each batch, as a function of seed and epoch."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DistributedSampler

SampleKey = tuple[int, int]


class EpochSampler(DistributedSampler[Any]):
    """Yield (epoch, index) keys: a permutation for each epoch, shared among processes.

    The batches of step t of all ranks, one after another, are the batch of step t of a single
    process with the global batch size. Each key carries its epoch, so that workers which outlive
    an epoch need no message. It is a `DistributedSampler` in name, as Lightning replaces any
    other sampler when there are several processes.

    Args:
        num_samples: images in the data set.
        batch_size: of each process.
        seed: of the run.
        num_replicas: processes.
        rank: of this process.

    Raises:
        ValueError: fewer images than one batch of all processes.
    """

    def __init__(
        self, num_samples: int, batch_size: int, seed: int, num_replicas: int = 1, rank: int = 0
    ) -> None:
        if num_samples < min(2, batch_size * num_replicas):
            raise ValueError(
                f"data: expected at least 2 training images, got {num_samples}; add images, or "
                "raise data.fraction"
            )
        if num_samples < batch_size * num_replicas:
            raise ValueError(
                f"expected at least one batch of training images, got {num_samples} images for "
                f"{num_replicas} x {batch_size} (processes x batch size); lower "
                f"optimizer.batch_size to {max(num_samples // num_replicas, 1)} or less, "
                f"or add images"
            )
        super().__init__(
            range(num_samples),  # pyright: ignore[reportArgumentType]
            num_replicas=num_replicas,
            rank=rank,
            seed=seed,
            drop_last=True,
        )
        self.batch_size = batch_size
        self.num_steps = num_samples // (batch_size * num_replicas)
        self._num_images = num_samples

    def __len__(self) -> int:
        """The samples this process sees in an epoch: whole batches alone."""
        return self.num_steps * self.batch_size

    def __iter__(self) -> Iterator[SampleKey]:
        """Yield the keys of this process for the epoch last set."""
        epoch = self.epoch
        order = np.random.default_rng((self.seed % 2**64, epoch)).permutation(self._num_images)
        used = order[: len(self) * self.num_replicas]
        mine = used.reshape(self.num_steps, self.num_replicas, self.batch_size)[:, self.rank]
        return ((epoch, index) for index in mine.ravel().tolist())
