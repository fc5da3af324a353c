"""Linear evaluations: the four protocols, solo-learn's files, interruptions, bad input."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir, initialize_config_module
from PIL import Image
from safetensors.torch import load_file

from solo_ldm.backbones import create_backbone, load_backbone
from solo_ldm.cli import main
from solo_ldm.commands.linear import linear
from solo_ldm.commands.linear.evaluation import fitting_batch_size
from solo_ldm.commands.linear.model import LinearModel
from solo_ldm.commands.linear.schema import PROTOCOLS, complete_linear
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.data import DataConfig, parse_augmentations
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.features import extract_features
from solo_ldm.evaluation.scores import evaluate
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome
from tests.support import ROOT
from tests.support.toy import toy_config

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A short run on a fifth of the digits."""
    outcome = pretrain(toy_config(tmp_path_factory.mktemp("runs"), "max_epochs=4"))
    assert outcome is not None
    return outcome.folder


def linear_config(folder: Path, source: Path | str, *overrides: str):
    small = [f"pretrained_feature_extractor={source}", f"checkpoint.dir={folder}", "max_epochs=2"]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return compose("linear", overrides=[*small, *overrides])


def run(folder: Path, source: RunFolder | str, *overrides: str) -> Outcome:
    where = source.path if isinstance(source, RunFolder) else source
    outcome = linear(linear_config(folder, where, *overrides))
    assert outcome is not None
    return outcome


def images_of(pretrained: RunFolder) -> ImageDataModule:
    args = json.loads(pretrained.args.read_text())
    return ImageDataModule(DataConfig(**args["data"]), args["augmentations"], 64)


