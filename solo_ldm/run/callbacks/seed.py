"""Random numbers that depend neither on an interruption nor on what ran before the epoch."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback


class EpochSeed(Callback):
    """Seed the global generators from (seed, epoch, rank) at the start of each epoch.

    What is random in the network (dropout, drop-path) then does not depend on where a run was
    interrupted, nor on what ran before the epoch.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed torch on every device."""
        mixed = hash((self.seed, trainer.current_epoch, trainer.global_rank))
        torch.manual_seed(mixed % 2**63)
