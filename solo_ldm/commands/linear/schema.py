"""The schema of a linear evaluation: solo-learn's keys, the protocols, and what follows from them.

Nothing here imports torch: a misspelt key is refused before the slow imports.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Optional

from omegaconf import MISSING, DictConfig, OmegaConf

from solo_ldm.commands.knn.schema import choose_data
from solo_ldm.data.config import DataConfig, unknown_name
from solo_ldm.run.configuration import (
    AutoResumeConfig,
    BackboneConfig,
    CheckpointConfig,
    PerformanceConfig,
    SchedulerConfig,
    TensorboardConfig,
    WandbConfig,
    assert_choice,
    merge,
)

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

PROTOCOLS = {
    "linear-offline": "a classifier trained on frozen features of augmented images",
    "linear-features": "logistic regression on standardised features of unaugmented images",
    "linear-online": "the classifier that was trained beside the backbone",
    "finetune": "backbone and classifier trained together",
}
TRAINED = ("linear-offline", "finetune")

# Learning rates for 256 samples a step, where the configuration gives none.
_RATES = {"linear-offline": 0.2, "finetune": 0.03}

# The packaged view of each data set's training images; others have that of photographs.
_VIEWS = {
    "digits": "digits",
    "mnist": "mnist",
    "fashion_mnist": "mnist",
    "svhn": "svhn",
    "cifar10": "cifar",
    "cifar100": "cifar",
    "stl10": "stl10",
    "tiny_imagenet": "tiny_imagenet",
}


@dataclass
class PretrainedBackboneConfig(BackboneConfig):
    """backbone.*; only for weights that do not say what they are of."""

    name: Optional[str] = None  # pyright: ignore[reportIncompatibleVariableOverride]


@dataclass
class PreprocessingConfig:
    """data.augmentations.*, in solo-learn's names."""

    crop_size: Optional[int] = None
    mean: Optional[list[float]] = None
    std: Optional[list[float]] = None


@dataclass
class LinearDataConfig(DataConfig):
    """data.*: where the images are, and their preprocessing where it is not the backbone's."""

    augmentations: PreprocessingConfig = field(default_factory=PreprocessingConfig)


@dataclass
class LinearOptimizerConfig:
    """optimizer.*, in solo-learn's names; lr is a number or a list."""

    name: str = MISSING
    batch_size: Optional[int] = None
    lr: Any = MISSING
    backbone_lr_scale: float = MISSING
    weight_decay: float = MISSING
    layer_decay: float = MISSING
    exclude_bias_n_norm_wd: bool = MISSING
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class LinearConfig:
    """A whole configuration. The defaults are in configs/linear.yaml.

    pretrain_method is for the record, dali and the keys of checkpoint and auto_resume that the
    schema of pretraining names have no effect: solo-learn's files set them.
    """

    name: str = MISSING
    protocol: Optional[str] = None
    pretrained_feature_extractor: Optional[str] = None
    pretrain_method: Optional[str] = None
    seed: int = MISSING
    seeds: Optional[list[int]] = None
    backbone: PretrainedBackboneConfig = field(default_factory=PretrainedBackboneConfig)
    data: LinearDataConfig = field(default_factory=LinearDataConfig)
    augmentations: Any = None
    optimizer: LinearOptimizerConfig = field(default_factory=LinearOptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    normalise_features: Optional[bool] = None
    finetune: bool = MISSING
    label_smoothing: float = MISSING
    mixup: float = MISSING
    cutmix: float = MISSING
    auto_augment: bool = MISSING
    max_epochs: int = MISSING
    accelerator: str = MISSING
    devices: Any = MISSING
    num_nodes: int = MISSING
    strategy: str = MISSING
    precision: Any = MISSING
    sync_batchnorm: bool = MISSING
    accumulate_grad_batches: int = MISSING
    trainer: dict[str, Any] = field(default_factory=dict)
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)
    dali: dict[str, Any] = field(default_factory=dict)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    auto_resume: AutoResumeConfig = field(default_factory=AutoResumeConfig)
    resume_from_checkpoint: Optional[str] = None
    wandb: WandbConfig = field(default_factory=WandbConfig)
    tensorboard: TensorboardConfig = field(default_factory=TensorboardConfig)


