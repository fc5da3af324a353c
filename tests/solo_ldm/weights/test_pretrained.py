"""Weights of any origin: what is read, what is refused, and that no code of a file runs."""

from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path

import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import nn

from solo_ldm.backbones import create_backbone, load_backbone
from solo_ldm.cli import main
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.run.folder import RunFolder
from solo_ldm.weights.export import export_backbone
from solo_ldm.weights.pretrained import load_pretrained
from tests.support.toy import toy_config

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

IMAGES = torch.linspace(-2, 2, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
SOLO_LEARN_ARGS = {
    "method": "simclr",
    "backbone": {"name": "resnet18", "kwargs": {"layers": [1, 1, 1, 1]}},
    "data": {"dataset": "cifar10", "num_classes": 10},
    "augmentations": [{"crop_size": 32, "num_crops": 2}],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    outcome = pretrain(toy_config(tmp_path_factory.mktemp("runs"), "evaluation.protocols=[]"))
    assert outcome is not None
    return outcome.folder


SHALLOW = {"backbone_name": "resnet18", "backbone_kwargs": {"layers": [1, 1, 1, 1]}}


@functools.cache
def shallow_resnet(stem: str) -> nn.Module:
    """A ResNet that no initialisation gives."""
    backbone = create_backbone("resnet18", image_size=32, stem=stem, layers=[1, 1, 1, 1])
    for value in backbone.state_dict().values():
        if value.is_floating_point():
            value.add_(0.01 * torch.rand_like(value))
    return backbone.eval()


def solo_learn_checkpoint(path: Path, stem: str = "solo-learn", **content: object) -> dict:
    """Write a checkpoint as Lightning does for solo-learn; return its backbone's weights."""
    backbone = shallow_resnet(stem)
    weights = {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
    state = {
        **weights,
        "momentum_backbone.conv1.weight": torch.zeros(64, 3, 3, 3),
        "classifier.weight": torch.randn(10, 512),
        "classifier.bias": torch.randn(10),
        "projector.0.weight": torch.randn(4, 512),
    }
    torch.save({"epoch": 99, "global_step": 5, "state_dict": state, **content}, path)
    return backbone.state_dict()


def test_a_run_its_checkpoint_and_its_safetensors_hold_the_same_network(run, tmp_path):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run.path, unfinished)
    (unfinished / "backbone.safetensors").unlink()
    (unfinished / "results.json").unlink()
    expected = load_backbone(run.backbone)(IMAGES)
    for source, kind in (
        (run.path, "run"),
        (unfinished, "run"),
        (run.last, "checkpoint"),
        (run.backbone, "safetensors"),
    ):
        found = load_pretrained(source)
        assert torch.equal(found.backbone(IMAGES), expected)
        assert not found.backbone.training
        assert (found.kind, found.epoch, found.method) == (kind, 2, "gaussprob")
        assert (found.image_size, found.mean, found.std) == (16, (0.3053,) * 3, (0.3759,) * 3)


def test_a_run_and_its_checkpoint_bring_the_online_classifier(run):
    state = torch.load(run.last, weights_only=True)["state_dict"]
    for source in (run.path, run.last):
        classifier = load_pretrained(source).classifier
        assert classifier is not None
        assert torch.equal(classifier.weight, state["classifier.weight"])
    assert load_pretrained(run.backbone).classifier is None


@pytest.mark.parametrize("where", ["args beside", "stored", "given"])
def test_a_solo_learn_checkpoint_loads_with_its_own_stem(tmp_path, where):
    path = tmp_path / "simclr-cifar10-abc-ep=99.ckpt"
    stored = {"hyper_parameters": {"cfg": OmegaConf.create(SOLO_LEARN_ARGS)}}
    weights = solo_learn_checkpoint(path, **(stored if where == "stored" else {}))
    if where == "args beside":
        (tmp_path / "args.json").write_text(json.dumps(SOLO_LEARN_ARGS))
    found = load_pretrained(path, **(SHALLOW if where == "given" else {}))
    assert all(
        torch.equal(value, weights[key]) for key, value in found.backbone.state_dict().items()
    )
    assert (found.kind, found.epoch, found.image_size) == ("solo-learn", 100, 32)
    assert found.mean is None
    assert found.method == (None if where == "given" else "simclr")
    assert found.classifier is not None
    # solo-learn pads its 3×3 stem by two: 32 pixels become 34.
    assert found.backbone.get_submodule("conv1")(torch.zeros(1, 3, 32, 32)).shape[-1] == 34


def test_older_names_and_the_newest_of_a_folder_are_understood(tmp_path):
    args = {"encoder": "resnet18", "method": "byol", "crop_size": 96}
    (tmp_path / "args.json").write_text(json.dumps(args))
    for epoch in (99, 100):
        path = tmp_path / f"byol-ep={epoch}.ckpt"
        solo_learn_checkpoint(path, stem="large")
        content = torch.load(path, weights_only=True)
        content["state_dict"] = {
            key.replace("backbone", "encoder"): value
            for key, value in content["state_dict"].items()
        }
        torch.save({**content, "epoch": epoch}, path)
    found = load_pretrained(tmp_path, backbone_kwargs=SHALLOW["backbone_kwargs"])
    assert (found.epoch, found.method, found.image_size) == (101, "byol", 96)
    assert found.built_by["stem"] == "large"


def explode(target: Path) -> None:
    target.write_text("bang")


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return explode, (self.target,)


class Shell:
    def __reduce__(self) -> tuple:
        return os.system, ("true",)


def test_no_code_of_a_checkpoint_runs(tmp_path):
    path, target = tmp_path / "model.ckpt", tmp_path / "bang"
    solo_learn_checkpoint(path, hyper_parameters={"x": Bomb(target)})
    assert load_pretrained(path, **SHALLOW).kind == "solo-learn"
    assert not target.exists()
    solo_learn_checkpoint(path, hyper_parameters={"x": Shell()})
    with pytest.raises(ValueError, match=r"cannot be read as a checkpoint .*blocked"):
        load_pretrained(path, **SHALLOW)


def broken_sources(folder: Path, run: RunFolder) -> dict[str, tuple[Path | str, dict, str]]:
    folder.mkdir(exist_ok=True)
    nameless, garbage = folder / "nameless.ckpt", folder / "garbage.ckpt"
    solo_learn_checkpoint(nameless)
    garbage.write_bytes(b"garbage")
    torch.save({"state_dict": {"w": torch.zeros(1)}}, folder / "other.ckpt")
    torch.save(torch.zeros(1), folder / "tensor.pt")
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("notes")
    save_file({"w": torch.zeros(1)}, folder / "other.safetensors")
    return {
        "missing": (folder / "none", {}, "no file or folder at"),
        "name": ("resnet18", {}, "give timm:resnet18"),
        "zoo": ("zoo:ldm", {}, "the zoo has no 'ldm'"),
        "timm": ("timm:resnet-18", {}, "did you mean resnet18"),
        "empty": (folder / "empty", {}, "holds no weights"),
        "text": (folder / "notes.txt", {}, "ends in .txt"),
        "nameless": (nameless, {}, "set backbone.name"),
        "wrong name": (nameless, {"backbone_name": "resnet50"}, "expected (64, 64, 1, 1)"),
        "wrong run": (run.path, {"backbone_name": "resnet50"}, "holds convnet_small"),
        "garbage": (garbage, {}, "cannot be read as a checkpoint"),
        "no backbone": (folder / "other.ckpt", {}, "holds no backbone"),
        "tensor": (folder / "tensor.pt", {}, "expected a mapping"),
        "safetensors": (folder / "other.safetensors", {}, "no run of ours"),
    }


def test_a_source_that_cannot_be_used_is_one_line(run, tmp_path):
    for name, (source, options, message) in broken_sources(tmp_path / "x", run).items():
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            load_pretrained(source, **options)
        assert message in str(caught.value), name
        assert "\n" not in str(caught.value), name


def test_timm_brings_its_size_and_normalisation_and_a_failed_download_is_one_line(monkeypatch):
    real = timm.create_model

    def offline(name: str, pretrained: bool = False, **kwargs: object) -> object:
        if pretrained:
            raise OSError("the hub\ncannot be reached")
        return real(name, **kwargs)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ValueError, match="could not be fetched \\(the hub\\)") as caught:
        load_pretrained("timm:resnet18")
    assert "\n" not in str(caught.value)

    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **k: real(name, **k))
    found = load_pretrained("timm:resnet18", image_size=32)
    assert (found.kind, found.image_size) == ("timm", 32)
    assert found.mean == pytest.approx((0.485, 0.456, 0.406))
    # Weights for the 7×7 stem stay with it, whatever the size of the images.
    assert found.backbone.get_submodule("conv1").kernel_size == (7, 7)


