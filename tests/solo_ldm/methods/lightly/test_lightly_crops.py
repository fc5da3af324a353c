"""Baselines on lightly's losses: small crops, what waits, queues, and runs of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightly import loss as losses

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.methods.lightly.method import LightlyMethod
from solo_ldm.methods.lightly.recipes import RECIPES
from solo_ldm.run.resume import load_checkpoint
from tests.support.methods.lightly import MULTI, batch, build, toy, train, unit

# Toy runs are too short to leave a collapse.
pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

# Small crops.


@pytest.mark.parametrize("name", MULTI)
def test_small_crops_join_the_loss(name):
    method, data = build(name, small=2), batch(small=2)
    assert [crop.shape[-1] for crop in data[1]] == [16, 16, 8, 8]
    whole = method.training_step(data, 0)
    assert len(whole["z"]) == 4
    data[1][3] = data[1][3] + 1.0
    changed = build(name, small=2)
    changed.load_state_dict(method.state_dict())
    assert whole["loss"] != changed.training_step(data, 0)["loss"]


def test_dino_compares_small_crops_with_the_teachers_large_ones():
    method, data = build("dino", small=2), batch(small=2)
    z = [method.parts.projector(method.backbone(crop)) for crop in data[1]]
    t = [method.average["projector"](method.average["backbone"](crop)) for crop in data[1][:2]]
    expected = losses.DINOLoss(12, 0.04, 0.04, 10)(t, z, epoch=0)
    torch.testing.assert_close(
        method.training_step(data, 0)["terms"]["train_ssl_loss"], expected.detach()
    )


def test_swav_assigns_large_crops_alone_and_predicts_them_from_all():
    method, data = build("swav", small=2), batch(small=2)
    method.parts.prototypes.normalize()
    p = [
        method.parts.prototypes(unit(method.parts.projector(method.backbone(crop))))
        for crop in data[1]
    ]
    expected = losses.SwaVLoss()(p[:2], p[2:]).reshape(())
    torch.testing.assert_close(
        method.training_step(data, 0)["terms"]["train_ssl_loss"], expected.detach()
    )


@pytest.mark.parametrize("name", sorted(set(RECIPES) - set(MULTI)))
def test_other_methods_refuse_small_crops_in_a_line(name):
    with pytest.raises(ValueError, match=f"no small ones for lightly/{name}.*num_crops"):
        build(name, small=2)


def test_frossl_and_mmcr_take_more_large_crops():
    for name in ("frossl", "mmcr"):
        assert build(name, large=3).training_step(batch(large=3), 0)["loss"].isfinite()
    with pytest.raises(ValueError, match="no small ones for lightly/simclr"):
        build("simclr", large=3)


# What is held still at first, and queues.


def test_the_last_layer_of_dino_and_the_prototypes_of_swav_wait_an_epoch():
    for name, held in (("dino", "projector.last_layer"), ("swav", "prototypes")):
        method = build(name)
        before = {key: value.clone() for key, value in method.parts.state_dict().items()}
        train(method, 2, batch())
        after = method.parts.state_dict()
        keys = [key for key in before if key.startswith(held)]
        assert keys
        # SwAV's prototypes start on the unit sphere after the first step.
        changed = [key for key in keys if not torch.allclose(unit(before[key]), unit(after[key]))]
        assert not changed
        assert not torch.equal(
            before["projector.layers.0.weight"], after["projector.layers.0.weight"]
        )


def test_swavs_queue_fills_at_once_and_counts_from_its_epoch():
    data = batch()
    found = {}
    for start in (0, 1):
        torch.manual_seed(3)
        method = build("swav", queue_size=64, epoch_queue_starts=start)
        before = method.parts.memory[0].bank.clone()
        found[start] = train(method, 1, data)
        assert not torch.equal(before, method.parts.memory[0].bank)
    assert found[0] != found[1]


# Runs.


def run(folder: Path, name: str, *overrides: str, **method_kwargs: Any) -> Any:
    outcome = pretrain(toy(name, f"checkpoint.dir={folder}", *overrides, **method_kwargs))
    assert outcome is not None
    return outcome


@pytest.mark.parametrize("name", ["moco", "tico", "nnclr", "swav", "dino"])
def test_an_interrupted_run_continues_with_its_queues_and_averages(tmp_path, monkeypatch, name):
    kwargs = {"queue_size": 64, "epoch_queue_starts": 1} if name == "swav" else {}
    whole = run(tmp_path / "whole", name, **kwargs).folder

    def interrupt(method: LightlyMethod) -> None:
        if method.current_epoch == 2:
            raise RuntimeError("power cut")

    monkeypatch.setattr(LightlyMethod, "on_train_epoch_start", interrupt)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "parts", name, **kwargs)
    monkeypatch.undo()
    resumed = run(tmp_path / "parts", name, **kwargs).folder
    assert resumed.path.parent == tmp_path / "parts" / "lightly" / name
    expected = load_checkpoint(whole.last)["state_dict"]
    actual = load_checkpoint(resumed.last)["state_dict"]
    assert expected.keys() == actual.keys()
    assert [key for key in expected if not torch.equal(expected[key], actual[key])] == []


def test_the_average_moves_after_every_step_of_the_optimiser(tmp_path):
    # With no memory of its past it is the network.
    folder = run(tmp_path, "byol", "accumulate_grad_batches=2", base_tau=0.0, final_tau=0.0).folder
    state = load_checkpoint(folder.last)["state_dict"]
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    own = [key for key in state if key.startswith("backbone.") and not key.endswith(buffers)]
    assert own
    assert all(torch.equal(state[key], state[f"average.{key}"]) for key in own)
