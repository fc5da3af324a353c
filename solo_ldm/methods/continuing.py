"""A training that continues on images of other classes."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from solo_ldm.optim.optimizers import build_optimizer

_KEYS = {"classifier.weight", "classifier.bias"}


def renew_classifier(method: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
    """Put the method's own online classifier in a checkpoint that has another one, or none.

    A classifier of the same shape stays, as does everything that is not whole, for the checks of a
    checkpoint. The optimiser keeps the state of all other parameters.

    Args:
        method: a `BaseMethod` that continues.
        checkpoint: Lightning's, changed in place.
    """
    state, optimizers = checkpoint["state_dict"], checkpoint.get("optimizer_states") or []
    parts = ({k: v for k, v in one.items() if k in _KEYS} for one in (method.state_dict(), state))
    own, theirs = parts
    if any(part.keys() not in (set(), _KEYS) for part in (own, theirs)):
        return
    if {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in theirs.items()}:
        return
    try:
        (saved,) = optimizers
        checkpoint["optimizer_states"] = [_with_new_group(method, saved)]
    except (KeyError, TypeError, ValueError):
        return
    kept = {key: value for key, value in state.items() if key not in _KEYS}
    checkpoint["state_dict"] = {**kept, **own}


def _with_new_group(method: Any, saved: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an optimiser with the classifier's parameters as the method has them."""
    settings = method.cfg.optimizer
    optimizer = build_optimizer(
        settings.name,
        method.learnable_params,
        lr=1.0,  # what is configured is kept when the state is loaded
        weight_decay=settings.weight_decay,
        exclude_bias_and_norm=settings.get("exclude_bias_n_norm_wd", False),
        kwargs=dict(settings.kwargs),
    )
    groups = optimizer.state_dict()["param_groups"]
    numbers, made = {}, []
    others = iter([one for one in saved["param_groups"] if not _is_classifiers(one)])
    for group in groups:
        if _is_classifiers(group):
            made.append(group)
            continue
        other = next(others, {"params": []})
        numbers |= dict(zip(other["params"], group["params"], strict=True))
        made.append({**other, "params": group["params"]})
    state = {numbers[number]: one for number, one in saved["state"].items() if number in numbers}
    return {**saved, "state": state, "param_groups": made}


def _is_classifiers(group: dict[str, Any]) -> bool:
    return group["name"] in ("classifier", "classifier-bias-norm")
