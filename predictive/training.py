"""From a completed configuration to data, a method and a trained run: below every command."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor

from predictive.configuration import plain
from predictive.data.module import SequenceModule
from predictive.data.recordings.recording import recording_files
from predictive.data.registry import DATASETS
from predictive.data.sequences import InputKind, TimeSeriesData
from predictive.data.video.clips import clip_files
from predictive.evaluation import check_targets
from predictive.gradients import CompareEntropyGradients
from predictive.method import PredictiveMethod
from predictive.objective import PredictiveObjective
from solo_ldm.run.callbacks.progress import TrainingClock
from solo_ldm.run.data_identity import DataIdentity, identity_of_files
from solo_ldm.run.fit import fit
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import Hardware
from solo_ldm.run.metrics import MetricsCSV
from solo_ldm.weights.published import resolve_checkpoint


@dataclass(frozen=True, eq=False)
class PredictiveRun:
    """A run after training.

    Args:
        cfg: the completed configuration.
        method: the trained method.
        untrained: its state before training.
        data: its data.
        hardware: what it was trained on.
        folder: its folder.
        metrics: of each epoch.
        clock: its training time.
        cosines: of the entropies' gradients, if they were compared.
        origins: what the run was continued from; see `solo_ldm.run.resume.Continuation`.
    """

    cfg: DictConfig
    method: PredictiveMethod
    untrained: dict[str, Tensor]
    data: TimeSeriesData
    hardware: Hardware
    folder: RunFolder
    metrics: MetricsCSV
    clock: TrainingClock
    cosines: CompareEntropyGradients | None
    origins: list[dict[str, Any]]


@dataclass(frozen=True)
class Trained:
    """What a run keeps of the recording that it was trained on.

    Args:
        features: names of the cells or signals that the encoder takes, in their order.
        kind: of the inputs.
        step_seconds: duration of a bin.
    """

    features: tuple[str, ...]
    kind: InputKind
    step_seconds: float

    @classmethod
    def of(cls, data: TimeSeriesData) -> Trained:
        """Return it for a data set."""
        return cls(data.features, data.kind, data.train.step_seconds)


def build_data(cfg: DictConfig) -> TimeSeriesData:
    """Make or read the data set that a completed configuration names.

    Raises:
        ValueError: in one line: data that cannot be used, or without what is to be evaluated.
        FileNotFoundError: in one line: a recording that is not there.
    """
    settings = plain(cfg.data)
    build = DATASETS[settings.pop("dataset")]
    for key in ("window", "stride"):
        settings.pop(key)
    data = build(seed=cfg.seed, **settings)
    check_targets(cfg, data)
    return data


def data_identity(cfg: DictConfig) -> DataIdentity | None:
    """Return the identity of the files that a configuration names; None for a simulation."""
    settings = plain(cfg.data)
    if settings.get("path") is None:
        return None
    named = {key: settings.get(key) for key in ("path", "targets_path")}
    return identity_of_files(
        data_files(cfg), {key: path for key, path in named.items() if path is not None}
    )


def data_files(cfg: DictConfig) -> list[Path]:
    """Return every file that the data of a configuration are read from.

    Raises:
        FileNotFoundError: in one line: nothing at a path.
        ValueError: in one line: nothing that can be read there.
    """
    settings = plain(cfg.data)
    if settings["dataset"] == "frames":
        return clip_files(settings["path"], settings["targets_path"])
    return recording_files(settings["path"])


def build_windows(cfg: DictConfig, data: TimeSeriesData, hardware: Hardware) -> SequenceModule:
    """Return the windows to train on.

    Raises:
        ValueError: in one line: too few or too short ones for the batch or for the entropy.
    """
    settings = (cfg.data.window, cfg.data.stride, cfg.optimizer.batch_size, cfg.seed)
    module = SequenceModule(data, *settings)
    module.check_batches(hardware.num_processes)
    _check_samples(PredictiveObjective(**plain(cfg.objective)), module, hardware.num_processes)
    return module


def build_method(cfg: DictConfig, data: TimeSeriesData, hardware: Hardware) -> PredictiveMethod:
    """Build the method of a completed configuration, its encoder scaled to the training bins."""
    target_dims = {name: values.shape[2] for name, values in data.train.targets.items()}
    cfg = with_frames(for_method(cfg, hardware), data)
    method = PredictiveMethod(cfg, data.train.inputs.shape[2], target_dims)
    method.encoder.fit_scale(data.train.inputs, data.train.mask)
    return method


def with_frames(cfg: DictConfig, data: TimeSeriesData) -> DictConfig:
    """Return a configuration whose backbone, if it has one, knows the shape of the data's frames.

    Raises:
        ValueError: in one line: data that are no frames, or of another shape.
    """
    if cfg.encoder.backbone is None:
        return cfg
    given, own = cfg.encoder.frame_shape, data.frame_shape
    if own is None and given is None:
        raise ValueError(
            f"encoder.backbone: expected null for data.dataset={cfg.data.dataset}, which has no "
            f"frames, got {cfg.encoder.backbone}"
        )
    if own is not None and given is not None and list(given) != list(own):
        raise ValueError(f"encoder.frame_shape: expected null or {list(own)}, got {given}")
    cfg.encoder.frame_shape = list(given or own or ())
    return cfg


def for_method(cfg: DictConfig, hardware: Hardware) -> DictConfig:
    """Return the configuration as the method reads it, with scaled rates.

    As in solo-learn, learning rates are given for 256 samples per step and scaled linearly; a
    sample is a window here.
    """
    cfg = OmegaConf.create(OmegaConf.to_container(cfg))  # pyright: ignore[reportAssignmentType]
    scale = cfg.optimizer.batch_size * hardware.num_processes * cfg.accumulate_grad_batches / 256
    cfg.optimizer.lr *= scale
    cfg.optimizer.rate_scale = scale
    return cfg


def train(
    cfg: DictConfig,
    data: TimeSeriesData,
    hardware: Hardware,
    folder: RunFolder,
    console: Console,
    init: Mapping[str, Tensor] | None = None,
    says_where: bool = True,
) -> PredictiveRun | None:
    """Train a method, continuing where an earlier part of the run ended.

    Args:
        cfg: the completed configuration.
        data: to train on; without held-out sequences nothing is validated.
        hardware: to train with.
        folder: of the run.
        console: where to print.
        init: weights to begin with in place of random ones; keys that the method has.
        says_where: whether to say what is trained and where the run is written.

    Returns:
        The run; None in helper processes and when training was interrupted.

    Raises:
        ValueError: in one line: settings that do not fit the data or each other, a checkpoint of
            another architecture, a loss that is not finite.
    """
    pl.seed_everything(cfg.seed, verbose=False)
    module = build_windows(cfg, data, hardware)
    method = build_method(cfg, data, hardware)
    untrained = copy.deepcopy(method.state_dict())
    _begin_with(method, init or {})
    if folder.trained_on is not None:
        about = asdict(Trained.of(data))
        folder = replace(folder, trained_on=replace(folder.trained_on, about=about))
    every = cfg.evaluation.compare_gradients_every
    cosines = CompareEntropyGradients(every, folder.gradients) if every else None
    windows = module.windows
    headline = (
        f"{cfg.method}: {cfg.objective.entropy} entropy; {data.description}; "
        f"{len(windows)} windows of up to {windows.inputs.shape[1]} bins, {cfg.max_epochs} epochs "
        f"on {hardware.accelerator}"
    )
    fitted = fit(
        method,
        module,
        cfg,
        hardware,
        folder,
        console,
        loss="train_ldm_loss",
        headline=headline if says_where else None,
        validates=len(data.held_out) > 0,
        resume_from=resolve_checkpoint(cfg.resume_from_checkpoint),
        callbacks=[] if cosines is None else [cosines],
        unit="windows",
    )
    if fitted is None:
        return None
    return PredictiveRun(
        cfg,
        method,
        untrained,
        data,
        hardware,
        folder,
        fitted.metrics,
        fitted.clock,
        cosines,
        fitted.origins,
    )


def _begin_with(method: PredictiveMethod, init: Mapping[str, Tensor]) -> None:
    """Load weights that a method has; a ValueError in one line for others."""
    own = {key: tuple(value.shape) for key, value in method.state_dict().items()}
    for key, value in init.items():
        if own.get(key) != tuple(value.shape):
            raise ValueError(
                "init: expected weights of this architecture, "
                f"{key} of {own.get(key, 'no shape')}, got {tuple(value.shape)}; "
                "give the same sizes, or leave them out"
            )
    method.load_state_dict(init, strict=False)


def _check_samples(
    objective: PredictiveObjective, module: SequenceModule, num_processes: int
) -> None:
    """Raise a one-line ValueError if a step holds too few latents for the entropy."""
    bins = (module.windows.lengths - objective.first_step).clamp_min(0)
    if not bool(bins.any()):
        raise ValueError(
            "objective.first_step: expected less than the windows' "
            f"{int(module.windows.lengths.max())} bins, got {objective.first_step}"
        )
    count = int(bins.double().mean() * module.batch_size * num_processes)
    if count < objective.fewest_samples:
        raise ValueError(
            f"optimizer.batch_size: expected at least {objective.fewest_samples} latents a step "
            f"for objective.entropy={objective.entropy}, got {count}; raise it or data.window"
        )
