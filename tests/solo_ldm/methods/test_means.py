"""Means over an epoch: of all steps, weighted by their batches, logged once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from solo_ldm.methods.means import log_means


class Method:
    """What `log_means` asks of a LightningModule and its trainer."""

    def __init__(self):
        self._trainer = SimpleNamespace(current_epoch=0, is_last_batch=False)
        self.logged = []

    def log(self, name, value, batch_size, **how):
        assert how == {"on_step": False, "on_epoch": True, "sync_dist": True}
        self.logged.append((name, float(value), batch_size))


def test_the_mean_of_an_epoch_is_weighted_by_batches_and_logged_with_the_last_step():
    method = Method()
    values = torch.tensor([1.0, 4.0, 7.0], requires_grad=True)
    for step, (value, size) in enumerate(zip(values, (4, 4, 2), strict=True)):
        method._trainer.is_last_batch = step == 2
        assert not method.logged
        log_means(method, {"loss": value, "rate": float(step)}, size)
    assert method.logged == [("loss", pytest.approx(3.4), 10), ("rate", pytest.approx(0.8), 10)]


def test_an_epoch_that_was_left_early_does_not_enter_the_next_one():
    method = Method()
    log_means(method, {"loss": torch.tensor(100.0)}, 4)
    method._trainer = SimpleNamespace(current_epoch=1, is_last_batch=True)
    log_means(method, {"loss": torch.tensor(2.0)}, 4)
    log_means(method, {"accuracy": 0.5}, 4)  # logged by another part of the step
    assert method.logged == [("loss", 2.0, 4), ("accuracy", 0.5, 4)]
