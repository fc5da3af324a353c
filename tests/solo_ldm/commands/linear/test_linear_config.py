"""Configurations of linear evaluations: ours, solo-learn's, and wrong ones."""

from __future__ import annotations

import sys

import pytest
import torch
from hydra import compose, initialize_config_dir, initialize_config_module
from safetensors.torch import load_file

from solo_ldm.cli import main
from solo_ldm.commands.linear import linear
from solo_ldm.commands.linear.schema import complete_linear
from solo_ldm.data import parse_augmentations
from tests.support import ROOT
from tests.support.linear_toy import make_images, run_linear

pytestmark = [
    pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning"),
    pytest.mark.usefixtures("without_pictures"),
]


SOLO_LEARNS = """\
defaults:
  - _self_
  - wandb: private.yaml
  - override hydra/hydra_logging: disabled
  - override hydra/job_logging: disabled

hydra:
  output_subdir: null
  run:
    dir: .

name: "simclr-images-linear"
pretrained_feature_extractor: None
backbone:
  name: "convnet_small"
pretrain_method: "simclr"
data:
  dataset: custom
  train_path: "{train}"
  val_path: "{val}"
  format: "image_folder"
  num_workers: 0
  augmentations:
    crop_size: 16
optimizer:
  name: "sgd"
  batch_size: 16
  lr: 0.3
  weight_decay: 0
scheduler:
  name: "step"
  lr_decay_steps: [60, 80]
checkpoint:
  enabled: True
  dir: "{dir}"
  frequency: 1
auto_resume:
  enabled: True
max_epochs: 1
devices: [0]
sync_batchnorm: True
accelerator: "gpu"
strategy: "ddp"
precision: 16
"""


def test_a_file_of_solo_learn_runs_unchanged(tmp_path, pretrained, monkeypatch):
    train, val = (make_images(tmp_path / name, 3, 8) for name in ("train", "val"))
    files = tmp_path / "scripts"
    (files / "wandb").mkdir(parents=True)
    wandb = "enabled: False\nentity: None\nproject: solo-learn\n"
    (files / "wandb" / "private.yaml").write_text(wandb)
    text = SOLO_LEARNS.format(train=train, val=val, dir=tmp_path / "runs")
    (files / "simclr.yaml").write_text(text)
    with initialize_config_dir(str(files), version_base="1.2"):
        source = f"pretrained_feature_extractor={pretrained.path}"
        cfg = compose("simclr", overrides=[source])
    if torch.cuda.is_available():
        cfg.strategy = "auto"
    outcome = linear(cfg)
    assert outcome is not None
    assert outcome.folder.path.name.startswith("simclr-images-linear-")
    settings = outcome.results["settings"]
    # Theirs is a linear layer and nothing else, at lr × batch / 256.
    assert settings["normalise_features"] is False
    assert set(load_file(outcome.folder.classifier)) == {"linear.weight", "linear.bias"}
    assert settings["lr_of_a_step"] == pytest.approx(0.3 * 16 / 256)
    assert settings["scheduler"]["lr_decay_steps"] == [60, 80]
    view = settings["augmentations"][0]
    assert (view["crop_size"], view["rrc"]["crop_min_scale"]) == (16, 0.08)
    assert view["horizontal_flip"]["prob"] == 0.5


@pytest.mark.parametrize("path", sorted((ROOT / "scripts" / "linear").rglob("*.yaml")), ids=str)
def test_our_scripts_fit_the_schema(path):
    with initialize_config_dir(str(path.parent), version_base="1.3"):
        cfg = compose(path.stem, overrides=["pretrained_feature_extractor=timm:resnet18"])
    cfg = complete_linear(cfg)
    assert cfg.protocol == "linear-offline"
    assert cfg.optimizer.lr == [0.3]
    assert parse_augmentations(cfg.augmentations)[0].num_crops == 1


@pytest.mark.parametrize("dataset", ["digits", "mnist", "svhn"])
def test_digits_are_never_mirrored_and_photographs_are(dataset):
    def flip(name: str) -> float:
        overrides = [f"data={name}", "pretrained_feature_extractor=timm:resnet18"]
        with initialize_config_module("solo_ldm.configs", version_base="1.3"):
            cfg = complete_linear(compose("linear", overrides=overrides))
        return parse_augmentations(cfg.augmentations)[0].horizontal_flip.prob

    assert flip(dataset) == 0
    assert flip("cifar10") == 0.5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["pretrained_feature_extractor=null"], "add pretrained_feature_extractor=PATH"),
        (["pretrained_feature_extractor=/nowhere"], "/nowhere"),
        (["pretrained_feature_extractor=/nowhere", "data=digits"], "/nowhere"),
        (["pretrained_feature_extractor=untrained:resnet10t"], "data=NAME"),
        (["protocol=linear"], "did you mean linear-"),
        (["finetune=true", "protocol=linear-online"], "finetune=true contradicts"),
        (["finetune=true", "optimizer.lr=[0.1,1]"], "takes one rate"),
        (["+optimizer.lrr=1"], "unknown key optimizer.lrr"),
        (["optimizer.lr=fast"], "optimizer.lr"),
        (["optimizer.lr=[0.1,0.1]"], "optimizer.lr"),
        (["optimizer.name=adamm"], "adamm"),
        (["mixup=0.5"], "mixup=0.5 is for protocol=finetune"),
        (["auto_augment=true"], "auto_augment"),
        (["data.no_labels=true"], "needs labels"),
        (["seeds=[1,1]"], "seeds"),
        (["seeds=[0,1]", "protocol=linear-features"], "leave seeds out"),
        (["scheduler.name=reduce"], "scheduler.name"),
        (["optimizer.batch_size=4000"], "optimizer.batch_size"),
        (["optimizer.batch_size=1"], "optimizer.batch_size: expected at least 2 with normalise"),
        (["backbone.name=resnet18"], "resnet18"),
        (["data.val_fraction=0"], "no labelled test images"),
        (["max_epochs=0"], "max_epochs"),
        (["resume_from_checkpoint=nowhere.ckpt"], "nowhere.ckpt"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_leaves_no_file(tmp_path, pretrained, overrides, message):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        run_linear(tmp_path, pretrained, *overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["solo-ldm"])
    for arguments, message in (
        ([], "add pretrained_feature_extractor=PATH"),
        (["--config-name", "linear.yaml", "protocol=linear-ofline"], "pretrained_feature"),
        (["pretrained_feature_extractor=x", "optimizer.lrr=1"], "did you mean optimizer.lr?"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["linear", *arguments])
        assert caught.value.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert message in lines[0]
    assert list(tmp_path.iterdir()) == []
