"""Lightning's trainer as a configuration says."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from solo_ldm.config.trainer import seconds_of
from solo_ldm.run.callbacks.checkpoints import AtomicCheckpointIO
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import Hardware
from solo_ldm.run.metrics import MetricsCSV


class TimeIsOverError(Exception):
    """Training has taken trainer.max_time."""


class EndInTime(Callback):
    """End training before the first batch after trainer.max_time, counted from here.

    A part of an epoch is lost, as at a signal: the run continues after its last checkpoint.

    Args:
        max_time: DD:HH:MM:SS.
    """

    def __init__(self, max_time: str) -> None:
        self.end = time.monotonic() + seconds_of(max_time)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End training in all processes if the time is over in one."""
        over = time.monotonic() > self.end
        if trainer.strategy.reduce_boolean_decision(over, all=False):
            raise TimeIsOverError


def is_helper_process() -> bool:
    """Return whether Lightning started this process to help another one."""
    return getattr(rank_zero_only, "rank", 0) != 0


def build_trainer(
    cfg: DictConfig,
    hardware: Hardware,
    folder: RunFolder,
    logger: MetricsCSV,
    callbacks: Sequence[Callback],
    validates: bool,
) -> pl.Trainer:
    """Build Lightning's trainer for `fit`, with the further arguments of cfg.trainer."""
    given = dict(cfg.trainer)
    max_time = given.pop("max_time", None)
    ends = [EndInTime(max_time)] if max_time else []
    if hardware.accelerator == "cuda":
        torch.set_float32_matmul_precision("high")
    return pl.Trainer(
        **{
            "max_epochs": cfg.max_epochs,
            "accelerator": hardware.accelerator,
            "devices": hardware.devices,
            "num_nodes": cfg.num_nodes,
            "strategy": hardware.strategy,
            "precision": hardware.precision,
            "sync_batchnorm": hardware.sync_batchnorm,
            "accumulate_grad_batches": cfg.accumulate_grad_batches,
            "logger": [logger, *_extra_loggers(cfg, folder)],
            "callbacks": [*callbacks, *ends],
            "plugins": [AtomicCheckpointIO()],
            "enable_checkpointing": cfg.checkpoint.enabled,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            # The data module's sampler shards by itself.
            "use_distributed_sampler": False,
            "default_root_dir": folder.path,
            **given,
            "enable_progress_bar": False,  # of Lightning; `ShowProgress` is ours
            **({} if validates else {"limit_val_batches": 0}),
        }
    )


def _extra_loggers(cfg: DictConfig, folder: RunFolder) -> list[Any]:
    loggers: list[Any] = []
    if cfg.wandb.enabled:
        from lightning.pytorch.loggers import WandbLogger

        name = folder.path.name  # as the id, so that a resumed run continues the same W&B run
        loggers.append(
            WandbLogger(
                name=name,
                id=name,
                save_dir=folder.path,
                resume="allow",
                offline=cfg.wandb.offline,
                project=cfg.wandb.project,
                entity=cfg.wandb.entity,
            )
        )
    if cfg.tensorboard.enabled:
        from lightning.pytorch.loggers import TensorBoardLogger

        loggers.append(TensorBoardLogger(folder.path, name="tensorboard", version=""))
    return loggers


@contextmanager
def without_lightnings_advice() -> Iterator[None]:
    """Silence lightning's start-up notes and advice on workers; errors and our warnings remain."""
    levels = {
        "lightning.pytorch": logging.ERROR,
        "lightning.fabric": logging.ERROR,
        # Says in a line that another process has ended, before it kills this one.
        "lightning.fabric.strategies.launchers.subprocess_script": logging.INFO,
    }
    notes = [logging.getLogger(name) for name in levels]
    before = [note.level for note in notes]
    for note in notes:
        note.setLevel(levels[note.name])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            # lightning 2.6 asks torch 2.15 for a tree type that torch is about to rename.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            # A callback that watches may be left out when a run is continued.
            warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
            yield
    finally:
        for note, level in zip(notes, before, strict=True):
            note.setLevel(level)
