"""One predictive run from a configuration to trained, evaluated and documented latents."""

from __future__ import annotations

import copy
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from predictive.commands.predictive.gradients import CompareEntropyGradients
from predictive.commands.predictive.picture import write_pictures
from predictive.commands.predictive.report import print_summary
from predictive.commands.predictive.results import PredictiveRun, content_of
from predictive.configuration import plain
from predictive.data.module import SequenceModule
from predictive.data.registry import DATASETS
from predictive.data.sequences import TimeSeriesData
from predictive.evaluation import Assessment, assess, targets_to_decode
from predictive.method import PredictiveMethod
from predictive.objective import PredictiveObjective
from solo_ldm.files import write_json
from solo_ldm.optim.optimizers import check_optimizer
from solo_ldm.run.callbacks.checkpoints import KeepLastAndBest
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from solo_ldm.run.callbacks.progress import ShowProgress, TrainingClock
from solo_ldm.run.callbacks.seed import EpochSeed
from solo_ldm.run.folder import RunFolder, choose_run, save_args
from solo_ldm.run.hardware import Hardware, resolve_hardware
from solo_ldm.run.metrics import MetricsCSV
from solo_ldm.run.record import Outcome
from solo_ldm.run.resume import Resume, checkpoint_to_resume
from solo_ldm.run.trainer import build_trainer, is_helper_process, without_lightnings_advice


