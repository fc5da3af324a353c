"""One run from a configuration to a trained, evaluated and documented backbone."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from rich.console import Console

from solo_ldm.commands.pretrain.report import print_summary
from solo_ldm.commands.pretrain.results import Trained, assess, write_picture
from solo_ldm.data.config import DataConfig
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.protocols import find_protocol
from solo_ldm.files import write_json
from solo_ldm.methods import Description, find_method
from solo_ldm.optim.optimizers import check_optimizer
from solo_ldm.run.callbacks.checkpoints import KeepLastAndBest
from solo_ldm.run.callbacks.guards import EpochSeed, NoteUnreadable, StopAtNonFinite, WatchHealth
from solo_ldm.run.callbacks.progress import ShowProgress, TrainingClock
from solo_ldm.run.configuration import for_method
from solo_ldm.run.folder import RunFolder, choose_run, save_args
from solo_ldm.run.hardware import Hardware, resolve_hardware
from solo_ldm.run.logger import MetricsCSV
from solo_ldm.run.record import Outcome
from solo_ldm.run.trainer import (
    Resume,
    build_trainer,
    checkpoint_to_resume,
    is_helper_process,
    without_lightnings_advice,
)
from solo_ldm.weights.export import write_backbone


def run(cfg: DictConfig, console: Console | None = None) -> Outcome | None:
    """Train, evaluate and document one method.

    Everything that can be wrong with the configuration, the data or a checkpoint is found before
    the first file is written.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.

    Returns:
        The outcome, or None in the helper processes of distributed training.

    Raises:
        ValueError: in one line: a key, a value, the data or a checkpoint that does not fit, or a
            loss that is not finite.
        FileNotFoundError: in one line: data or a checkpoint that is not there.
    """
    # Lightning starts the other processes of a distributed run as this command again.
    console = console or Console(quiet=is_helper_process())
    kind = find_method(cfg.method)
    description = kind.describe(cfg)
    hardware = resolve_hardware(cfg)
    pl.seed_everything(cfg.seed, verbose=False)
    data = ImageDataModule(
        DataConfig(**cfg.data),
        cfg.augmentations,
        cfg.optimizer.batch_size,
        cfg.seed,
        hardware.device,
    )
    data.check_batches(hardware.num_processes)
    check_optimizer(cfg.optimizer.name, dict(cfg.optimizer.kwargs))
    for protocol in cfg.evaluation.protocols:
        find_protocol(protocol)
    method = kind(for_method(cfg, data, hardware))
    folder = choose_run(cfg)
    resume = checkpoint_to_resume(cfg, folder, method)
    untrained = {key: value.clone() for key, value in method.backbone.state_dict().items()}

    logger, clock = MetricsCSV(folder.metrics), TrainingClock()
    if resume is not None:
        logger.keep_before(resume.epoch)
        data.first_epoch = resume.epoch
    _announce(console, cfg, description, data, hardware, folder, resume)
    with without_lightnings_advice():
        trainer = build_trainer(
            cfg,
            hardware,
            folder,
            logger,
            _callbacks(cfg, description, data, folder, clock, console),
            validates=data.num_val_images > 0,
        )
        if trainer.is_global_zero:
            save_args(folder, cfg)
        trainer.fit(method, datamodule=data, ckpt_path=resume.path if resume else None)
    if trainer.interrupted or not trainer.is_global_zero:
        return None

    built_by = {"name": cfg.backbone.name, "image_size": data.image_size, **cfg.backbone.kwargs}
    about = {"method": cfg.method, "epoch": cfg.max_epochs}
    write_backbone(folder.backbone, method.backbone, built_by, data.mean, data.std, about)
    run = Trained(cfg, method, description, untrained, data, hardware, folder, logger, clock)
    results, pictured = assess(run, console)
    if cfg.evaluation.report:
        write_picture(run, results, pictured)
    write_json(folder.results, results)
    print_summary(run, results, console)
    return Outcome(folder, results)


def _callbacks(
    cfg: DictConfig,
    description: Description,
    data: ImageDataModule,
    folder: RunFolder,
    clock: TrainingClock,
    console: Console,
) -> list[Callback]:
    callbacks: list[Callback] = [EpochSeed(cfg.seed), StopAtNonFinite(), clock]
    callbacks.append(NoteUnreadable(data, console))
    if cfg.health.enabled:
        callbacks.append(WatchHealth(cfg.health.num_samples, description.on_sphere))
    callbacks.append(ShowProgress(console, clock, loss=description.terms[0]))
    if cfg.checkpoint.enabled:
        monitor, mode = description.terms[0], "min"
        if data.num_val_images:
            monitor, mode = "val_acc1", "max"
        callbacks.append(KeepLastAndBest(folder, cfg.checkpoint.frequency, monitor, mode))
    return callbacks


def _announce(
    console: Console,
    cfg: DictConfig,
    description: Description,
    data: ImageDataModule,
    hardware: Hardware,
    folder: RunFolder,
    resume: Resume | None,
) -> None:
    for notice in hardware.notices:
        console.print(f"[yellow]{notice}[/]")
    classes = f"{data.num_classes} classes" if data.num_classes else "no labels"
    console.print(
        f"[bold]{cfg.method}[/]: {description.headline}; {cfg.backbone.name} on {cfg.data.dataset} "
        f"({data.num_train_images} images, {classes}), {cfg.max_epochs} epochs on "
        f"{hardware.accelerator}, data by {data.backend}",
        soft_wrap=True,
    )
    if resume is not None:
        console.print(f"continuing {resume.path} after epoch {resume.epoch}", soft_wrap=True)
    else:
        console.print(f"writing to {folder.path}", soft_wrap=True)
