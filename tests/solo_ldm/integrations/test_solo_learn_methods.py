"""Our methods on solo-learn's host; run with SOLO_LEARN=CHECKOUT pytest -m solo_learn."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from solo_ldm.integrations import solo_learn
from solo_ldm.methods import find_method
from tests.support import ROOT
from tests.support.methods.solo_learn import (
    WITH_SOLO_LEARN,
    both_hosts,
    registry,
)

pytestmark = WITH_SOLO_LEARN


def test_registering_is_idempotent():
    solo_learn.register()
    methods, backbones = (dict(one) for one in registry())
    parents = solo_learn._modules()["solo.utils.knn"].WeightedKNNClassifier.__mro__
    solo_learn.register()
    assert (methods, backbones) == registry()
    assert solo_learn._modules()["solo.utils.knn"].WeightedKNNClassifier.__mro__ == parents
    assert {"gaussprob", "sphereprob", "ldm"} <= methods.keys()


def test_registering_overrides_nothing_that_solo_learn_has(monkeypatch, caplog):
    methods, backbones = registry()
    theirs = type("GaussProb", (), {})
    monkeypatch.setitem(methods, "gaussprob", theirs)
    before = {name: one for name, one in backbones.items() if name != "convnet_small"}
    solo_learn.register()
    assert methods["gaussprob"] is theirs
    assert "method gaussprob of its own, which is kept" in caplog.text
    assert before.items() <= backbones.items()


@pytest.mark.parametrize("name", ["gaussprob", "sphereprob"])
@pytest.mark.parametrize("entropy", ["kernel", "neighbour", "logdet"])
@pytest.mark.parametrize("over", ["joint", "marginal"])
def test_our_loss_is_the_same_on_both_hosts(tmp_path, name, entropy, over):
    cell = [f"method_kwargs.entropy={entropy}", f"method_kwargs.over={over}"]
    here, there = both_hosts(tmp_path, name, *cell)
    targets = torch.arange(32) % 10
    targets[::3] = -1  # some images are without a label
    batch = [torch.arange(32), [torch.randn(32, 3, 16, 16) for _ in range(2)], targets]
    ours, theirs = (model.double().training_step(to_double(batch), 0) for model in (here, there))
    for term in ("train_ldm_loss", "train_log_prob", "train_entropy"):
        torch.testing.assert_close(ours["terms"][term], theirs["terms"][term], rtol=1e-12, atol=0)
    # Our online classifier's loss is in float32.
    torch.testing.assert_close(ours["loss"], theirs["loss"], rtol=1e-6, atol=0)
    for out in (ours, theirs):
        out["loss"].backward()
    gradients = zip(here.named_parameters(), there.named_parameters(), strict=True)
    for (part, one), (_, other) in gradients:
        near = {"rtol": 1e-4, "atol": 1e-7} if "classifier" in part else {"rtol": 0, "atol": 1e-12}
        torch.testing.assert_close(one.grad, other.grad, **near)


def test_the_target_of_a_moving_average_moves_under_solo_learn(tmp_path):
    """After the first of T steps: θ̄ = τ θ̄₀ + (1 − τ) θ, as in our host."""
    _, there = both_hosts(tmp_path, "byol", "method_kwargs.base_tau=0.5")
    start = {key: value.clone() for key, value in there.target.state_dict().items()}
    crops = [torch.randn(16, 3, 16, 16) for _ in range(2)]
    batches = [[torch.arange(16), crops, torch.arange(16) % 10]] * 2
    trainer = pl.Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    del there.log_dict  # what both_hosts put in its place
    trainer.fit(there, DataLoader(batches, batch_size=None))
    tau = there.target.tau(1.0 / trainer.estimated_stepping_batches)
    for name, weight in there.backbone.named_parameters():
        moved = there.target.get_submodule("backbone").get_parameter(name)
        torch.testing.assert_close(moved, tau * start[f"backbone.{name}"] + (1 - tau) * weight)


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "scripts" / "pretrain").rglob("*.yaml"))
        # What others share; what solo-learn is not for; data and networks that it does not have.
        if path.stem not in ("paper", "emp_ssl", "two_cores", "one_gpu")
        and "\nmethod: masked\n" not in path.read_text()
        and path.parent.name != "captions"
    ],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_every_experiment_file_builds_its_method_under_solo_learn(path, tmp_path):
    solo_learn.register()
    methods, _ = registry()
    with initialize_config_dir(str(path.parent), version_base="1.3"):
        cfg = compose(
            path.stem, overrides=["hydra.searchpath=[pkg://solo_ldm.configs]", "accelerator=cpu"]
        )
    OmegaConf.set_struct(cfg, False)
    solo_learn._for_pretraining(cfg)
    cfg = solo_learn._modules()["solo.args.pretrain"].parse_cfg(cfg)
    expected = find_method(cfg.method).settings(cfg)
    method = methods[cfg.method](cfg)
    assert method.settings(cfg) == expected
    assert method.objective.over == expected.over
    assert method.projector[-1 - expected.proj_output_batch_norm].out_features == (
        expected.proj_output_dim
    )


def to_double(batch: list[Any]) -> list[Any]:
    return [batch[0], [crop.double() for crop in batch[1]], batch[2]]


def test_a_batch_without_labels_has_a_finite_loss_under_solo_learn(tmp_path):
    _, there = both_hosts(tmp_path, "gaussprob")
    crops = [torch.randn(16, 3, 16, 16) for _ in range(2)]
    out = there.training_step([torch.arange(16), crops, -torch.ones(16, dtype=torch.long)], 0)
    assert torch.isfinite(out["loss"])
    assert out["terms"]["train_class_loss"] == 0


def test_checkpoints_that_hold_their_configuration_are_read(tmp_path):
    held = {"state_dict": {"w": torch.ones(1)}, "hyper_parameters": OmegaConf.create({"a": [1]})}
    torch.save(held, tmp_path / "old.ckpt")
    with torch.serialization.safe_globals(solo_learn.CONFIGURATION_CLASSES):
        assert torch.load(tmp_path / "old.ckpt", weights_only=True)["state_dict"]["w"] == 1