def run(cfg: DictConfig, console: Console | None = None) -> Outcome | None:
    """Train, evaluate and document one predictive method.

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
    console = console or Console(quiet=is_helper_process())
    hardware = resolve_hardware(cfg)
    with console.status("data"):
        data = build_data(cfg)
    folder = choose_run(cfg)
    trained = train(cfg, data, hardware, folder, console)
    if trained is None:
        return None
    run, untrained = trained
    results, _ = document(run, untrained, console)
    print_summary(run, results, console)
    return Outcome(folder, results)


def document(
    run: PredictiveRun, untrained: dict[str, Any], console: Console
) -> tuple[dict[str, Any], Assessment]:
    """Measure a trained run, and write results.json and the pictures.

    Args:
        run: after training.
        untrained: the method's state before it.
        console: where to show what is being computed.

    Returns:
        The content of results.json, and what was measured.
    """
    with console.status("evaluating") as status:
        assessment = assess(
            run.cfg,
            run.method,
            untrained,
            run.data,
            run.hardware.device,
            lambda what: status.update(f"evaluating: {what}"),
        )
        results = content_of(run, assessment)
        if run.cfg.evaluation.report:
            status.update("pictures")
            write_pictures(run, assessment)
    write_json(run.folder.results, results)
    return results, assessment


def build_data(cfg: DictConfig) -> TimeSeriesData:
    """Make or read the data set that a completed configuration names."""
    settings = plain(cfg.data)
    build = DATASETS[settings.pop("dataset")]
    for key in ("window", "stride"):
        settings.pop(key)
    data = build(seed=cfg.seed, **settings)
    targets_to_decode(cfg, data)
    if cfg.evaluation.identify is not None and cfg.evaluation.identify not in data.train.targets:
        raise ValueError(
            f"evaluation.identify={cfg.evaluation.identify}: the data has "
            f"{', '.join(data.train.targets) or 'no targets'}"
        )
    if cfg.evaluation.identify is not None and len(data.held_out) < 2:
        raise ValueError(
            "evaluation.identify fits on some held-out sequences and scores on others: at least 2 "
            f"are needed, got {len(data.held_out)}"
        )
    return data


def train(
    cfg: DictConfig,
    data: TimeSeriesData,
    hardware: Hardware,
    folder: RunFolder,
    console: Console,
) -> tuple[PredictiveRun, dict[str, Any]] | None:
    """Train a method, continuing where an earlier part of the run ended.

    Args:
        cfg: the completed configuration.
        data: to train on.
        hardware: to train with.
        folder: of the run.
        console: where to print.

    Returns:
        The run and the method's state before training; None in helper processes and when
        training was interrupted.
    """
    pl.seed_everything(cfg.seed, verbose=False)
    module = SequenceModule(
        data, cfg.data.window, cfg.data.stride, cfg.optimizer.batch_size, cfg.seed
    )
    module.check_batches(hardware.num_processes)
    _check_samples(cfg, module, hardware.num_processes)
    check_optimizer(cfg.optimizer.name, dict(cfg.optimizer.kwargs))
    method = build_method(cfg, data, hardware)
    resume = checkpoint_to_resume(cfg, folder, method, cfg.resume_from_checkpoint)
    untrained = copy.deepcopy(method.state_dict())
    logger, clock = MetricsCSV(folder.metrics), TrainingClock()
    if resume is not None:
        logger.keep_before(resume.epoch)
        module.first_epoch = resume.epoch
    _announce(console, cfg, module, hardware, folder, resume)
    cosines = None
    if cfg.evaluation.compare_gradients_every:
        cosines = CompareEntropyGradients(cfg.evaluation.compare_gradients_every)
    with without_lightnings_advice():
        trainer = build_trainer(
            cfg,
            hardware,
            folder,
            logger,
            _callbacks(cfg, folder, clock, cosines, console),
            validates=True,
        )
        if trainer.is_global_zero:
            save_args(folder, cfg)
        trainer.fit(method, datamodule=module, ckpt_path=resume.path if resume else None)
    if trainer.interrupted or not trainer.is_global_zero:
        return None
    return PredictiveRun(cfg, method, data, hardware, folder, logger, clock, cosines), untrained


def _check_samples(cfg: DictConfig, module: SequenceModule, num_processes: int) -> None:
    """Raise a one-line ValueError if a step holds too few latents for the entropy."""
    objective = PredictiveObjective(**plain(cfg.objective))
    bins = (module.windows.lengths - objective.first_step).clamp_min(0)
    if not bool(bins.any()):
        raise ValueError(
            f"objective.first_step={objective.first_step} leaves nothing of windows of "
            f"{int(module.windows.lengths.max())} bins: lower it"
        )
    held = int(bins.double().mean() * cfg.optimizer.batch_size * num_processes)
    if held < objective.fewest_samples:
        raise ValueError(
            f"objective.entropy={objective.entropy} needs {objective.fewest_samples} latents a "
            f"step, a batch holds {held}: raise optimizer.batch_size or lengthen the windows"
        )


def build_method(cfg: DictConfig, data: TimeSeriesData, hardware: Hardware) -> PredictiveMethod:
    """Build the method of a completed configuration, its encoder scaled to the training bins."""
    target_dims = {name: values.shape[2] for name, values in data.train.targets.items()}
    method = PredictiveMethod(for_method(cfg, hardware), data.train.inputs.shape[2], target_dims)
    if cfg.encoder.get("standardise", True):
        method.encoder.fit_scale(data.train.inputs[data.train.mask])
    return method


def for_method(cfg: DictConfig, hardware: Hardware) -> DictConfig:
    """Return the configuration as the method reads it, with scaled rates.

    As in solo-learn, learning rates are given for 256 samples per step and scaled linearly; a
    sample is a window here.
    """
    cfg = OmegaConf.create(OmegaConf.to_container(cfg))  # pyright: ignore[reportAssignmentType]
    scale = cfg.optimizer.batch_size * hardware.num_processes * cfg.accumulate_grad_batches / 256
    cfg.optimizer.lr *= scale
    cfg.optimizer.rate_scale = scale
    cfg.encoder.pop("standardise", None)
    return cfg


def _callbacks(
    cfg: DictConfig,
    folder: RunFolder,
    clock: TrainingClock,
    cosines: CompareEntropyGradients | None,
    console: Console,
) -> list[Callback]:
    callbacks: list[Callback] = [EpochSeed(cfg.seed), StopAtNonFinite(), clock]
    if cosines is not None:
        callbacks.append(cosines)
    callbacks.append(ShowProgress(console, clock, unit="windows"))
    if cfg.checkpoint.enabled:
        callbacks.append(KeepLastAndBest(folder, cfg.checkpoint.frequency, "train_ldm_loss", "min"))
    return callbacks


def _announce(
    console: Console,
    cfg: DictConfig,
    module: SequenceModule,
    hardware: Hardware,
    folder: RunFolder,
    resume: Resume | None,
) -> None:
    for notice in hardware.notices:
        console.print(f"[yellow]{notice}[/]")
    windows = module.windows
    console.print(
        f"[bold]{cfg.method}[/]: {cfg.objective.entropy} entropy; {module.data.description}; "
        f"{len(windows)} windows of up to {windows.inputs.shape[1]} bins, {cfg.max_epochs} epochs "
        f"on {hardware.accelerator}",
        soft_wrap=True,
    )
    if resume is not None:
        console.print(f"continuing {resume.path} after epoch {resume.epoch}", soft_wrap=True)
    else:
        console.print(f"writing to {folder.path}", soft_wrap=True)
