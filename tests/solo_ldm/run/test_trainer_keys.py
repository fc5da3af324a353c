"""The keys of `trainer`: open ones with sensible values, and none that the configuration owns."""

from __future__ import annotations

import inspect
import io
import math

import lightning.pytorch as pl
import pytest
from rich.console import Console

from predictive.configuration import complete_predictive
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.config.trainer import check_trainer, trainer_arguments
from solo_ldm.run.configuration import complete
from solo_ldm.run.trainer import EndInTime
from tests.support.predictive.runs import config as predictive_config
from tests.support.refusals import assert_refused
from tests.support.toy import toy_config

OPEN = inspect.signature(trainer_arguments).parameters


def test_every_argument_of_lightnings_trainer_is_open_or_refused():
    arguments = inspect.signature(pl.Trainer).parameters
    assert OPEN.keys() <= arguments.keys()
    for name, argument in arguments.items():
        if name in OPEN:
            check_trainer("trainer", {name: OPEN[name].default})
            pl.Trainer(
                **{name: OPEN[name].default}, logger=False, accelerator="cpu"
            )  # takes what the schema takes
        else:
            with pytest.raises(ValueError, match=rf"trainer\.{name}\b") as caught:
                check_trainer("trainer", {name: argument.default})
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_epochs": 1}, "trainer.max_epochs: expected no such key, got 1; set max_epochs"),
        ({"max_steps": 10}, "trainer.max_steps: expected no such key, got 10; set max_epochs"),
        ({"logger": True}, "set wandb.enabled and tensorboard.enabled"),
        ({"enable_checkpointing": False}, "set checkpoint.enabled"),
        ({"gradient_clip": 1}, "unknown key trainer.gradient_clip: did you mean gradient_clip_"),
        ({"gradient_clip_val": math.nan}, "trainer.gradient_clip_val: expected a number from 0"),
        ({"gradient_clip_val": -1}, "trainer.gradient_clip_val: expected a number from 0"),
        ({"gradient_clip_algorithm": "l1"}, "expected norm or value or null, got 'l1'"),
        ({"limit_train_batches": 0}, "trainer.limit_train_batches: expected a whole number from 1"),
        ({"limit_train_batches": 2.5}, "or a number above 0 to 1 or null, got 2.5"),
        ({"check_val_every_n_epoch": 0}, "expected a whole number from 1, got 0"),
        ({"deterministic": "yes"}, "trainer.deterministic: expected true or false"),
        ({"max_time": "1:00:00"}, "trainer.max_time: expected DD:HH:MM:SS, got '1:00:00'"),
        ({"fast_dev_run": True}, "set max_epochs=1 data.fraction=0.05 for a short try"),
        ({"profiler": "mine"}, "expected simple or advanced or null, got 'mine'"),
    ],
    ids=str,
)
def test_owned_unknown_and_senseless_keys_are_refused_with_what_to_set(given, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        check_trainer("trainer", given)
    assert message in str(caught.value)


def test_after_max_time_a_run_is_unfinished_and_the_same_command_continues_it(
    tmp_path, monkeypatch
):
    said = io.StringIO()
    start, begun = EndInTime.on_train_batch_start, []

    def after_an_epoch(self, trainer, *rest):
        begun.append(trainer.current_epoch)
        self.end = -math.inf if trainer.current_epoch else math.inf
        start(self, trainer, *rest)

    monkeypatch.setattr(EndInTime, "on_train_batch_start", after_an_epoch)
    config = toy_config(tmp_path, "max_epochs=2", "+trainer.max_time=00:01:00:00")
    assert pretrain(config, Console(file=said, width=200)) is None
    assert begun[-1] == 1
    assert "ends training in epoch 2 of 2: the run is unfinished; the same" in said.getvalue()
    quiet = toy_config(tmp_path, "max_epochs=2", "+trainer.enable_progress_bar=false")
    outcome = pretrain(quiet, Console(file=said, width=200))
    assert "after epoch 1" in said.getvalue()
    assert "s left" not in said.getvalue().partition("after epoch 1")[2]
    assert [one.name for one in tmp_path.rglob("args.json")] == ["args.json"]
    assert outcome is not None
    assert outcome.folder.finished


def test_every_command_that_trains_checks_them_before_it_writes(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"trainer.max_epochs: expected no such key, got 1"):
        complete(toy_config(tmp_path, "+trainer.max_epochs=1"))
    with pytest.raises(ValueError, match=r"trainer.precision: expected no such key"):
        complete_predictive(predictive_config(tmp_path, "+trainer.precision=16"))
    where = f"checkpoint.dir={tmp_path}"
    clip = "trainer.gradient_clip_val=nan"
    assert_refused("pretrain", [(["--config-name", "simclr", clip, where], "got nan")], capsys)
    weights = "pretrained_feature_extractor=timm:test_resnet"
    assert_refused(
        "linear", [([weights, "data=digits", "+trainer.devices=2", where], "set devices")], capsys
    )
    assert not list(tmp_path.iterdir())
