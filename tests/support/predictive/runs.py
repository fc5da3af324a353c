"""Predictive runs small enough for a test, and what is compared of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from rich.console import Console

from predictive.commands.predictive import predictive
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome

# As little as trains: 4 steps an epoch.
FRAMES = (
    "data.num_train=32",
    "data.num_held_out=8",
    "data.num_steps=12",
    "data.frame_size=6",
    "max_epochs=3",
)
SMALL = {
    "figure8": FRAMES,
    "circular": (*FRAMES, "optimizer.batch_size=8"),
    "nonlinear_system": (*FRAMES, "optimizer.batch_size=8", "encoder.hidden_dim=16"),
    "ornstein_uhlenbeck": (*FRAMES[:3], "max_epochs=2"),
}


def config(folder: Path, *overrides: str, name: str = "figure8") -> DictConfig:
    """Compose a packaged config, cut down to run in a second, with files under `folder`."""
    where = ("accelerator=cpu", f"checkpoint.dir={folder}", "evaluation.report=false")
    with initialize_config_module("predictive.configs", version_base="1.3"):
        return compose(name, overrides=[*where, *SMALL.get(name, ()), *overrides])


def run(folder: Path, *overrides: str, name: str = "figure8") -> Outcome:
    outcome = predictive(config(folder, *overrides, name=name), Console(quiet=True))
    assert outcome is not None
    return outcome


def rows(folder: RunFolder) -> list[dict[str, str]]:
    with folder.metrics.open(newline="") as stream:
        return list(csv.DictReader(stream))


def trained(folder: RunFolder) -> dict[str, Any]:
    """What a checkpoint holds, without the seconds that training took."""
    kept = torch.load(folder.last, weights_only=True)
    kept["callbacks"] = {k: v for k, v in kept["callbacks"].items() if "Clock" not in k}
    return {
        key: kept[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks")
    }


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Assert that nested containers are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}.{i}")
    else:
        assert one == other, where


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    look = StopAtNonFinite.on_train_batch_end

    def die(self, trainer, *rest):
        look(self, trainer, *rest)
        if trainer.global_step == step:
            raise InterruptedError("as if the power had failed")

    monkeypatch.setattr(StopAtNonFinite, "on_train_batch_end", die)
