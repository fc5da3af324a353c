"""The training of a linear evaluation: rates, seeds, frozen and trained backbones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from solo_ldm.backbones import create_backbone, load_backbone
from solo_ldm.commands.linear.model import LinearModel
from solo_ldm.commands.linear.schema import complete_linear
from solo_ldm.commands.linear.setup import fitting_batch_size
from solo_ldm.run.folder import RunFolder
from tests.support.linear_toy import linear_config, run_linear

pytestmark = [
    pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning"),
    pytest.mark.usefixtures("without_pictures"),
]


def model_of(pretrained: RunFolder, *overrides: str) -> LinearModel:
    cfg = complete_linear(linear_config(Path(), pretrained.path, *overrides))
    backbone = load_backbone(pretrained.backbone)
    return LinearModel(cfg, backbone, backbone.num_features, 10, [0.1])


def test_frozen_means_frozen_and_finetuned_means_trained(pretrained):
    images, labels = torch.randn(8, 3, 16, 16), torch.arange(8)
    for protocol, trained in (("linear-offline", False), ("finetune", True)):
        model = model_of(pretrained, f"protocol={protocol}")
        before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
        model.train()
        assert model.backbone.training is trained
        logits = model(images)["logits"][0]
        torch.nn.functional.cross_entropy(logits, labels).backward()
        gradients = [p.grad for p in model.backbone.parameters()]
        assert all((one is not None) is trained for one in gradients)
        after = model.backbone.state_dict()
        # Batch statistics are part of the weights.
        assert all(torch.equal(before[key], after[key]) for key in before) is not trained


def test_finetuning_changes_the_backbone_and_the_changed_one_is_stored(tmp_path, pretrained):
    outcome = run_linear(tmp_path, pretrained, "finetune=true", "optimizer.backbone_lr_scale=0.5")
    old, new = load_file(pretrained.backbone), load_file(outcome.folder.backbone)
    assert old.keys() == new.keys()
    assert any(not torch.equal(old[key], new[key]) for key in old)
    again = run_linear(
        tmp_path, str(outcome.folder.backbone), "protocol=linear-features", "data=digits"
    )
    assert again.results["source_sha256"] != outcome.results["source_sha256"]


def test_the_rate_of_the_backbone_is_a_share_of_the_classifiers(pretrained):
    model = model_of(pretrained, "finetune=true", "optimizer.backbone_lr_scale=0.25")
    model.cfg.scheduler.name = "none"
    rates = {group["name"]: group["lr"] for group in model.configure_optimizers().param_groups}
    assert rates == pytest.approx({"classifier-0": 0.1, "backbone": 0.025})


def test_rates_are_for_256_images_a_step(tmp_path, pretrained):
    results = run_linear(
        tmp_path, pretrained, "optimizer.lr=0.4", "optimizer.batch_size=64"
    ).results
    assert results["settings"]["lr"] == 0.4
    assert results["settings"]["lr_of_a_step"] == pytest.approx(0.1)
    assert results["settings"]["optimizer"]["kwargs"]["momentum"] == 0.9


def test_several_rates_train_as_each_would_alone_and_held_out_images_choose(tmp_path, pretrained):
    results = run_linear(tmp_path, pretrained, "optimizer.lr=[1e-6,0.3]", "max_epochs=3").results
    settings = results["settings"]
    # 288 digits: 29 choose.
    assert (results["num_train"], settings["num_held_out"]) == (259, 29)
    assert settings["lr"] == 0.3
    slow, fast = settings["lr_held_out_top1"]
    assert slow < fast


def test_seeds_report_their_mean_and_finished_ones_are_not_trained_again(
    tmp_path, pretrained, monkeypatch
):
    outcome = run_linear(tmp_path, pretrained, "seeds=[0,1]")
    several = outcome.results["seeds"]
    assert several["top1_mean"] == pytest.approx(np.mean(several["top1"]))
    assert several["top1_std"] == pytest.approx(np.std(several["top1"], ddof=1))
    weights = [load_file(outcome.folder.path / f"seed-{n}/classifier.safetensors") for n in (0, 1)]
    assert not torch.equal(weights[0]["linear.weight"], weights[1]["linear.weight"])
    outcome.folder.results.unlink()

    def refuse(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr("solo_ldm.commands.linear.training.train", refuse)
    assert run_linear(tmp_path, pretrained, "seeds=[0,1]").results["seeds"] == several


@pytest.mark.parametrize(("count", "batch"), [(50000, 256), (5120, 256), (1438, 64), (30, 16)])
def test_the_batch_leaves_steps_enough(count, batch):
    assert fitting_batch_size(count) == batch


@pytest.mark.parametrize(
    "overrides",
    [
        ("precision=bf16-mixed", "scheduler.name=warmup_cosine", "scheduler.warmup_epochs=1"),
        (
            "optimizer.name=lars",
            "normalise_features=false",
            "label_smoothing=0.1",
            "accumulate_grad_batches=2",
        ),
        ("finetune=true", "cutmix=1.0", "label_smoothing=0.1", "checkpoint.enabled=false"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_training_options_train(tmp_path, pretrained, overrides):
    folder = run_linear(tmp_path, pretrained, *overrides).folder
    with folder.metrics.open(newline="") as stream:
        losses = [float(row["train_class_loss"]) for row in csv.DictReader(stream)]
    assert np.isfinite(losses).all()


def test_layers_of_a_finetuned_transformer_learn_the_slower_the_lower(tmp_path):
    source = ["pretrained_feature_extractor=untrained:vit_tiny_patch16_224", "data=digits"]
    cfg = complete_linear(
        linear_config(tmp_path, "timm:x", *source, "finetune=true", "optimizer.layer_decay=0.5")
    )
    cfg.scheduler.name = "none"
    backbone = create_backbone("vit_tiny_patch16_224", 32, depth=2)
    groups = LinearModel(cfg, backbone, 192, 10, [0.1]).configure_optimizers().param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    first, last = (rates[id(block.attn.qkv.weight)] for block in backbone.blocks)
    assert first == pytest.approx(last / 2)
