"""Optimisers by solo-learn's names, parameter groups, and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import torch
from timm.optim.lars import Lars
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from solo_ldm.config.arguments import Bounds, NonNegative, check_arguments, check_value

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "lars": Lars,
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}

# Settings of LARS: solo-learn's name and timm's.
_LARS_NAMES = {"eta": "trust_coeff", "clip_lr": "trust_clip"}
# What their values are, in the names of both; the signatures say less.
_Below1 = Annotated[float, Bounds(0, below=1)]
_HINTS: dict[str, Any] = {
    **dict.fromkeys(("momentum", "dampening"), _Below1),
    "betas": tuple[_Below1, _Below1],
    **dict.fromkeys(("eps", "eta", "trust_coeff"), NonNegative),
    **dict.fromkeys(("nesterov", "exclude_bias_n_norm", "clip_lr", "trust_clip"), bool),
    "always_adapt": bool,
}
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
        ValueError: in one line: an unknown optimiser or argument, or a value of another type.
    """
    check_value("optimizer.name", name, Literal[(*OPTIMIZERS,)])
    kwargs, excluded = dict(kwargs), False
    for key, hint in _HINTS.items():
        if key in kwargs:
            check_value(f"optimizer.kwargs.{key}", kwargs[key], hint)
    if name == "lars":
        excluded = kwargs.pop("exclude_bias_n_norm", False)
        kwargs = {_LARS_NAMES.get(key, key): value for key, value in kwargs.items()}
    check_arguments("optimizer.kwargs", kwargs, OPTIMIZERS[name], ("params", "lr", "weight_decay"))
    try:
        settings = {**_DEFAULT_KWARGS.get(name, {}), **kwargs}
        OPTIMIZERS[name]([torch.zeros(1, requires_grad=True)], lr=1.0, **settings)  # pyright: ignore
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"optimizer.kwargs: {name} does not take {kwargs}: {reason}") from None
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
    optimizer = OPTIMIZERS[name](prepared, lr=lr, weight_decay=weight_decay, **settings)  # pyright: ignore
    optimizer.register_load_state_dict_pre_hook(_keep_settings)
    return optimizer


def _keep_settings(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Let rates, weight decay and the like stay as configured when a state is loaded."""
    groups = [
        {**group, "params": saved["params"]}
        for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True)
    ]
    return {**state, "param_groups": groups}


def name_optimizer(group: Mapping[str, Any]) -> str:
    """Return the name of the optimiser that has a group of parameters, told by its settings.

    Args:
        group: one of an optimiser's, or of its state.
    """
    if "trust_coeff" in group:
        return "lars"
    if "betas" in group:
        name = "adamw" if group.get("decoupled_weight_decay") else "adam"
        return f"{name} with amsgrad" if group.get("amsgrad") else name
    return "sgd" if "momentum" in group else "one of another kind"


def _split_bias_and_norm(group: dict[str, Any]) -> list[dict[str, Any]]:
    vectors = [p for p in group["params"] if p.ndim <= 1]
    matrices = [p for p in group["params"] if p.ndim > 1]
    plain = {"name": f"{group['name']}-bias-norm", "weight_decay": 0.0, "always_adapt": False}
    return [{**group, "params": matrices}, {**group, **plain, "params": vectors}]


def configured_optimizer(
    module: Any, groups: Iterable[dict[str, Any]], lr: float, scale: float = 1.0
) -> Any:
    """Return the optimiser and the schedule of a module's configuration, as Lightning takes them.

    Args:
        module: a LightningModule; its `cfg` has optimizer, scheduler and max_epochs.
        groups: as in `build_optimizer`.
        lr: learning rate of the groups without one.
        scale: multiplies scheduler.warmup_start_lr and scheduler.min_lr.
    """
    settings, schedule = module.cfg.optimizer, module.cfg.scheduler
    max_epochs = module.cfg.max_epochs
    optimizer = build_optimizer(
        settings.name,
        groups,
        lr=lr,
        weight_decay=settings.weight_decay,
        exclude_bias_and_norm=settings.get("exclude_bias_n_norm_wd", False),
        kwargs=dict(settings.kwargs),
    )
    if schedule.name == "none":
        return optimizer
    if schedule.name == "step":
        scheduler = step_decay(optimizer, list(schedule.lr_decay_steps or []))
        return [optimizer], [{"scheduler": scheduler, "interval": "epoch"}]
    per_epoch = _steps_per_epoch(module, max_epochs) if schedule.interval == "step" else 1.0
    scheduler = warmup_cosine(
        optimizer,
        warmup_steps=schedule.warmup_epochs * per_epoch,
        total_steps=max_epochs * per_epoch,
        warmup_start_lr=schedule.warmup_start_lr * scale,
        min_lr=schedule.min_lr * scale,
    )
    return [optimizer], [{"scheduler": scheduler, "interval": schedule.interval}]


def _steps_per_epoch(module: Any, max_epochs: int) -> float:
    """Return the steps of an epoch; 1 without a trainer, where a schedule does not move."""
    try:
        trainer = module.trainer
    except RuntimeError:
        return 1.0
    # Lightning builds the loaders to count the steps.
    return float(trainer.estimated_stepping_batches) / max_epochs


class Schedule(LambdaLR):
    """Rates that are a factor of the configured ones, at any place of the training.

    The state that is saved says how far the schedule is. Base rates come from the optimiser.
    """

    def place(self, step: int) -> None:
        """Set the rates as they are after a number of steps (epochs, if it counts these)."""
        self.last_epoch, self._step_count = step, step + 1
        self._last_lr = [
            base * factor(step) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where the schedule was, at the present rates."""
        self.place(state_dict.get("last_epoch", 0))


def warmup_cosine(
    optimizer: Optimizer,
    warmup_steps: float,
    total_steps: float,
    warmup_start_lr: float,
    min_lr: float,
) -> Schedule:
    """Linear warm-up from `warmup_start_lr`, then a half cosine down to `min_lr`.

    With base rate b, W warm-up and T total steps:
    lr(t) = s + (b − s) t / W for t < W, else m + (b − m) (1 + cos(π (t − W) / (T − W))) / 2.

    Groups marked `static_lr` keep their rate.
    """

    def factor(base: float, step: int) -> float:
        if step < warmup_steps:
            return (warmup_start_lr + (base - warmup_start_lr) * step / warmup_steps) / base
        progress = min(1.0, (step - warmup_steps) / max(1.0, total_steps - warmup_steps))
        return (min_lr + (base - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))) / base

    return _lambda_lr(optimizer, factor)


def step_decay(optimizer: Optimizer, milestones: list[int], gamma: float = 0.1) -> Schedule:
    """Multiply the rate by `gamma` at each of the milestones, except in `static_lr` groups."""
    return _lambda_lr(
        optimizer, lambda _, step: gamma ** sum(step >= milestone for milestone in milestones)
    )


def _lambda_lr(optimizer: Optimizer, factor: Callable[[float, int], float]) -> Schedule:
    """Multiply the rate of each group by `factor` of its base rate and the step."""

    def of(group: dict[str, Any]) -> Callable[[int], float]:
        # A rate of zero is valid: it keeps a part of the network as it is.
        fixed = group.get("static_lr", False) or group["lr"] == 0.0
        base = group["lr"]
        return lambda step: 1.0 if fixed else factor(base, step)

    return Schedule(optimizer, [of(group) for group in optimizer.param_groups])
