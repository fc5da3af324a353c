"""One run from a configuration to a trained, evaluated and documented backbone."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from safetensors.torch import save_file

from solo_ldm.data.config import DataConfig
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation import find_protocol
from solo_ldm.files import write_atomically, write_json
from solo_ldm.host.checkpoints import AtomicCheckpointIO, KeepLastAndBest
from solo_ldm.host.guards import EpochSeed, StopAtNonFinite, WatchHealth
from solo_ldm.host.hardware import Hardware, resolve_hardware
from solo_ldm.host.logger import MetricsCSV
from solo_ldm.host.progress import ShowProgress, TrainingClock
from solo_ldm.host.results import Trained, assess, print_summary, write_picture
from solo_ldm.host.run import RunFolder, check_fits, choose_run, load_checkpoint, save_args
from solo_ldm.host.schema import complete
from solo_ldm.methods import METHODS, LDMBody
from solo_ldm.optim import check_optimizer
from solo_ldm.settings import suggestion


@dataclass(frozen=True)
class Outcome:
    """What a run left behind.

    Args:
        folder: where its files are.
        results: the content of results.json.
    """

    folder: RunFolder
    results: dict[str, Any]


def pretrain(cfg: DictConfig, console: Console | None = None) -> Outcome | None:
    """Train, evaluate and document one method.

    Everything that can be wrong with the configuration, the data or a checkpoint is found before
    the first file is written.

    Args:
        cfg: what Hydra composed; completed and checked here.
        console: where to print; standard output by default.

    Returns:
        The outcome, or None in the helper processes of distributed training.

    Raises:
        ValueError: in one line: a key, a value, the data or a checkpoint that does not fit, or a
            loss that is not finite.
        FileNotFoundError: in one line: data or a checkpoint that is not there.
    """
    # Lightning starts the other processes of a distributed run as this command again.
    console = console or Console(quiet=_is_helper_process())
    cfg = complete(cfg)
    if cfg.method not in METHODS:
        known = ", ".join(METHODS)
        hint = suggestion(cfg.method, list(METHODS))
        raise ValueError(f"method must be one of {known}; got {cfg.method!r}{hint}")
    hardware = resolve_hardware(cfg)
    pl.seed_everything(cfg.seed, verbose=False)
    data = ImageDataModule(
        DataConfig(**cfg.data), cfg.augmentations, cfg.optimizer.batch_size, cfg.seed
    )
    data.check_batches(hardware.num_processes)
    check_optimizer(cfg.optimizer.name, dict(cfg.optimizer.kwargs))
    for protocol in cfg.evaluation.protocols:
        find_protocol(protocol)
    method = METHODS[cfg.method](for_method(cfg, data, hardware))
    folder = choose_run(cfg)
    resume = _checkpoint_to_resume(cfg, folder, method)
    untrained = {key: value.clone() for key, value in method.backbone.state_dict().items()}

    logger, clock = MetricsCSV(folder.metrics), TrainingClock()
    if resume is not None:
        logger.keep_before(resume.epoch)
        data.first_epoch = resume.epoch
    _announce(console, cfg, data, hardware, folder, resume)
    with _without_lightnings_advice():
        trainer = _build_trainer(cfg, data, hardware, folder, logger, clock, console)
        if trainer.is_global_zero:
            save_args(folder, cfg)
        trainer.fit(method, datamodule=data, ckpt_path=resume.path if resume else None)
    if trainer.interrupted or not trainer.is_global_zero:
        return None

    weights = {key: value.contiguous().cpu() for key, value in method.backbone.state_dict().items()}
    built_by = {"name": cfg.backbone.name, "image_size": data.image_size, **cfg.backbone.kwargs}
    normalisation = {"mean": list(data.mean), "std": list(data.std)}
    metadata = {"backbone": json.dumps(built_by), "normalisation": json.dumps(normalisation)}
    write_atomically(folder.backbone, lambda path: save_file(weights, path, metadata))
    run = Trained(cfg, method, untrained, data, hardware, folder, logger, clock)
    results, pictured = assess(run, console)
    if cfg.evaluation.report:
        write_picture(run, results, pictured)
    write_json(folder.results, results)
    print_summary(run, results, console)
    return Outcome(folder, results)


def for_method(cfg: DictConfig, data: ImageDataModule, hardware: Hardware) -> DictConfig:
    """Return the configuration as methods read it: with what the data tells, and scaled rates.

    As in solo-learn, learning rates are given for 256 samples per step and scaled linearly.
    """
    cfg = OmegaConf.create(OmegaConf.to_container(cfg))  # pyright: ignore[reportAssignmentType]
    cfg.data.num_classes = data.num_classes
    cfg.data.image_size = data.image_size
    cfg.data.num_large_crops = data.num_large_crops
    cfg.data.num_small_crops = data.num_small_crops
    scale = cfg.optimizer.batch_size * hardware.num_processes / 256
    cfg.optimizer.lr *= scale
    cfg.optimizer.classifier_lr *= scale
    return cfg


@dataclass(frozen=True)
class _Resume:
    path: str
    epoch: int


def _is_helper_process() -> bool:
    return getattr(rank_zero_only, "rank", 0) != 0


def _checkpoint_to_resume(cfg: DictConfig, folder: RunFolder, method: LDMBody) -> _Resume | None:
    path = cfg.resume_from_checkpoint
    if path is None:
        if not (cfg.auto_resume.enabled and folder.last.exists()):
            return None
        path = str(folder.last)
    checkpoint = load_checkpoint(path)
    check_fits(method, checkpoint, path)
    epoch = int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    if epoch > cfg.max_epochs:
        raise ValueError(
            f"{path} was trained for {epoch} epochs already, max_epochs is {cfg.max_epochs}: "
            f"raise max_epochs above {epoch}"
        )
    return _Resume(path, epoch)


def _build_trainer(
    cfg: DictConfig,
    data: ImageDataModule,
    hardware: Hardware,
    folder: RunFolder,
    logger: MetricsCSV,
    clock: TrainingClock,
    console: Console,
) -> pl.Trainer:
    callbacks: list[Callback] = [EpochSeed(cfg.seed), StopAtNonFinite(), clock]
    if cfg.health.enabled:
        callbacks.append(WatchHealth(cfg.health.num_samples))
    callbacks.append(ShowProgress(console, clock))
    if cfg.checkpoint.enabled:
        labelled = data.num_val_images > 0
        monitor, mode = ("val_acc1", "max") if labelled else ("train_ldm_loss", "min")
        callbacks.append(KeepLastAndBest(folder, cfg.checkpoint.frequency, monitor, mode))
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
            "callbacks": callbacks,
            "plugins": [AtomicCheckpointIO()],
            "enable_checkpointing": cfg.checkpoint.enabled,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "limit_val_batches": 1.0 if data.num_val_images else 0,
            # The data module's sampler shards by itself.
            "use_distributed_sampler": False,
            "default_root_dir": folder.path,
            **cfg.trainer,
        }
    )


def _extra_loggers(cfg: DictConfig, folder: RunFolder) -> list[Any]:
    loggers: list[Any] = []
    if cfg.wandb.enabled:
        from lightning.pytorch.loggers import WandbLogger

        # The run id makes a resumed run continue the same W&B run.
        wandb = {"project": cfg.wandb.project, "entity": cfg.wandb.entity}
        loggers.append(
            WandbLogger(
                name=folder.path.name,
                id=folder.path.name,
                save_dir=folder.path,
                resume="allow",
                offline=cfg.wandb.offline,
                **wandb,
            )
        )
    if cfg.tensorboard.enabled:
        from lightning.pytorch.loggers import TensorBoardLogger

        loggers.append(TensorBoardLogger(folder.path, name="tensorboard", version=""))
    return loggers


@contextmanager
def _without_lightnings_advice() -> Iterator[None]:
    """Silence lightning's start-up notes and advice on workers; errors and our warnings remain."""
    notes = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [note.level for note in notes]
    for note in notes:
        note.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            # lightning 2.6 asks torch 2.15 for a tree type that torch is about to rename.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        for note, level in zip(notes, before, strict=True):
            note.setLevel(level)


def _announce(
    console: Console,
    cfg: DictConfig,
    data: ImageDataModule,
    hardware: Hardware,
    folder: RunFolder,
    resume: _Resume | None,
) -> None:
    settings = METHODS[cfg.method].settings(cfg)
    for notice in hardware.notices:
        console.print(f"[yellow]{notice}[/]")
    classes = f"{data.num_classes} classes" if data.num_classes else "no labels"
    console.print(
        f"[bold]{cfg.method}[/]: {settings.entropy} entropy, {settings.over}, on the "
        f"{settings.support}; {cfg.backbone.name} on {cfg.data.dataset} "
        f"({data.num_train_images} images, {classes}), {cfg.max_epochs} epochs on "
        f"{hardware.accelerator}",
        soft_wrap=True,
    )
    if resume is not None:
        console.print(f"continuing {resume.path} after epoch {resume.epoch}", soft_wrap=True)
    else:
        console.print(f"writing to {folder.path}", soft_wrap=True)