def complete_linear(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in what it leaves open.

    Args:
        cfg: what Hydra composed; keys may be missing where linear.yaml has a default.

    Returns:
        The whole configuration: interpolations resolved, `protocol` one of `PROTOCOLS`,
        `optimizer.lr` a list, `augmentations` a list of one view.

    Raises:
        ValueError: one line naming the key that is unknown, missing, of the wrong type, or that
            contradicts another.
    """
    given: Any = OmegaConf.to_container(cfg)
    cfg = OmegaConf.create({"protocol": None, "finetune": False, "data": {}, **given})
    source = OmegaConf.select(cfg, "pretrained_feature_extractor")
    if source in (None, "", "None"):
        raise ValueError(
            "pretrained_feature_extractor: expected a run's folder, a checkpoint, a safetensors "
            "file or a timm model, got nothing; add pretrained_feature_extractor=PATH"
        )
    cfg.protocol = _protocol(cfg)
    cfg.finetune = cfg.protocol == "finetune"
    _complete_data(cfg, Path(str(source)).expanduser())
    _fill_rates(cfg)
    merged = merge(cfg, LinearConfig, "linear.yaml")
    _check_values(merged)
    if not merged.augmentations:
        merged.augmentations = _packaged_view(merged.data.dataset)
    if merged.scheduler.lr_decay_steps is None:
        merged.scheduler.lr_decay_steps = [round(share * merged.max_epochs) for share in (0.6, 0.8)]
    plain = OmegaConf.create(OmegaConf.to_container(merged))
    return plain  # pyright: ignore[reportReturnType]


def _protocol(cfg: DictConfig) -> str:
    wanted, finetune = cfg.protocol, cfg.finetune
    if not isinstance(finetune, bool):
        raise ValueError(f"finetune: expected true or false, got {finetune!r}")
    protocol = wanted or ("finetune" if finetune else "linear-offline")
    if protocol not in PROTOCOLS:
        raise ValueError(unknown_name("protocol", protocol, PROTOCOLS))
    if finetune and protocol != "finetune":
        raise ValueError(
            f"finetune=true contradicts protocol={protocol}: leave one of them out "
            "(protocol=finetune trains the backbone, the other protocols do not)"
        )
    return protocol


def _complete_data(cfg: DictConfig, source: Path) -> None:
    """Fill in what the run of the weights was trained on, where nothing else is said."""
    given: Any = OmegaConf.to_container(cfg.data) if cfg.data else {}
    views = given.pop("augmentations", None) or {}
    folders = [source, source.parent, source.parent.parent]
    args = next((one / "args.json" for one in folders if (one / "args.json").is_file()), None)
    is_path = ":" not in str(source)
    if not given.get("dataset") and args is None and is_path and not source.exists():
        raise FileNotFoundError(
            f"no file or folder at {source}: set pretrained_feature_extractor to a run's folder, a "
            "checkpoint, a safetensors file or timm:NAME"
        )
    chosen = choose_data(given, _data_of(args) if args is not None else _data_of_zoo(source))
    cfg.data = {**asdict(chosen), "augmentations": views}


def _data_of(args: Path) -> dict[str, Any] | None:
    try:
        section = json.loads(args.read_text()).get("data")
    except (ValueError, AttributeError):
        return None
    return section if isinstance(section, dict) else None


def _data_of_zoo(source: Path) -> dict[str, Any] | None:
    if not str(source).startswith("zoo:"):
        return None
    from solo_ldm import zoo  # which imports torch

    return zoo.configuration(str(source))["data"]


def _fill_rates(cfg: DictConfig) -> None:
    """Make optimizer.lr a list, and decide whether features are normalised."""
    lr: Any = OmegaConf.select(cfg, "optimizer.lr")
    # A single rate that somebody chose is solo-learn's protocol: a linear layer and nothing else.
    ours = lr is None or OmegaConf.is_list(lr)
    if OmegaConf.select(cfg, "normalise_features") is None:
        cfg.normalise_features = ours and cfg.protocol == "linear-offline"
    if lr is None:
        lr = _RATES.get(cfg.protocol, _RATES["linear-offline"])
    numbers = [_number(rate) for rate in (lr if OmegaConf.is_list(lr) else [lr])]
    if not numbers or None in numbers or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"optimizer.lr: expected a positive number, or a list of different ones, got {lr}"
        )
    OmegaConf.update(cfg, "optimizer.lr", numbers)


def _number(value: Any) -> float | None:
    # YAML reads 1e-3 as text.
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None


def _check_values(cfg: DictConfig) -> None:
    assert_choice(cfg, "scheduler.name", ("step", "warmup_cosine", "none"))
    assert_choice(cfg, "scheduler.interval", ("step", "epoch"))
    for key in ("max_epochs", "optimizer.batch_size", "accumulate_grad_batches"):
        value = OmegaConf.select(cfg, key)
        if value is not None and value < 1:
            raise ValueError(f"{key} must be at least 1, got {value}")
    if cfg.data.no_labels:
        raise ValueError("data.no_labels=true: a classifier needs labels; set it to false")
    if cfg.auto_augment:
        raise ValueError("auto_augment=true is not supported: set it to false")
    if not 0 <= cfg.label_smoothing < 1:
        raise ValueError(f"label_smoothing: expected a share in [0, 1), got {cfg.label_smoothing}")
    if cfg.protocol != "finetune":
        for key, off in (
            ("mixup", 0),
            ("cutmix", 0),
            ("optimizer.layer_decay", 0),
            ("optimizer.backbone_lr_scale", 1),
        ):
            if OmegaConf.select(cfg, key) != off:
                raise ValueError(
                    f"{key}={OmegaConf.select(cfg, key)} is for protocol=finetune, got "
                    f"protocol={cfg.protocol}; set it to {off} or finetune=true"
                )
    elif len(cfg.optimizer.lr) > 1:
        raise ValueError(
            f"optimizer.lr={list(cfg.optimizer.lr)}: protocol=finetune trains one backbone and "
            "takes one rate; give a number"
        )
    _check_seeds(cfg)


def _check_seeds(cfg: DictConfig) -> None:
    if cfg.seeds is None:
        return
    if not cfg.seeds or len(set(cfg.seeds)) < len(cfg.seeds):
        raise ValueError(f"seeds: expected different whole numbers, got {list(cfg.seeds)}")
    if cfg.protocol not in TRAINED:
        raise ValueError(
            f"seeds={list(cfg.seeds)}: nothing is drawn at random by protocol={cfg.protocol}; "
            "leave seeds out"
        )
    if cfg.resume_from_checkpoint is not None:
        raise ValueError(
            "seeds and resume_from_checkpoint contradict each other: leave one of them out (the "
            "same command continues an interrupted run by itself)"
        )


def _packaged_view(dataset: str) -> Any:
    name = f"linear_augmentations/{_VIEWS.get(dataset, 'imagenet')}.yaml"
    return OmegaConf.create((files("solo_ldm.configs") / name).read_text())
