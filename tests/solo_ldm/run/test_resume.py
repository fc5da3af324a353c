"""Runs that are continued from a checkpoint of another run, or from a damaged one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from solo_ldm.cli import run_command
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.methods import find_method
from solo_ldm.run.configuration import complete, for_method, read_data
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import resolve_hardware
from solo_ldm.run.record import Outcome
from solo_ldm.run.resume import checkpoint_to_resume, load_checkpoint
from tests.support.linear_toy import make_images
from tests.support.predictive.runs import die_at
from tests.support.toy import toy_config

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

QUICK = ("evaluation.protocols=[]", "health.enabled=false")


def run(folder: Path, *overrides: str) -> Outcome:
    outcome = pretrain(toy_config(folder, *QUICK, *overrides))
    assert outcome is not None
    return outcome


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of two epochs with batches of 64."""
    return run(tmp_path_factory.mktemp("source")).folder


def prepared(folder: Path, path: str, *overrides: str) -> tuple[Any, Any]:
    """Return a configuration and its method."""
    cfg = complete(toy_config(folder, f"resume_from_checkpoint={path}", *overrides))
    kind, hardware = find_method(cfg.method), resolve_hardware(cfg)
    built_with = kind.describe(cfg).built_with
    return cfg, kind(for_method(cfg, read_data(cfg, hardware), hardware), **built_with)


def refit(folder: Path, path: str, *overrides: str) -> Any:
    """Return where a run would go on from a checkpoint."""
    cfg, method = prepared(folder, path, *overrides)
    return checkpoint_to_resume(cfg, RunFolder(folder / "new"), method, path)


