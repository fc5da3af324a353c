"""Training: what every command that trains does around Lightning's `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from rich.console import Console

from solo_ldm.data.lightning import LightningData
from solo_ldm.data.module import ImageDataModule
from solo_ldm.run.callbacks.checkpoints import KeepLastAndBest
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from solo_ldm.run.callbacks.folder import StopWithoutFolder
from solo_ldm.run.callbacks.placing import PlaceByShare
from solo_ldm.run.callbacks.progress import ShowProgress, TrainingClock
from solo_ldm.run.callbacks.seed import EpochSeed
from solo_ldm.run.callbacks.signals import (
    EndAtSignals,
    ended_as_a_command,
    forget_slurms_checkpoints,
)
from solo_ldm.run.folder import RunFolder, save_args
from solo_ldm.run.hardware import Hardware
from solo_ldm.run.memory import freed_memory_kept
from solo_ldm.run.metrics import MetricsCSV
from solo_ldm.run.resume import checkpoint_to_resume
from solo_ldm.run.trainer import TimeIsOverError, build_trainer, without_lightnings_advice


@dataclass(frozen=True)
class Fitted:
    """A module after training, and what it was trained with.

    Args:
        module: trained.
        data: that it was trained on.
        cfg: the completed configuration.
        hardware: that it was trained with.
        folder: of the run.
        metrics: of each epoch.
        clock: seconds of training and images seen.
        trainer: Lightning's.
        origins: what the run was continued from; see `Continuation`.
    """

    module: Any
    data: Any
    cfg: DictConfig
    hardware: Hardware
    folder: RunFolder
    metrics: MetricsCSV
    clock: TrainingClock
    trainer: pl.Trainer
    origins: list[dict[str, Any]]


def fit(
    module: pl.LightningModule,
    data: Any,
    cfg: DictConfig,
    hardware: Hardware,
    folder: RunFolder,
    console: Console,
    *,
    loss: str,
    monitor: str | None = None,
    headline: str | None = None,
    resume_from: str | None = None,
    validates: bool = True,
    callbacks: Sequence[Callback] = (),
    accuracy: str = "online top-1",
    unit: str = "images",
) -> Fitted | None:
    """Train a module in a run's folder, from the beginning or from its last checkpoint.

    Args:
        module: to train; checkpoints of another architecture are refused before a file is written.
        data: an `ImageDataModule`, or a LightningDataModule with an attribute `first_epoch`, set to
            the epoch that training starts from.
        cfg: the completed configuration, written to args.json; see `TrainingConfig`.
        hardware: to train with.
        folder: of the run.
        console: where to print.
        loss: name of the logged loss.
        monitor: logged metric whose largest value makes best.ckpt; None for the smallest loss.
        headline: what is trained, printed before training.
        resume_from: file of the checkpoint that resume_from_checkpoint names; None continues the
            folder's own.
        validates: whether there is validation data.
        callbacks: further ones, between those that guard a run and those that show and save it.
        accuracy: what the logged val_acc1 is called on the progress bar.
        unit: what training counts.

    Returns:
        None in the helper processes of distributed training, after an interruption and after
        trainer.max_time.

    Raises:
        FileNotFoundError: in one line: the checkpoint to continue from is not there.
        ValueError: in one line: it does not fit, or the loss is not finite.
    """
    resumed = checkpoint_to_resume(cfg, folder, module, resume_from)
    metrics, clock = MetricsCSV(folder.metrics), TrainingClock()
    placed: list[Callback] = []
    notices: list[str] = []
    if resumed is not None:
        notices += metrics.keep_before(resumed.epoch)
        data.first_epoch = resumed.epoch
        placed.append(PlaceByShare(resumed.epoch, resumed.origins))
    told = (*hardware.notices, *getattr(data, "notices", ()))
    for line in told if headline else ():
        console.print(line, style="yellow", soft_wrap=True)
    if headline:
        console.print(headline, soft_wrap=True)
    if resumed is not None:
        for line in (
            *resumed.notices,
            *notices,
            f"continuing {resumed.path} after epoch {resumed.epoch}",
        ):
            console.print(line, soft_wrap=True)
    elif headline:
        console.print(f"writing to {folder.path}", soft_wrap=True)
    shown = ShowProgress(console, clock, loss, accuracy, unit)
    guards = [EndAtSignals(), StopWithoutFolder(folder), EpochSeed(cfg.seed), StopAtNonFinite()]
    quiet = cfg.trainer.get("enable_progress_bar") is False
    every = [*placed, *guards, clock, *callbacks, *([] if quiet else [shown])]
    if cfg.checkpoint.enabled:
        best = (monitor, "max") if monitor else (loss, "min")
        every.append(KeepLastAndBest(folder, cfg.checkpoint.frequency, *best))
    loaders = LightningData(data) if isinstance(data, ImageDataModule) else data
    with without_lightnings_advice():
        trainer = build_trainer(cfg, hardware, folder, metrics, every, validates)
        if trainer.is_global_zero:
            save_args(folder, cfg)
            forget_slurms_checkpoints(folder)
        kept = freed_memory_kept() if hardware.accelerator == "cpu" else nullcontext()
        with kept, ended_as_a_command(trainer):
            try:
                trainer.fit(module, datamodule=loaders, ckpt_path=resumed and resumed.path)
            except TimeIsOverError:
                epoch, limit = trainer.current_epoch + 1, cfg.trainer.max_time
                console.print(
                    f"trainer.max_time={limit} ends training in epoch {epoch} of {cfg.max_epochs}: "
                    "the run is unfinished; the same command continues it"
                )
    if trainer.interrupted or not trainer.is_global_zero:
        return None
    folder.check_there()
    origins = resumed.origins if resumed is not None else []
    return Fitted(module, data, cfg, hardware, folder, metrics, clock, trainer, origins)
