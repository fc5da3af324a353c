"""Training that continues is placed by the share of it that is done."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from solo_ldm.optim.optimizers import Schedule


class PlaceByShare(Callback):
    """Count steps as if all epochs so far had been trained under the present configuration.

    With E of max_epochs epochs done and S steps in max_epochs, training continues at step
    E S / max_epochs: the place of schedules, moving averages and the time left, whatever the batch,
    the number of devices or the accumulation was before. Nothing changes for those that are as
    they were.

    Args:
        epoch: epochs done.
        origins: see `Continuation`; kept in the checkpoints that follow.
    """

    def __init__(self, epoch: int, origins: list[dict[str, Any]]) -> None:
        self.epoch = epoch
        self.origins = origins

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Begin at an epoch: what a checkpoint counts of steps is of its own configuration."""
        loops = trainer.fit_loop.state_dict()
        for counts in loops["epoch_progress"].values():
            counts.update(dict.fromkeys(counts, self.epoch))
        checkpoint["loops"] = {"fit_loop": loops}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the steps of the epochs done, and set the rates that follow them."""
        epochs = trainer.max_epochs or 1
        steps = round(self.epoch * trainer.estimated_stepping_batches / epochs)
        loop = trainer.fit_loop.epoch_loop
        made = loop.automatic_optimization.optim_progress.optimizer.step.total
        made.ready = made.completed = loop._batches_that_stepped = steps
        batches = loop.batch_progress.total
        vars(batches).update(
            dict.fromkeys(vars(batches), int(self.epoch * trainer.num_training_batches))
        )
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, Schedule):
                config.scheduler.place(steps if config.interval == "step" else self.epoch)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep where the run comes from, so that it is known after an interruption."""
        checkpoint["origins"] = self.origins
