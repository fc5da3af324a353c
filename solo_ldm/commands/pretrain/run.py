"""One run from a configuration to a trained, evaluated and documented backbone."""

from __future__ import annotations

import copy

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from rich.console import Console

from solo_ldm.commands.pretrain.report import print_report
from solo_ldm.commands.pretrain.results import assess, write_picture
from solo_ldm.commands.shared.texts import unscored
from solo_ldm.evaluation.protocols import TEXTS, check_num_training
from solo_ldm.files import weights_written
from solo_ldm.methods import find_method
from solo_ldm.run.callbacks.gradients import (
    CompareGradients,
    cells_beside,
    first_crops,
    resting_on_ridge,
)
from solo_ldm.run.callbacks.health import WatchHealth
from solo_ldm.run.callbacks.unreadable import NoteUnreadable
from solo_ldm.run.changes import unfinished_elsewhere
from solo_ldm.run.configuration import check_groups, for_method, read_data, settled
from solo_ldm.run.console import plain_console
from solo_ldm.run.data_identity import DataIdentity, identity_of_images
from solo_ldm.run.fit import fit
from solo_ldm.run.folder import RunFolder, choose_run, find_finished
from solo_ldm.run.hardware import resolve_hardware
from solo_ldm.run.memory import memory_of_a_step
from solo_ldm.run.record import Outcome
from solo_ldm.run.trainer import is_helper_process
from solo_ldm.weights.export import write_backbone
from solo_ldm.weights.published import resolve_checkpoint


def run(cfg: DictConfig, console: Console | None = None) -> Outcome | None:
    """Do the work of `solo_ldm.commands.pretrain`, with the completed configuration.

    Everything that can be wrong with the configuration, the data or a checkpoint is found before
    the first file is written.
    """
    # Lightning starts the other processes of a distributed run as this command again.
    console = plain_console(console, is_helper_process())
    kind = find_method(cfg.method)
    description = kind.describe(cfg)
    hardware = resolve_hardware(cfg)
    pl.seed_everything(cfg.seed, verbose=False)
    data = read_data(cfg, hardware)
    data.decoded.console = console
    method = kind(for_method(cfg, data, hardware), **description.built_with)
    method.use_images(data)
    # Last what is too small: what is wrong in itself is wrong with more images, too.
    data.check_batches(hardware.num_processes)
    check_groups(cfg, data, method, hardware)
    if data.num_val_images:
        check_num_training(cfg.evaluation.protocols, data.num_train_images)
    identity = identity_of_images(data)
    folder = choose_run(cfg, data=identity, say=console.print)
    _say_finished(cfg, identity, folder, console)
    cfg = settled(cfg, data)
    for line in (*unfinished_elsewhere(cfg, folder), *unscored(cfg.evaluation.protocols, data)):
        console.print(line, style="yellow", soft_wrap=True)
    untrained = {key: value.clone() for key, value in method.backbone.state_dict().items()}
    # What encodes texts is scored as a whole.
    before = copy.deepcopy(method) if {*cfg.evaluation.protocols} & {*TEXTS} else None
    classes = f"{data.num_classes} classes" if data.num_classes else "no labels"
    source = data.source("train")
    labelled = 0 if source is None else len(source.labelled)
    if data.num_classes and labelled < data.num_train_images:
        classes += f" of {labelled} labelled ones"
    if data.num_val_images:
        classes += f"; scored on {data.num_val_images} {data.scored_on}"
    size = data.decoded.num_bytes
    kept = f", {size / 1e6:.4g} MB of pixels in memory" if size else ""
    if not cfg.performance.compile:  # which it would start
        crops = [view.crop_size for view in data.views for _ in range(view.num_crops)]
        words, warning = memory_of_a_step(method, crops, cfg.optimizer.batch_size, hardware)
        kept += words
        if warning:
            console.print(warning, style="yellow", soft_wrap=True)
    watched: list[Callback] = []
    if cfg.health.enabled:
        about = description.on_sphere, description.settings
        watched.append(WatchHealth(cfg.health.num_samples, *about))
    if every := cfg.evaluation.compare_gradients_every:
        line = resting_on_ridge(cfg.optimizer.batch_size, description.settings["proj_output_dim"])
        if line:
            console.print(line, style="yellow", soft_wrap=True)
        compared = cells_beside(cfg), first_crops(data)
        watched.append(CompareGradients(*compared, every, folder.gradients))
    fitted = fit(
        method,
        data,
        cfg,
        hardware,
        folder,
        console,
        loss=description.terms[0],
        monitor="val_acc1" if data.num_val_images else None,
        headline=f"{cfg.method}: {description.headline}; {cfg.backbone.name} on "
        f"{cfg.data.dataset} ({data.num_train_images} images, {classes}), {cfg.max_epochs} epochs "
        f"on {hardware.accelerator}, data by {data.backend}{kept}",
        resume_from=resolve_checkpoint(cfg.resume_from_checkpoint),
        validates=data.num_val_images > 0,
        callbacks=[NoteUnreadable(data, console), *watched],
    )
    if fitted is None:
        return None

    built_by = {"name": cfg.backbone.name, "image_size": data.image_size, **cfg.backbone.kwargs}
    about = {"method": cfg.method, "epoch": cfg.max_epochs}
    normalisation = (data.mean, data.std, about, None, data.pixel_range)
    write_backbone(folder.backbone, method.backbone, built_by, *normalisation)
    results, features = assess(fitted, description, untrained, console, before)
    if cfg.evaluation.report:
        write_picture(fitted, description.terms[0], results, features)
    results |= weights_written(folder.path)
    folder.write_results(results)
    print_report(fitted, results, console)
    return Outcome(folder, results)


def _say_finished(cfg: DictConfig, data: DataIdentity, folder: RunFolder, console: Console) -> None:
    """Say where a finished run of the same configuration is, if another one starts."""
    source = cfg.resume_from_checkpoint
    found = find_finished(cfg, lambda one: one.comes_from(source), data)
    if found is None or folder.args.exists():
        return
    console.print(
        f"{found.path} is a finished run of the same configuration, this one goes to "
        f'{folder.path.name}; solo_ldm.load("{found.path}") gives the finished one in Python',
        style="yellow",
        soft_wrap=True,
    )
