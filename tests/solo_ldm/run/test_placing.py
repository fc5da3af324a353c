"""Training that continues under another configuration: rates, steps and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from solo_ldm.methods.averaging import progress
from solo_ldm.optim.optimizers import configured_optimizer
from solo_ldm.run.callbacks.placing import PlaceByShare
from solo_ldm.run.trainer import without_lightnings_advice

BEFORE = {
    "max_epochs": 4,
    "batch_size": 4,
    "accumulate": 1,
    "optimizer": {"name": "adamw", "lr": 0.1, "weight_decay": 0.01, "kwargs": {}},
    "scheduler": {
        "name": "warmup_cosine",
        "warmup_epochs": 1,
        "warmup_start_lr": 0.01,
        "min_lr": 0.001,
        "lr_decay_steps": [1, 3],
        "interval": "step",
    },
}
# Epochs that are done when training is continued, with 6 steps each.
DONE = 2
IMAGES = 24


class Line(pl.LightningModule):
    """A linear regression."""

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.cfg = cfg
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self) -> Any:
        groups = [
            {"name": "weight", "params": [self.layer.weight]},
            {"name": "bias", "params": [self.layer.bias], "lr": 0.3 * self.cfg.optimizer.lr},
        ]
        return configured_optimizer(self, groups, self.cfg.optimizer.lr)


class Note(Callback):
    """Note the rates of each step, the step's number and the share of training before it."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []
        self.steps: list[int] = []
        self.shares: list[float] = []
        self.groups: list[dict[str, Any]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.rates.append([group["lr"] for group in optimizer.param_groups])
        self.steps.append(trainer.global_step)
        self.shares.append(progress(trainer))
        self.groups = optimizer.param_groups


class Keep(Checkpoint):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch + 1 == DONE:
            trainer.save_checkpoint(self.path)


def train(changes: dict[str, Any], *callbacks: Callback, path: Path | None = None) -> Any:
    cfg: Any = OmegaConf.merge(BEFORE, changes)
    module, note = Line(cfg), Note()
    data = TensorDataset(torch.linspace(-1, 1, 3 * IMAGES).reshape(IMAGES, 3))
    with without_lightnings_advice():
        trainer = pl.Trainer(
            max_epochs=cfg.max_epochs,
            accumulate_grad_batches=cfg.accumulate,
            accelerator="cpu",
            logger=False,
            callbacks=[*callbacks, note],
            enable_checkpointing=any(isinstance(one, Checkpoint) for one in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader(data, cfg.batch_size), ckpt_path=path)
    assert trainer.current_epoch == cfg.max_epochs
    assert trainer.global_step == trainer.estimated_stepping_batches
    return module, note


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("placing") / "last.ckpt"
    train({}, Keep(path))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch_size": 2},
        {"batch_size": 24},
        {"accumulate": 4},
        {"max_epochs": 9},
        {"scheduler": {"name": "none"}},
        {"scheduler": {"name": "step"}},
        {"scheduler": {"interval": "epoch"}},
        {"scheduler": {"warmup_epochs": 3, "min_lr": 0.05}, "batch_size": 8},
        {"optimizer": {"lr": 0.02, "weight_decay": 0.5, "kwargs": {"betas": [0.5, 0.9]}}},
    ],
    ids=str,
)
def test_rates_go_on_as_if_the_whole_training_had_had_the_present_configuration(
    checkpoint, changes
):
    _, whole = train(changes)
    start = torch.load(checkpoint, weights_only=True)["state_dict"]
    module, rest = train(changes, PlaceByShare(DONE, []), path=checkpoint)
    first = len(whole.steps) - len(rest.steps)
    assert first / len(whole.steps) == DONE / OmegaConf.merge(BEFORE, changes).max_epochs
    assert rest.rates == whole.rates[first:]
    assert rest.steps == whole.steps[first:]
    assert rest.shares == whole.shares[first:]
    for key in ("weight_decay", "betas"):
        assert [group[key] for group in rest.groups] == [group[key] for group in whole.groups]
    assert not torch.equal(module.layer.weight, start["layer.weight"])


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_without_a_change_it_ends_with_the_same_bits(tmp_path, interval):
    changes, path = {"scheduler": {"interval": interval}}, tmp_path / "last.ckpt"
    whole, _ = train(changes, Keep(path))
    continued, _ = train(changes, PlaceByShare(DONE, []), path=path)
    assert torch.equal(whole.layer.weight, continued.layer.weight)
    assert torch.equal(whole.layer.bias, continued.layer.bias)


def test_a_trainer_of_ones_own_goes_on_where_the_schedule_was_at_the_present_rates(checkpoint):
    changes = {"optimizer": {"lr": 0.02}}
    _, whole = train(changes)
    _, rest = train(changes, Keep(checkpoint.with_name("other.ckpt")), path=checkpoint)
    assert rest.rates == whole.rates[len(whole.rates) - len(rest.rates) :]
