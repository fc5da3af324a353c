"""A run whose folder is removed ends, and nothing of it comes back in parts."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from solo_ldm.run.folder import RunFolder


class StopWithoutFolder(Callback):
    """Stop at the end of an epoch if the run's folder is gone, before anything is written."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look for the folder."""
        if trainer.is_global_zero:
            self.folder.check_there()
