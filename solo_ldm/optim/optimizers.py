"""Optimisers by solo-learn's names, parameter groups, and learning-rate schedules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from timm.optim.lars import Lars
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "lars": Lars,
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}

# solo-learn's names of LARS's settings, and timm's.
_LARS_NAMES = {"eta": "trust_coeff", "clip_lr": "trust_clip"}
_DEFAULT_KWARGS: dict[str, dict[str, Any]] = {
    "lars": {"momentum": 0.9, "trust_coeff": 1e-3, "always_adapt": True},
    "sgd": {"momentum": 0.9},
}


def check_optimizer(name: str, kwargs: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Translate an optimiser's arguments from solo-learn's names.

    Args:
        name: lars, sgd, adam or adamw.
        kwargs: see `build_optimizer`.

    Returns:
        The arguments in the optimiser's own names, and whether LARS's exclude_bias_n_norm is on.

    Raises:
        ValueError: an unknown optimiser or argument.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer.name must be one of {', '.join(OPTIMIZERS)}; got {name!r}")
    kwargs, excluded = dict(kwargs), False
    if name == "lars":
        excluded = bool(kwargs.pop("exclude_bias_n_norm", False))
        kwargs = {_LARS_NAMES.get(key, key): value for key, value in kwargs.items()}
    accepted = [
        key
        for key in inspect.signature(OPTIMIZERS[name]).parameters
        if key not in ("params", "lr", "weight_decay")
    ]
    unknown = sorted(set(kwargs) - set(accepted))
    if unknown:
        raise ValueError(f"optimizer.kwargs for {name}: unknown {unknown}, accepted {accepted}")
    return kwargs, excluded


def build_optimizer(
    name: str,
    groups: Iterable[dict[str, Any]],
    lr: float,
    weight_decay: float,
    exclude_bias_and_norm: bool,
    kwargs: dict[str, Any],
) -> Optimizer:
    """Build an optimiser over named parameter groups.

    Args:
        name: lars, sgd, adam or adamw.
        groups: dicts with "name", "params" and settings of their own (lr, weight_decay).
        lr: learning rate of the groups without one.
        weight_decay: weight decay of the groups without one.
        exclude_bias_and_norm: give biases and norms neither weight decay nor, under LARS, adapted
            rates. Also set by LARS's own `exclude_bias_n_norm`.
        kwargs: further arguments, in solo-learn's names for LARS (eta, clip_lr,
            exclude_bias_n_norm) or in the optimiser's own.

    Raises:
        ValueError: an unknown optimiser or argument.
    """
    kwargs, excluded = check_optimizer(name, kwargs)
    exclude_bias_and_norm |= excluded
    prepared = [{**group, "params": list(group["params"])} for group in groups]
    if exclude_bias_and_norm:
        prepared = [part for group in prepared for part in _split_bias_and_norm(group)]
    prepared = [group for group in prepared if group["params"]]
    settings = {**_DEFAULT_KWARGS.get(name, {}), **kwargs}
    return OPTIMIZERS[name](prepared, lr=lr, weight_decay=weight_decay, **settings)  # pyright: ignore


def _split_bias_and_norm(group: dict[str, Any]) -> list[dict[str, Any]]:
    vectors = [p for p in group["params"] if p.ndim <= 1]
    matrices = [p for p in group["params"] if p.ndim > 1]
    plain = {"name": f"{group['name']}-bias-norm", "weight_decay": 0.0, "always_adapt": False}
    return [{**group, "params": matrices}, {**group, **plain, "params": vectors}]


def with_schedule(
    optimizer: Optimizer,
    schedule: Any,
    max_epochs: int,
    num_steps: Callable[[], float],
    scale: float = 1.0,
) -> Any:
    """Return what Lightning's configure_optimizers returns: an optimiser with its schedule.

    Args:
        optimizer: whose rates are scheduled.
        schedule: the configuration's `scheduler`.
        max_epochs: of the training.
        num_steps: returns the steps of the whole training; asked only where it matters.
        scale: multiplies warmup_start_lr and min_lr.
    """
    if schedule.name == "none":
        return optimizer
    if schedule.name == "step":
        scheduler = step_decay(optimizer, list(schedule.lr_decay_steps or []))
        return [optimizer], [{"scheduler": scheduler, "interval": "epoch"}]
    per_unit = num_steps() / max_epochs if schedule.interval == "step" else 1.0
    scheduler = warmup_cosine(
        optimizer,
        warmup_steps=schedule.warmup_epochs * per_unit,
        total_steps=max_epochs * per_unit,
        warmup_start_lr=schedule.warmup_start_lr * scale,
        min_lr=schedule.min_lr * scale,
    )
    return [optimizer], [{"scheduler": scheduler, "interval": schedule.interval}]


def optimizer_of_method(method: Any, groups: Iterable[dict[str, Any]]) -> Any:
    """Return what a method's configure_optimizers returns: what its configuration names.

    Args:
        method: a LightningModule with `cfg` and `lr`.
        groups: as in `build_optimizer`.
    """
    cfg = method.cfg
    optimizer = build_optimizer(
        cfg.optimizer.name,
        groups,
        lr=method.lr,
        weight_decay=cfg.optimizer.weight_decay,
        exclude_bias_and_norm=cfg.optimizer.exclude_bias_n_norm_wd,
        kwargs=dict(cfg.optimizer.kwargs),
    )
    return with_schedule(
        optimizer,
        cfg.scheduler,
        cfg.max_epochs,
        # Lightning makes the loaders to count them.
        lambda: float(method.trainer.estimated_stepping_batches),
        scale=cfg.accumulate_grad_batches,
    )


def warmup_cosine(
    optimizer: Optimizer,
    warmup_steps: float,
    total_steps: float,
    warmup_start_lr: float,
    min_lr: float,
) -> LambdaLR:
    """Linear warm-up from `warmup_start_lr`, then a half cosine down to `min_lr`.

    With base rate b, W warm-up and T total steps:
    lr(t) = s + (b − s) t / W for t < W, else m + (b − m) (1 + cos(π (t − W) / (T − W))) / 2.

    Groups marked `static_lr` keep their rate.
    """

    def schedule(base: float) -> Callable[[int], float]:
        def factor(step: int) -> float:
            if step < warmup_steps:
                return (warmup_start_lr + (base - warmup_start_lr) * step / warmup_steps) / base
            progress = min(1.0, (step - warmup_steps) / max(1.0, total_steps - warmup_steps))
            return (min_lr + (base - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))) / base

        return factor

    return _lambda_lr(optimizer, schedule)


def step_decay(optimizer: Optimizer, milestones: list[int], gamma: float = 0.1) -> LambdaLR:
    """Multiply the rate by `gamma` at each of the milestones, except in `static_lr` groups."""

    def schedule(base: float) -> Callable[[int], float]:
        return lambda step: gamma ** sum(step >= milestone for milestone in milestones)

    return _lambda_lr(optimizer, schedule)


def _lambda_lr(
    optimizer: Optimizer, schedule: Callable[[float], Callable[[int], float]]
) -> LambdaLR:
    factors = [
        # A rate of zero is one too: it keeps a part as it is.
        (lambda step: 1.0)
        if group.get("static_lr", False) or group["lr"] == 0.0
        else schedule(group["lr"])
        for group in optimizer.param_groups
    ]
    return LambdaLR(optimizer, factors)
