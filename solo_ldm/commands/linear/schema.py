"""The schema of a linear evaluation: solo-learn's keys, the protocols, and what follows from them.

A misspelt key is refused before torch is imported.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional

from omegaconf import MISSING, DictConfig, OmegaConf

from solo_ldm.commands.shared.schema import ORIGINS, UnknownBackboneConfig, check_patches
from solo_ldm.config.arguments import check_value
from solo_ldm.config.schema import (
    check_distinct,
    check_path,
    complete,
    learning_rate,
    mapping,
    number,
    random_seed,
)
from solo_ldm.config.training import PerformanceConfig, TrainingConfig
from solo_ldm.data.choice import choose_data
from solo_ldm.data.config import DataConfig, check_views
from solo_ldm.data.datasets.registry import find_dataset
from solo_ldm.evaluation.protocols import ONLINE, ONLINE_PROTOCOL, PROTOCOLS, TRAINED
from solo_ldm.weights.published import configuration, is_published
from solo_ldm.weights.training_args import args_beside

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

# Keys that only finetune has a use for, and their values for none.
_FINETUNE_ONLY = {
    "mixup": 0,
    "cutmix": 0,
    "optimizer.layer_decay": 0,
    "optimizer.backbone_lr_scale": 1,
}


@dataclass
class PreprocessingConfig:
    """data.augmentations.*, in solo-learn's names."""

    crop_size: Optional[int] = number(1, default=None)
    mean: Optional[list[float]] = number(0, 1, default=None)
    std: Optional[list[float]] = number(1e-6, 1, default=None)


@dataclass
class LinearDataConfig(DataConfig):
    """data.*: where the images are, and their preprocessing where it is not the backbone's."""

    augmentations: PreprocessingConfig = field(default_factory=PreprocessingConfig)


@dataclass
class LinearOptimizerConfig:
    """optimizer.*, in solo-learn's names; lr is given as a number or a list."""

    name: str = MISSING
    batch_size: Optional[int] = number(1, default=None)
    lr: Optional[list[float]] = number(above=0, limit=10_000, default=None)
    backbone_lr_scale: float = learning_rate()
    weight_decay: float = learning_rate()
    layer_decay: float = number(0, 1)
    exclude_bias_n_norm_wd: bool = MISSING
    kwargs: dict[str, Any] = mapping()


@dataclass
class LinearConfig(TrainingConfig):
    """A whole configuration. The defaults are in configs/linear.yaml.

    pretrain_method is for the record; dali, checkpoint.keep_prev and auto_resume.max_hours have no
    effect: solo-learn's files set them.
    """

    protocol: Optional[str] = None
    pretrained_feature_extractor: Optional[str] = None
    pretrain_method: Optional[str] = None
    seeds: Optional[list[int]] = random_seed(None)
    backbone: UnknownBackboneConfig = field(default_factory=UnknownBackboneConfig)
    data: LinearDataConfig = field(default_factory=LinearDataConfig)
    augmentations: Any = None
    optimizer: LinearOptimizerConfig = field(default_factory=LinearOptimizerConfig)
    num_patches: Optional[int] = number(1, default=None)
    patch_share: Optional[float] = number(above=0, high=1, default=None)
    normalise_features: Optional[bool] = None
    finetune: bool = MISSING
    label_smoothing: float = number(0, below=1)
    mixup: float = number(0)
    cutmix: float = number(0)
    auto_augment: bool = MISSING
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)
    dali: dict[str, Any] = mapping()


def protocols() -> dict[str, str]:
    """Return the name and the description of each protocol."""
    of_features = {name: one.description for name, one in PROTOCOLS.items()}
    return {**of_features, ONLINE: ONLINE_PROTOCOL.description, **TRAINED}