FILES = {
    "linear-features": {"args.json", "results.json", "confusion.png"},
    "linear-online": {"args.json", "results.json", "confusion.png", "classifier.safetensors"},
}
TRAINED_FILES = FILES["linear-online"] | {"metrics.csv", "checkpoints"}
FILES |= {
    "linear-offline": TRAINED_FILES,
    "finetune": TRAINED_FILES | {"backbone.safetensors"},
}
PROMISED = (
    "protocol settings epoch feature_layer preprocessing top1 top5 ece interval per_class "
    "confusion num_train num_test seconds seed seeds source source_sha256 data_backend hardware "
    "versions commit finished dataset backbone pretrain_method"
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_leaves_everything_it_promises(tmp_path, capsys, pretrained, protocol):
    outcome = run(tmp_path, pretrained, f"protocol={protocol}")
    assert outcome.folder.path.parent == tmp_path / "linear"
    assert {path.name for path in outcome.folder.path.iterdir()} == FILES[protocol]
    results = json.loads(outcome.folder.results.read_text())
    assert set(PROMISED.split()) <= set(results)
    assert (results["protocol"], results["epoch"]) == (protocol, 4)
    assert results["num_test"] == np.sum(results["confusion"]) == 359
    hits, low_high = results["top1"] * 359, results["interval"]
    assert hits == pytest.approx(np.trace(results["confusion"]))
    assert low_high[0] < results["top1"] < low_high[1]
    assert list(results["per_class"]) == [str(digit) for digit in range(10)]
    assert results["preprocessing"]["mean"] == pytest.approx([0.3053] * 3)
    shown = capsys.readouterr().out
    assert f"{results['top1']:.4f}" in shown
    assert "next: solo-ldm" in shown


def test_linear_features_is_the_named_protocol_on_the_same_images(tmp_path, pretrained):
    results = run(tmp_path, pretrained, "protocol=linear-features").results
    backbone, data = load_backbone(pretrained.backbone), images_of(pretrained)
    train, test = (
        extract_features(backbone, data.evaluation_dataloader(s)) for s in ("train", "val")
    )
    assert results["top1"] == evaluate("linear-features", train, test).top1


def test_the_online_classifier_scores_what_it_scored_at_the_end_of_pretraining(
    tmp_path, pretrained
):
    results = run(tmp_path, pretrained, "protocol=linear-online").results
    with pretrained.metrics.open(newline="") as stream:
        last = list(csv.DictReader(stream))[-1]
    assert results["top1"] == pytest.approx(float(last["val_acc1"]), abs=1e-6)


def test_a_linear_classifier_learns_on_frozen_features(tmp_path, pretrained):
    outcome = run(tmp_path, pretrained, "max_epochs=15")
    assert outcome.results["top1"] > 0.6
    # It can be used without us: the stored weights give the stored score.
    weights = load_file(outcome.folder.classifier)
    features, labels = extract_features(
        load_backbone(pretrained.backbone), images_of(pretrained).evaluation_dataloader("val")
    )
    centred = (features - weights["norm.running_mean"]) / (
        weights["norm.running_var"] + 1e-5
    ).sqrt()
    logits = centred @ weights["linear.weight"].T + weights["linear.bias"]
    top1 = (logits.argmax(dim=1) == labels).double().mean().item()
    assert top1 == pytest.approx(outcome.results["top1"], abs=1.5 / 359)


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
    outcome = run(tmp_path, pretrained, "finetune=true", "optimizer.backbone_lr_scale=0.5")
    old, new = load_file(pretrained.backbone), load_file(outcome.folder.backbone)
    assert old.keys() == new.keys()
    assert any(not torch.equal(old[key], new[key]) for key in old)
    again = run(tmp_path, str(outcome.folder.backbone), "protocol=linear-features", "data=digits")
    assert again.results["source_sha256"] != outcome.results["source_sha256"]


def test_the_rate_of_the_backbone_is_a_share_of_the_classifiers(pretrained):
    model = model_of(pretrained, "finetune=true", "optimizer.backbone_lr_scale=0.25")
    model.cfg.scheduler.name = "none"
    rates = {group["name"]: group["lr"] for group in model.configure_optimizers().param_groups}
    assert rates == pytest.approx({"classifier-0": 0.1, "backbone": 0.025})


def test_rates_are_for_256_images_a_step(tmp_path, pretrained):
    results = run(tmp_path, pretrained, "optimizer.lr=0.4", "optimizer.batch_size=64").results
    assert results["settings"]["lr"] == 0.4
    assert results["settings"]["lr_of_a_step"] == pytest.approx(0.1)
    assert results["settings"]["optimizer"]["kwargs"]["momentum"] == 0.9


def test_several_rates_train_as_each_would_alone_and_held_out_images_choose(tmp_path, pretrained):
    results = run(tmp_path, pretrained, "optimizer.lr=[1e-6,0.3]", "max_epochs=3").results
    settings = results["settings"]
    # 288 digits: 29 choose.
    assert (results["num_train"], settings["num_held_out"]) == (259, 29)
    assert settings["lr"] == 0.3
    slow, fast = settings["lr_held_out_top1"]
    assert slow < fast


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from solo_ldm.commands.linear import linear
from tests.solo_ldm.commands.linear.test_linear_command import linear_config

look = StopAtNonFinite.on_train_batch_end

def die(self, trainer, *rest):
    look(self, trainer, *rest)
    if trainer.global_step == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

StopAtNonFinite.on_train_batch_end = die
linear(linear_config(Path(sys.argv[2]), *sys.argv[3:4], *sys.argv[5:]))
"""


@pytest.mark.parametrize(
    ("protocol", "more"), [("linear-offline", "optimizer.lr=[0.1,0.3]"), ("finetune", "mixup=0.2")]
)
def test_killed_and_started_again_gives_the_same_weights_bit_for_bit(
    tmp_path, pretrained, protocol, more
):
    settings = [f"protocol={protocol}", "max_epochs=3", "optimizer.batch_size=64", more]
    whole = run(tmp_path / "whole", pretrained, *settings)
    # 4 steps an epoch: step 6 is in the middle of the second.
    arguments = [str(ROOT), str(tmp_path / "killed"), str(pretrained.path), "6"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments, *settings], capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = run(tmp_path / "killed", pretrained, *settings)
    assert len(list((tmp_path / "killed" / "linear").iterdir())) == 1
    for name in ("classifier", "backbone") if protocol == "finetune" else ("classifier",):
        expected, actual = (load_file(getattr(one.folder, name)) for one in (whole, resumed))
        assert all(torch.equal(expected[key], actual[key]) for key in expected)
    assert whole.results["confusion"] == resumed.results["confusion"]


def test_a_checkpoint_of_a_frozen_backbone_holds_the_classifier_alone(tmp_path, pretrained):
    folder = run(tmp_path, pretrained).folder
    state = torch.load(folder.last, weights_only=True)["state_dict"]
    assert state
    assert all(key.startswith("classifiers.0.") for key in state)


def test_seeds_report_their_mean_and_finished_ones_are_not_trained_again(
    tmp_path, pretrained, monkeypatch
):
    outcome = run(tmp_path, pretrained, "seeds=[0,1]")
    several = outcome.results["seeds"]
    assert several["top1_mean"] == pytest.approx(np.mean(several["top1"]))
    assert several["top1_std"] == pytest.approx(np.std(several["top1"], ddof=1))
    weights = [load_file(outcome.folder.path / f"seed-{n}/classifier.safetensors") for n in (0, 1)]
    assert not torch.equal(weights[0]["linear.weight"], weights[1]["linear.weight"])
    outcome.folder.results.unlink()

    def refuse(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr("solo_ldm.commands.linear.training.train", refuse)
    assert run(tmp_path, pretrained, "seeds=[0,1]").results["seeds"] == several


def test_other_weights_are_another_run_and_the_same_weights_elsewhere_are_not(tmp_path, pretrained):
    first = run(tmp_path / "a", pretrained, "protocol=linear-features")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(pretrained.backbone.read_bytes())
    same = ["protocol=linear-features", "data=digits", "data.fraction=0.2", "data.num_workers=0"]
    second = run(tmp_path / "b", str(copy), *same)
    assert first.results["source_sha256"] == second.results["source_sha256"]
    assert first.folder.path.name == second.folder.path.name
    third = run(tmp_path / "c", "untrained:convnet_small", *same)
    assert third.results["source_sha256"] != first.results["source_sha256"]


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


def make_images(folder: Path, classes: int, each: int) -> Path:
    generator = np.random.default_rng(0)
    for label in range(classes):
        place = folder / f"class{label}"
        place.mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


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
        (["backbone.name=resnet18"], "resnet18"),
        (["data.val_fraction=0"], "validation"),
        (["max_epochs=0"], "max_epochs"),
        (["resume_from_checkpoint=nowhere.ckpt"], "nowhere.ckpt"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_leaves_no_file(tmp_path, pretrained, overrides, message):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        run(tmp_path, pretrained, *overrides)
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


def test_an_online_classifier_is_asked_for_only_where_there_is_one_that_fits(tmp_path, pretrained):
    online = ["protocol=linear-online", "data.num_workers=0"]
    with pytest.raises(ValueError, match="holds no classifier"):
        run(tmp_path, str(pretrained.backbone), *online)
    images = make_images(tmp_path / "images", 3, 8)
    with pytest.raises(ValueError, match="knows 10 classes, custom has 3"):
        run(tmp_path, pretrained, *online, "data=custom", f"data.train_path={images}")


def test_images_of_one_class_or_without_labels_are_refused(tmp_path, pretrained):
    for classes in (1, 2):
        images = make_images(tmp_path / str(classes), classes, 30)
        given = ["data=custom", f"data.train_path={images}", "data.num_workers=0"]
        if classes == 1:
            with pytest.raises(ValueError, match="class"):
                run(tmp_path / "runs", pretrained, *given)
        else:
            results = run(tmp_path / "runs", pretrained, *given).results
            assert results["top5"] is None
    flat = images / "class0"
    with pytest.raises(ValueError, match="class"):
        run(tmp_path / "runs", pretrained, "data=custom", f"data.train_path={flat}")


@pytest.mark.parametrize(("count", "batch"), [(50000, 256), (5120, 256), (1438, 64), (30, 16)])
def test_the_batch_leaves_steps_enough(count, batch):
    assert fitting_batch_size(count) == batch


@pytest.mark.parametrize(
    "overrides",
    [
        ("precision=bf16-mixed",),
        ("optimizer.name=lars", "normalise_features=false"),
        ("scheduler.name=warmup_cosine", "scheduler.warmup_epochs=1"),
        ("label_smoothing=0.1", "accumulate_grad_batches=2"),
        ("finetune=true", "cutmix=1.0", "label_smoothing=0.1", "checkpoint.enabled=false"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_training_options_train(tmp_path, pretrained, overrides):
    folder = run(tmp_path, pretrained, *overrides).folder
    with folder.metrics.open(newline="") as stream:
        losses = [float(row["train_class_loss"]) for row in csv.DictReader(stream)]
    assert np.isfinite(losses).all()


def test_layers_of_a_finetuned_transformer_learn_the_slower_the_lower(tmp_path):
    source = ["pretrained_feature_extractor=untrained:vit_tiny_patch16_224", "data=digits"]
    cfg = complete_linear(
        linear_config(tmp_path, "x", *source, "finetune=true", "optimizer.layer_decay=0.5")
    )
    cfg.scheduler.name = "none"
    backbone = create_backbone("vit_tiny_patch16_224", 32, depth=2)
    groups = LinearModel(cfg, backbone, 192, 10, [0.1]).configure_optimizers().param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    first, last = (rates[id(block.attn.qkv.weight)] for block in backbone.blocks)
    assert first == pytest.approx(last / 2)
