"""Whether the optimiser's state in a checkpoint is whole and fits the configured optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.optim import Optimizer

from solo_ldm.optim.optimizers import name_optimizer

# What Adam and its kin keep of each parameter that had a gradient.
_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}


def check_optimizer_state(
    module: pl.LightningModule, checkpoint: dict[str, Any], path: str | Path
) -> None:
    """Check the state of an optimiser, unless the method has optimisers of its own making.

    Raises:
        ValueError: in one line: there is none, it is of another optimiser or of other groups of
            parameters, or it is damaged.
    """
    states = checkpoint.get("optimizer_states")
    whole = isinstance(states, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("state"), dict)
        and isinstance(one.get("param_groups"), list)
        for one in states
    )
    if not states or not whole or not isinstance(checkpoint.get("lr_schedulers"), list):
        raise ValueError(
            f"{path} holds no state of the optimiser: expected a last.ckpt as training writes it, "
            "got weights alone"
        )
    try:
        made = module.configure_optimizers()
    except RuntimeError:  # it asks for a trainer
        return
    first = made[0] if isinstance(made, (list, tuple)) else made
    optimizers = first if isinstance(first, list) else [first]
    if len(optimizers) == 1 and isinstance(optimizers[0], Optimizer):
        if len(states) != 1:
            raise ValueError(f"{path}: expected the state of one optimiser, got {len(states)}")
        _check(optimizers[0], states[0], path)


def _check(optimizer: Optimizer, state: dict[str, Any], path: str | Path) -> None:
    own, theirs = optimizer.param_groups, state["param_groups"]
    if not all(isinstance(one, dict) and isinstance(one.get("params"), list) for one in theirs):
        raise ValueError(f"{path} is damaged: its groups of parameters are no lists of parameters")
    if theirs and own:
        # Adam's state of older versions of torch does not say which of both it is.
        decoupled = own[0].get("decoupled_weight_decay")
        trained = name_optimizer({"decoupled_weight_decay": decoupled, **theirs[0]})
        wanted = name_optimizer(own[0])
        if trained != wanted:
            raise ValueError(
                f"optimizer.name: expected {trained}, which {path} was trained with, got {wanted}; "
                f"set it, or start a new run without resume_from_checkpoint"
            )
    if _described(own) != _described(theirs):
        raise ValueError(
            f"{path} is a checkpoint of other groups of parameters: expected "
            f"{_listed(own)}, got {_listed(theirs)}; configure the run as the args.json beside it "
            "says"
        )
    parameters = [parameter for group in own for parameter in group["params"]]
    momentum = any(group.get("betas") or group.get("momentum") for group in theirs)
    if momentum and parameters and not state["state"]:
        raise ValueError(
            f"{path} holds no state of the optimiser's parameters: expected a last.ckpt as "
            "training writes it"
        )
    adam = "betas" in own[0] if own else False
    for number, kept in state["state"].items():
        shape = parameters[number].shape if number in range(len(parameters)) else None
        if not isinstance(kept, dict) or (adam and not kept.keys() >= _MOMENTS) or shape is None:
            raise ValueError(f"{path} is damaged: the optimiser's state of parameter {number}")
        for key, value in kept.items():
            if isinstance(value, torch.Tensor) and (
                (value.ndim and value.shape != shape) or not value.isfinite().all()
            ):
                raise ValueError(
                    f"{path} is damaged: expected {key} of the optimiser finite and of shape "
                    f"{tuple(shape)}, got {tuple(value.shape)} in parameter {number}"
                )


def _described(groups: list[dict[str, Any]]) -> list[tuple[Any, int]]:
    return [(group.get("name"), len(group["params"])) for group in groups]


def _listed(groups: list[dict[str, Any]]) -> str:
    total = sum(len(group["params"]) for group in groups)
    names = ", ".join(str(group.get("name", i)) for i, group in enumerate(groups))
    return f"{len(groups)} ({names}; {total} parameters)"
