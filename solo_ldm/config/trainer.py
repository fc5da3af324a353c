"""The keys of `trainer`: arguments of Lightning's Trainer that the configuration leaves open."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from solo_ldm.config.arguments import Bounds, Count, NonNegative, Share, check_arguments

_Part = Annotated[float, Bounds(above=0, high=1)]

# Arguments of Lightning's Trainer that keys of the configuration set, and by which the run is
# known and recorded.
_OWNED = {
    "accelerator": "accelerator",
    "accumulate_grad_batches": "accumulate_grad_batches",
    "barebones": "checkpoint.enabled and health.enabled",
    "callbacks": "health.enabled and checkpoint.*",
    "default_root_dir": "checkpoint.dir",
    "devices": "devices",
    "enable_checkpointing": "checkpoint.enabled",
    "fast_dev_run": "max_epochs=1 data.fraction=0.05 for a short try",
    "logger": "wandb.enabled and tensorboard.enabled",
    "max_epochs": "max_epochs",
    "max_steps": "max_epochs",
    "min_epochs": "max_epochs",
    "min_steps": "max_epochs",
    "num_nodes": "num_nodes",
    "overfit_batches": "data.fraction, as max_epochs=1 data.fraction=0.05 for a short try",
    "plugins": "precision and strategy",
    "precision": "precision",
    "strategy": "strategy",
    "sync_batchnorm": "sync_batchnorm",
}


def trainer_arguments(
    *,
    benchmark: bool | None = None,
    check_val_every_n_epoch: Count = 1,
    detect_anomaly: bool = False,
    deterministic: bool | Literal["warn"] | None = None,
    enable_model_summary: bool = False,
    enable_progress_bar: bool = True,
    gradient_clip_algorithm: Literal["norm", "value"] | None = None,
    gradient_clip_val: NonNegative | None = None,
    inference_mode: bool = True,
    limit_train_batches: Count | _Part | None = None,
    limit_val_batches: Annotated[int, Bounds(0)] | Share | None = None,
    log_every_n_steps: Count | None = None,
    max_time: str | None = None,
    num_sanity_val_steps: Annotated[int, Bounds(0)] = 0,
    profiler: Literal["simple", "advanced"] | None = None,
    val_check_interval: _Part | None = None,
) -> None:
    """Take what is open; the annotations are what `check_trainer` checks."""


def check_trainer(key: str, given: Mapping[str, Any]) -> None:
    """Check the keys of `trainer` and their values.

    Args:
        key: of the mapping, for messages.
        given: the mapping.

    Raises:
        ValueError: in one line: a key that is unknown or that another one sets, or a value that
            Lightning would not take.
    """
    for name in given:
        if name in _OWNED:
            raise ValueError(
                f"{key}.{name}: expected no such key, got {given[name]!r}; set {_OWNED[name]}"
            )
    check_arguments(key, given, trainer_arguments)
    seconds_of(given.get("max_time"))


def seconds_of(max_time: str | None) -> float:
    """Return the seconds of trainer.max_time, DD:HH:MM:SS; infinitely many of none."""
    if max_time is None:
        return math.inf
    if not re.fullmatch(r"\d{1,4}:\d{1,2}:\d{1,2}:\d{1,2}", max_time):
        raise ValueError(f"trainer.max_time: expected DD:HH:MM:SS, got {max_time!r}")
    days, hours, minutes, seconds = map(int, max_time.split(":"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