def test_an_unknown_stem_is_one_line():
    with pytest.raises(ValueError, match="small, large, solo-learn, got 'tiny'"):
        create_backbone("resnet18", image_size=32, stem="tiny")


def test_an_untrained_network_is_a_source():
    found = load_pretrained("untrained:convnet_small", backbone_kwargs={"width": 8}, image_size=16)
    assert (found.kind, found.epoch) == ("untrained", 0)
    assert found.backbone(IMAGES).shape == (2, 32)


@pytest.mark.parametrize("kind", ["run", "solo-learn", "large"])
def test_an_exported_backbone_gives_the_same_features_bit_for_bit(run, tmp_path, kind):
    source = run.path
    if kind != "run":
        source = tmp_path / "model.ckpt"
        solo_learn_checkpoint(source, stem=kind)
        (tmp_path / "args.json").write_text(json.dumps(SOLO_LEARN_ARGS))
    path = export_backbone(source, tmp_path / "out" / "model.safetensors")
    expected = load_pretrained(source).backbone(IMAGES)
    again = load_pretrained(path)
    assert torch.equal(load_backbone(path)(IMAGES), expected)
    assert torch.equal(again.backbone(IMAGES), expected)
    assert (again.epoch, again.method) == ((2, "gaussprob") if kind == "run" else (100, "simclr"))
    if kind == "large":
        plain = timm.create_model(
            "resnet18", num_classes=0, layers=[1, 1, 1, 1], checkpoint_path=str(path)
        )
        assert torch.equal(plain.eval()(IMAGES), expected)


def test_export_is_a_command_and_narrows_the_weights(run, tmp_path, capsys):
    path = tmp_path / "half.safetensors"
    main(["export", str(run.path), str(path), "--dtype", "float16"])
    stored = load_file(path)
    assert {value.dtype for value in stored.values()} == {torch.float16, torch.int64}
    assert str(path) in capsys.readouterr().out
    for arguments, message in (
        ([str(run.path), str(tmp_path / "x.ckpt")], "ends in .safetensors"),
        ([str(tmp_path / "none"), str(path)], "WEIGHTS: expected a path that exists"),
        ([str(run.path), str(path), "--dtype", "int8"], "invalid choice: 'int8'"),
        ([str(run.path)], "required: PATH"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["export", *arguments])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