def test_a_larger_batch_and_rate_train_all_epochs_that_are_left_and_are_recorded(
    source, tmp_path, capsys
):
    changes = ("optimizer.batch_size=128", "optimizer.lr=0.004", "max_epochs=4")
    outcome = run(tmp_path, f"resume_from_checkpoint={source.last}", *changes)
    before, after = (load_checkpoint(folder.last) for folder in (source, outcome.folder))
    # 2 steps in each of 4 epochs, 2 of which were done with 4 steps each.
    assert after["global_step"] == 8
    assert after["lr_schedulers"][0]["last_epoch"] == 8
    assert after["optimizer_states"][0]["param_groups"][0]["initial_lr"] == 0.004 * 128 / 256
    moved = [
        k for k, v in after["state_dict"].items() if not torch.equal(v, before["state_dict"][k])
    ]
    assert len(moved) > len(before["state_dict"]) / 2
    changed = {
        "max_epochs": [2, 4],
        "optimizer.batch_size": [64, 128],
        "optimizer.lr": [0.003, 0.004],
    }
    origin = {"checkpoint": str(source.last), "epoch": 2, "changed": changed}
    assert json.loads(outcome.folder.results.read_text())["continued_from"] == [origin]
    args = json.loads(outcome.folder.args.read_text())
    assert (args["optimizer"]["lr"], args["optimizer"]["batch_size"]) == (0.004, 128)
    shown = capsys.readouterr().out
    assert "optimizer.batch_size 64 → 128" in shown
    left = re.findall(r"epoch 4/4 .* (-?\d+) s left", shown)
    assert left == ["0"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("optimizer.name=sgd",), "optimizer.name: expected adamw, which .* got sgd"),
        (("optimizer.name=lars",), "optimizer.name: expected adamw, which .* got lars"),
        (("optimizer.name=adam",), "optimizer.name: expected adamw, which .* got adam;"),
        (("+optimizer.kwargs.amsgrad=true",), "expected adamw, which .* got adamw with amsgrad"),
        (
            ("optimizer.exclude_bias_n_norm_wd=false",),
            r"expected 3 \(backbone, classifier, projector; 20 parameters\), got 6 \(backbone, bac",
        ),
        (
            ("backbone.name=resnet18", "~backbone.kwargs.width"),
            "another architecture: .* backbone.name convnet_small → resnet18",
        ),
        (
            ("max_epochs=1",),
            "more than the 2 epochs that .* was trained for, got 1; set it above 2",
        ),
        (
            ("max_epochs=2",),
            "more than the 2 epochs that .* was trained for, got 2; set it above 2",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_another_optimiser_architecture_or_group_of_parameters_is_refused_with_both_names(
    source, tmp_path, overrides, message
):
    with pytest.raises(ValueError, match=message) as caught:
        refit(tmp_path, str(source.last), *overrides)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def without(*keys: str) -> Callable[[dict[str, Any]], None]:
    """Return what takes a nested key out of a checkpoint."""

    def edit(checkpoint: Any) -> None:
        for key in keys[:-1]:
            checkpoint = checkpoint[int(key) if isinstance(checkpoint, list) else key]
        del checkpoint[keys[-1]]

    return edit


def with_nan(checkpoint: Any) -> None:
    checkpoint["state_dict"]["classifier.weight"][0, 0] = torch.nan


def with_text(checkpoint: Any) -> None:
    checkpoint["state_dict"]["classifier.weight"] = "weight"


def mid_epoch(checkpoint: Any) -> None:
    loop = checkpoint["loops"]["fit_loop"]
    loop["epoch_progress"]["current"]["ready"] += 1
    loop["epoch_loop.batch_progress"]["is_last_batch"] = False


def of_another_shape(checkpoint: Any) -> None:
    checkpoint["optimizer_states"][0]["state"][0]["exp_avg"] = torch.zeros(3)


def emptied(key: str, *keys: str) -> Callable[[dict[str, Any]], None]:
    def edit(checkpoint: Any) -> None:
        for name in keys:
            checkpoint = checkpoint[int(name) if isinstance(checkpoint, list) else name]
        checkpoint[key] = type(checkpoint[key])()

    return edit


DAMAGE = [
    (without("optimizer_states"), "holds no state of the optimiser"),
    (emptied("optimizer_states"), "holds no state of the optimiser"),
    (emptied("state", "optimizer_states", "0"), "holds no state of the optimiser's parameters"),
    (without("lr_schedulers"), "holds no state of the optimiser"),
    (of_another_shape, "expected exp_avg of the optimiser finite and of shape"),
    (without("loops"), "holds no loops"),
    (emptied("loops"), "does not say how many epochs"),
    (emptied("epoch_progress", "loops", "fit_loop"), "does not say how many epochs"),
    (mid_epoch, "written in the middle of epoch 3"),
    (without("callbacks"), "holds no callbacks"),
    (without("state_dict", "classifier.weight"), "another architecture"),
    (with_text, "classifier.weight is no tensor"),
    (with_nan, "expected finite weights, got others in classifier.weight"),
]


def test_a_checkpoint_that_is_not_whole_is_refused_in_one_line(source, tmp_path):
    path = tmp_path / "last.ckpt"
    path.touch()
    cfg, method = prepared(tmp_path, str(path))
    for edit, message in DAMAGE:
        checkpoint = load_checkpoint(source.last)
        edit(checkpoint)
        torch.save(checkpoint, path)
        with pytest.raises(ValueError, match=message) as caught:
            checkpoint_to_resume(cfg, RunFolder(tmp_path / "new"), method, str(path))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("own", [True, False], ids=["auto_resume", "resume_from_checkpoint"])
def test_one_flipped_bit_of_a_checkpoint_is_refused_before_anything_is_written(
    source, tmp_path, capsys, own
):
    content = bytearray(source.last.read_bytes())
    content[len(content) // 2] ^= 0x40
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    arguments = [f"resume_from_checkpoint={path}"]
    if own:  # an unfinished run whose last checkpoint has suffered
        whole = run(tmp_path / "runs", "max_epochs=3").folder
        whole.results.unlink()
        whole.last.write_bytes(content)
        arguments = []
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    capsys.readouterr()
    small = ["max_epochs=3", "optimizer.batch_size=64", "data.fraction=0.2"]
    small += ["scheduler.warmup_epochs=1", "+backbone.kwargs.width=8", "data.num_workers=0"]
    small += ["method_kwargs.proj_hidden_dim=32", "method_kwargs.proj_output_dim=16"]
    small += ["evaluation.report=false", f"checkpoint.dir={tmp_path / 'runs'}", *QUICK]
    with pytest.raises(SystemExit) as caught:
        run_command("pretrain", ["--config-name", "gaussprob", *small, *arguments])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert caught.value.code == 2
    assert "last.ckpt is damaged" in line
    assert ("set resume_from_checkpoint=" in line and "best.ckpt, or remove it" in line) == own
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


def test_a_continuation_that_is_interrupted_continues_itself_not_its_source_again(
    source, tmp_path, capsys
):
    overrides = (f"resume_from_checkpoint={source.last}", "max_epochs=5")
    whole = run(tmp_path / "whole", *overrides)
    # 4 steps an epoch, 8 of them before: step 14 is in the middle of the fourth epoch.
    with pytest.MonkeyPatch.context() as monkeypatch:
        die_at(monkeypatch, 14)
        with pytest.raises(InterruptedError):
            run(tmp_path / "killed", *overrides)
    capsys.readouterr()
    rest = run(tmp_path / "killed", *overrides)
    shown = capsys.readouterr().out
    assert f"{rest.folder.last} of the same run is newer than {source.last}" in shown
    assert "after epoch 3" in shown
    assert rest.results["continued_from"] == whole.results["continued_from"] != []
    one, other = (load_checkpoint(outcome.folder.last) for outcome in (whole, rest))
    assert all(torch.equal(one["state_dict"][k], v) for k, v in other["state_dict"].items())
    assert rest.folder.metrics.read_text().count("\n") == 4  # a header and three epochs


def test_an_unfinished_run_is_not_overwritten_by_the_continuation_of_another(source, tmp_path):
    unfinished = run(tmp_path, "max_epochs=3").folder
    unfinished.results.unlink()
    before = unfinished.last.read_bytes()
    other = run(tmp_path, f"resume_from_checkpoint={source.last}", "max_epochs=3").folder
    assert other.path != unfinished.path
    assert unfinished.last.read_bytes() == before
    # Named by its own last checkpoint, it is continued in its own folder.
    same = run(tmp_path, f"resume_from_checkpoint={unfinished.last}", "max_epochs=3")
    assert same.folder.path == unfinished.path
    assert same.results["continued_from"] == []


def test_a_checkpoint_without_its_configuration_says_so(source, tmp_path):
    path = tmp_path / "moved.ckpt"
    path.write_bytes(source.last.read_bytes())
    found = refit(tmp_path, str(path), "optimizer.lr=0.1", "max_epochs=3")
    assert found.notices == ("no args.json beside it: what changed is not known",)
    assert found.origins == [{"checkpoint": str(path), "epoch": 2, "changed": None}]


def test_a_folder_is_its_last_checkpoint_and_three_of_many_changes_are_shown(
    source, tmp_path, capsys
):
    changes = ("max_epochs=3", "optimizer.lr=0.004", "optimizer.weight_decay=0.1", "seed=3")
    changes += ("optimizer.classifier_lr=0.2",)
    outcome = run(tmp_path, f"resume_from_checkpoint={source.path}", *changes)
    (origin,) = outcome.results["continued_from"]
    assert origin["epoch"] == 2
    assert len(origin["changed"]) == 5
    (line,) = re.findall("changed: .*", capsys.readouterr().out)
    assert line.count("→") == 3
    assert line.endswith(", 2 more")


def test_other_images_at_the_same_place_are_named_among_the_changes(tmp_path, capsys):
    images = tmp_path / "images"
    make_images(images, classes=2, each=40)
    own = ("data=custom", f"data.train_path={images}", "data.fraction=-1", "augmentations=cifar")
    own += ("backbone.name=convnet_small", "optimizer.batch_size=32")
    source = run(tmp_path / "runs", *own, "max_epochs=1").folder
    next(images.rglob("*.png")).unlink()
    more = ("max_epochs=2", f"resume_from_checkpoint={source.last}")
    (origin,) = run(tmp_path / "runs", *own, *more).results["continued_from"]
    assert origin["changed"].keys() == {"max_epochs", "data"}
    assert [what.split()[0] for what in origin["changed"]["data"]] == ["80", "79"]
