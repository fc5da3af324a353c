"""The keys that every command that trains has, in solo-learn's names where it has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Optional

from omegaconf import MISSING

from solo_ldm.config.schema import choice, existing, learning_rate, mapping, number, random_seed

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


@dataclass
class BackboneConfig:
    """backbone.*."""

    name: str = MISSING
    kwargs: dict[str, Any] = mapping()


@dataclass
class SchedulerConfig:
    """scheduler.*, in solo-learn's names."""

    name: str = choice("warmup_cosine", "step", "none")
    warmup_epochs: float = number(0)
    warmup_start_lr: float = learning_rate()
    min_lr: float = learning_rate()
    lr_decay_steps: Optional[list[int]] = number(0, default=None)
    interval: str = choice("step", "epoch")


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
    frequency: int = number(1)
    keep_prev: bool = False


@dataclass
class AutoResumeConfig:
    """auto_resume.*; max_hours is solo-learn's and has no effect here."""

    enabled: bool = MISSING
    max_hours: Optional[float] = number(0, default=None)


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
class TrainingConfig:
    """The keys of every command that trains: image methods, classifiers, time series."""

    ALIASES: ClassVar[dict[str, str]] = {"output": "checkpoint.dir"}

    name: str = MISSING
    seed: int = random_seed()
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    max_epochs: int = number(1)
    accelerator: str = MISSING
    devices: Any = MISSING
    num_nodes: int = number(1)
    strategy: str = MISSING
    precision: Any = MISSING
    sync_batchnorm: bool = MISSING
    accumulate_grad_batches: int = number(1)
    trainer: dict[str, Any] = mapping(check="solo_ldm.config.trainer:check_trainer")
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    auto_resume: AutoResumeConfig = field(default_factory=AutoResumeConfig)
    resume_from_checkpoint: Optional[str] = existing("zoo:", "hf-hub:", default=None)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    tensorboard: TensorboardConfig = field(default_factory=TensorboardConfig)
