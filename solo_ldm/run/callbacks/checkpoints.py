"""Checkpoints that survive kill -9: written beside the old one and moved over it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from solo_ldm.files import write_atomically
from solo_ldm.run.folder import RunFolder


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint writing, through a temporary file in the same folder."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None
    ) -> None:
        """Write the checkpoint so that `path` is the old one or the new one, never half."""
        save = super().save_checkpoint
        write_atomically(Path(path), lambda temporary: save(checkpoint, temporary, storage_options))


class KeepLastAndBest(Checkpoint):
    """Write last.ckpt every few epochs and at the end, and best.ckpt when the monitor improves.

    Args:
        folder: the run's folder.
        frequency: epochs between checkpoints.
        monitor: name of the logged metric.
        mode: "max" or "min", which values of the monitor are better.
    """

    def __init__(self, folder: RunFolder, frequency: int, monitor: str, mode: str) -> None:
        super().__init__()
        self.folder = folder
        self.frequency = frequency
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.best: float | None = None
        self.best_epoch: int | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after the epoch's other callbacks; Lightning runs Checkpoint callbacks last."""
        done = trainer.current_epoch + 1
        if done % self.frequency and done != trainer.max_epochs:
            return
        value = trainer.callback_metrics.get(self.monitor)
        improved = value is not None and (
            self.best is None or self.sign * float(value) > self.sign * self.best
        )
        if improved and value is not None:
            self.best, self.best_epoch = float(value), trainer.current_epoch
        trainer.save_checkpoint(self.folder.last)
        if improved and trainer.is_global_zero:
            write_atomically(self.folder.best, lambda path: shutil.copyfile(self.folder.last, path))

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, to be continued with the run."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best value so far, if it is of this folder's best.ckpt."""
        if self.folder.best.exists():
            self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
