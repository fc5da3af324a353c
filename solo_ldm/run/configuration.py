"""The schema of a run's configuration: which keys there are, and of what type."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Optional

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from solo_ldm.data.config import DataConfig

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


@dataclass
class BackboneConfig:
    """backbone.*."""

    name: str = MISSING
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class OptimizerConfig:
    """optimizer.*, in solo-learn's names."""

    name: str = MISSING
    batch_size: int = MISSING
    lr: float = MISSING
    classifier_lr: float = MISSING
    weight_decay: float = MISSING
    exclude_bias_n_norm_wd: bool = MISSING
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class SchedulerConfig:
    """scheduler.*, in solo-learn's names."""

    name: str = MISSING
    warmup_epochs: float = MISSING
    warmup_start_lr: float = MISSING
    min_lr: float = MISSING
    lr_decay_steps: Optional[list[int]] = None
    interval: str = MISSING


@dataclass
class PerformanceConfig:
    """performance.*."""

    disable_channel_last: bool = MISSING
    compile: bool = MISSING


@dataclass
class CheckpointConfig:
    """checkpoint.*; keep_prev is solo-learn's and has no effect here."""

    enabled: bool = MISSING
    dir: str = MISSING
    frequency: int = MISSING
    keep_prev: bool = False


@dataclass
class AutoResumeConfig:
    """auto_resume.*; max_hours is solo-learn's and has no effect here."""

    enabled: bool = MISSING
    max_hours: Optional[float] = None


@dataclass
class WandbConfig:
    """wandb.*."""

    enabled: bool = MISSING
    entity: Optional[str] = None
    project: str = MISSING
    offline: bool = MISSING


@dataclass
class TensorboardConfig:
    """tensorboard.*."""

    enabled: bool = MISSING


@dataclass
class HealthConfig:
    """health.*."""

    enabled: bool = MISSING
    num_samples: int = MISSING


@dataclass
class EvaluationConfig:
    """evaluation.*."""

    protocols: list[str] = MISSING
    report: bool = MISSING


@dataclass
class RunConfig:
    """A whole configuration. The defaults are in configs/host.yaml.

    `momentum` is read by methods of solo-learn and lightly, `published` (a recipe's dotted keys) by
    comparisons; `dali` is solo-learn's and has no effect here.
    """

    name: str = MISSING
    method: str = MISSING
    seed: int = MISSING
    method_kwargs: dict[str, Any] = field(default_factory=dict)
    momentum: dict[str, Any] = field(default_factory=dict)
    published: dict[str, Any] = field(default_factory=dict)
    dali: dict[str, Any] = field(default_factory=dict)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augmentations: list[Any] = MISSING
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
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
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    auto_resume: AutoResumeConfig = field(default_factory=AutoResumeConfig)
    resume_from_checkpoint: Optional[str] = None
    wandb: WandbConfig = field(default_factory=WandbConfig)
    tensorboard: TensorboardConfig = field(default_factory=TensorboardConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


def complete(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in the defaults of host.yaml.

    Args:
        cfg: what Hydra composed; keys may be missing where host.yaml has a default.

    Returns:
        The whole configuration, interpolations resolved.

    Raises:
        ValueError: one line naming the key that is unknown, missing or of the wrong type.
    """
    merged = merge(cfg, RunConfig, "host.yaml")
    assert_choice(merged, "scheduler.name", ("warmup_cosine", "step", "none"))
    assert_choice(merged, "scheduler.interval", ("step", "epoch"))
    for key in ("max_epochs", "optimizer.batch_size", "accumulate_grad_batches"):
        if OmegaConf.select(merged, key) < 1:
            raise ValueError(f"{key} must be at least 1, got {OmegaConf.select(merged, key)}")
    # Methods and the host add what the data tells (num_classes, image_size, …).
    plain = OmegaConf.create(OmegaConf.to_container(merged))
    return plain  # pyright: ignore[reportReturnType]


def merge(
    cfg: DictConfig, schema: type, defaults_file: str, package: str = "solo_ldm.configs"
) -> DictConfig:
    """Lay a configuration over a file of defaults, and both over a schema.

    Args:
        cfg: what Hydra composed.
        schema: a dataclass of the keys and their types.
        defaults_file: a file of the package that sets every key that has a default.
        package: where the file lies.

    Returns:
        The whole configuration, interpolations resolved.

    Raises:
        ValueError: one line naming the key that is unknown, missing or of the wrong type.
    """
    try:
        merged = OmegaConf.merge(
            OmegaConf.structured(schema), defaults(defaults_file, package), cfg
        )
        OmegaConf.resolve(merged)
    except OmegaConfBaseException as error:
        raise ValueError(_one_line(error, schema)) from None
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        raise ValueError(f"missing key {missing[0]}: set it in the YAML or on the command line")
    return merged  # pyright: ignore[reportReturnType]


def defaults(name: str = "host.yaml", package: str = "solo_ldm.configs") -> DictConfig:
    """Return the defaults of a file of a package, without Hydra's own nodes."""
    text = (files(package) / name).read_text()
    cfg = OmegaConf.create(text)
    return OmegaConf.masked_copy(cfg, [k for k in cfg if k not in ("defaults", "hydra")])  # pyright: ignore


def assert_choice(cfg: DictConfig | ListConfig, key: str, choices: tuple[str, ...]) -> None:
    """Raise a one-line ValueError unless the value of a key is one of the choices."""
    value = OmegaConf.select(cfg, key)
    if value not in choices:
        raise ValueError(f"{key} must be one of {', '.join(choices)}; got {value!r}")


def nearest_key(key: str, schema: type = RunConfig) -> str:
    """Return ': did you mean …?' for the schema's key nearest to `key`, or nothing."""
    near = difflib.get_close_matches(key, _all_keys(key, schema), n=1, cutoff=0.6)
    return f": did you mean {near[0]}?" if near else ""


def _all_keys(wanted: str, schema: type) -> list[str]:
    def walk(node: Any, prefix: str) -> list[str]:
        if not isinstance(node, DictConfig):
            return []
        keys = [f"{prefix}{key}" for key in node]
        children = (walk(node._get_node(key), f"{prefix}{key}.") for key in node)
        return keys + [key for child in children for key in child]

    if not wanted.startswith("method_kwargs."):
        return walk(OmegaConf.structured(schema), "")
    # Imported when needed: it imports torch, which takes seconds.
    from solo_ldm.methods.ldm.method_kwargs import known_keys

    return [f"method_kwargs.{key}" for key in known_keys()]


def _one_line(error: OmegaConfBaseException, schema: type) -> str:
    key = error.full_key or ""
    if isinstance(error, (ConfigKeyError, ConfigAttributeError)):
        return f"unknown key {key}{nearest_key(key, schema)}"
    return f"{key}: {str(error).splitlines()[0]}"