def complete_linear(cfg: DictConfig) -> DictConfig:
    """Check a configuration and fill in what it leaves open; see `solo_ldm.config.schema.complete`.

    `protocol` is one of `protocols`, `optimizer.lr` a list, and `augmentations` a list of one view.

    Raises:
        ValueError: one line naming the key that is unknown, missing, of the wrong type, or that
            contradicts another.
        FileNotFoundError: in one line: weights that are not there.
    """
    given: Any = OmegaConf.to_container(cfg)
    cfg = OmegaConf.create({"protocol": None, "finetune": False, "data": {}, **given})
    source = OmegaConf.select(cfg, "pretrained_feature_extractor")
    if source in (None, "", "None"):
        raise ValueError(
            "pretrained_feature_extractor: expected a run's folder, a checkpoint, a safetensors "
            "file or a timm model, got nothing; add pretrained_feature_extractor=PATH"
        )
    check_path("pretrained_feature_extractor", str(source), ORIGINS)
    cfg.protocol = _protocol(cfg)
    cfg.finetune = cfg.protocol == "finetune"
    images: Any = OmegaConf.to_container(cfg.data) if cfg.data else {}
    views = images.pop("augmentations", None) or {}
    cfg.data = {**asdict(choose_data(images, _trained_on(str(source)))), "augmentations": views}
    rates = OmegaConf.select(cfg, "optimizer.lr")
    if rates is None:
        OmegaConf.update(cfg, "optimizer.lr", 0.03 if cfg.finetune else 0.2, force_add=True)
    if OmegaConf.select(cfg, "normalise_features") is None:
        # A single rate in the configuration means solo-learn's protocol: a linear layer alone.
        ours = rates is None or OmegaConf.is_list(rates)
        cfg.normalise_features = ours and cfg.protocol == "linear-offline"
    cfg = complete(cfg, LinearConfig, "linear.yaml")
    _check_values(cfg)
    # Imported here: it imports torch, which takes seconds.
    from solo_ldm.optim.optimizers import check_optimizer

    check_optimizer(cfg.optimizer.name, dict(cfg.optimizer.kwargs))
    if not cfg.augmentations:
        cfg.augmentations = find_dataset(cfg.data.dataset).views.linear
    check_views(cfg.augmentations)
    if cfg.scheduler.lr_decay_steps is None:
        cfg.scheduler.lr_decay_steps = [round(share * cfg.max_epochs) for share in (0.6, 0.8)]
    return cfg


def _protocol(cfg: DictConfig) -> str:
    wanted, finetune = cfg.protocol, cfg.finetune
    check_value("finetune", finetune, bool)
    protocol = ("finetune" if finetune else "linear-offline") if wanted is None else wanted
    check_value("protocol", protocol, Literal[tuple(protocols())])
    if finetune and protocol != "finetune":
        raise ValueError(
            f"finetune=true contradicts protocol={protocol}: leave one of them out "
            "(protocol=finetune trains the backbone, the other protocols do not)"
        )
    return protocol


def _trained_on(source: str) -> dict[str, Any] | None:
    """Return data.* of the run that made the weights, where it is known."""
    args = configuration(source) if is_published(source) else args_beside(Path(source).expanduser())
    data = (args or {}).get("data")
    return data if isinstance(data, dict) else None


def _check_values(cfg: DictConfig) -> None:
    if cfg.data.no_labels:
        raise ValueError("data.no_labels=true: a classifier needs labels; set it to false")
    if cfg.auto_augment:
        raise ValueError("auto_augment=true is not supported: set it to false")
    check_patches(cfg)
    if cfg.num_patches and cfg.protocol in TRAINED:
        raise ValueError(
            f"num_patches: expected null for protocol={cfg.protocol}, which has views of its own, "
            f"got {cfg.num_patches}; set protocol=linear-features"
        )
    check_distinct("optimizer.lr", cfg.optimizer.lr)
    if cfg.protocol == "finetune" and len(cfg.optimizer.lr) > 1:
        raise ValueError(
            f"optimizer.lr={list(cfg.optimizer.lr)}: protocol=finetune trains one backbone and "
            "takes one rate; give a number"
        )
    for key, off in _FINETUNE_ONLY.items() if cfg.protocol != "finetune" else ():
        value = OmegaConf.select(cfg, key)
        if value != off:
            raise ValueError(
                f"{key}={value} is for protocol=finetune, got protocol={cfg.protocol}; set it to "
                f"{off} or finetune=true"
            )
    if cfg.seeds is None:
        return
    check_distinct("seeds", cfg.seeds)
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
