"""Damaged weights are refused in one line, whatever happened to them, and are never scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from solo_ldm.backbones import create_backbone
from solo_ldm.files import as_written, weights_written, write_json
from solo_ldm.weights.export import write_backbone
from solo_ldm.weights.pretrained import load_pretrained
from tests.support.damage import faults
from tests.support.refusals import assert_refused

BUILT_BY = {"name": "convnet_small", "image_size": 16, "width": 4}


def write_checkpoint(path: Path, **changes: object) -> None:
    network = create_backbone(**BUILT_BY)
    state = {f"backbone.{key}": value for key, value in network.state_dict().items()}
    classifier = {"classifier.weight": torch.randn(10, 16), "classifier.bias": torch.randn(10)}
    content = {"state_dict": {**state, **classifier}, "epoch": 1, "callbacks": {"TrainingClock": 1}}
    torch.save({**content, **changes}, path)


@pytest.fixture
def run(tmp_path) -> Path:
    """What a run leaves, but for its training."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    write_backbone(folder / "backbone.safetensors", create_backbone(**BUILT_BY), BUILT_BY)
    write_checkpoint(folder / "checkpoints" / "last.ckpt")
    kwargs = {"width": 4}
    args = {"backbone": {"name": "convnet_small", "kwargs": kwargs}, "method": "x", "max_epochs": 2}
    view = {"crop_size": 16, "mean": [0.5] * 3, "std": [0.2] * 3}
    write_json(folder / "args.json", {**args, "augmentations": [view]})
    write_json(folder / "results.json", {"top1": 0.5, **weights_written(folder)})
    return folder


def spoil(path: Path, value: float | None = None, all_of_them: bool = False) -> None:
    """Flip a bit of the weights, or set one or all weights to a value."""
    if value is None:
        content = bytearray(path.read_bytes())
        content[2 * len(content) // 3] ^= 0x40
        path.write_bytes(content)
        return
    weights = load_file(path)
    floats = [one for one in weights.values() if one.is_floating_point()]
    for one in floats if all_of_them else floats[:1]:
        one.view(-1)[: None if all_of_them else 1] = value
    save_file(weights, path, {"backbone": json.dumps(BUILT_BY)})


def test_weights_other_than_its_run_wrote_are_not_exported(run, tmp_path, capsys):
    backbone, out = run / "backbone.safetensors", tmp_path / "out.safetensors"
    good = backbone.read_bytes()
    for change in ({}, {"value": float("nan")}, {"value": 0.0, "all_of_them": True}):
        spoil(backbone, **change)
        said = "is not the file that its run wrote: results.json expects sha256"
        assert_refused("export", [([str(one), str(out)], said) for one in (run, backbone)], capsys)
        backbone.write_bytes(good)
    backbone.unlink()
    spoil(run / "checkpoints" / "last.ckpt")
    assert_refused("export", [([str(run), str(out)], "last.ckpt is not the file that")], capsys)
    assert not out.exists()


def test_weights_without_a_digest_load_if_they_are_good_and_are_refused_if_they_cannot_be(run):
    (run / "results.json").unlink()
    backbone, last = run / "backbone.safetensors", run / "checkpoints" / "last.ckpt"
    assert load_pretrained(run).classifier is not None
    spoil(last)
    with pytest.raises(ValueError, match=r"last.ckpt is damaged: .* does not match its checksum"):
        load_pretrained(run)
    last.unlink()
    for value in (float("nan"), float("inf")):
        spoil(backbone, value)
        with pytest.raises(ValueError, match=r"is damaged: 1 of \d+ weights are not finite, first"):
            load_pretrained(run)
        spoil(backbone, 0.5)
    assert load_pretrained(run).kind == "run"
    for value in (0.0, 1.0):
        spoil(backbone, value, all_of_them=True)
        with pytest.raises(ValueError, match=r"is damaged: each of its \d+ weights is constant"):
            load_pretrained(run)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("[]", "expected keys and values as backbone in the metadata, got"),
        ("{", "expected keys and values as backbone in the metadata, got {;"),
        ('{"name": 3, "image_size": 16}', "expected name and image_size of the backbone"),
        ('{"name": "convnet_small"}', "expected name and image_size of the backbone"),
        (json.dumps({**BUILT_BY, "width": "many"}), "convnet_small|width"),
    ],
)
def test_metadata_of_another_shape_are_one_line(run, metadata, said):
    path = run.parent / "other.safetensors"
    save_file(load_file(run / "backbone.safetensors"), path, {"backbone": metadata})
    with pytest.raises(ValueError, match=said) as error:
        load_pretrained(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"state_dict": [1]},
        {"state_dict": {1: torch.ones(2)}},
        {"state_dict": {"backbone.x": "text", "classifier.weight": 3}},
        {"state_dict": {}},
        {"callbacks": [], "epoch": "many", "loops": {"fit_loop": 3}, "state_dict": None},
        {"hyper_parameters": {"cfg": {"backbone": [1], "augmentations": [{"mean": "grey"}]}}},
    ],
)
def test_checkpoints_of_another_shape_are_one_line(tmp_path, changes):
    path = tmp_path / "other.ckpt"
    write_checkpoint(path, **changes)
    with pytest.raises(ValueError, match=r"other.ckpt|backbone: expected name") as error:
        load_pretrained(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [2, pytest.param(None, marks=pytest.mark.slow)])
def test_a_damaged_file_of_a_run_is_one_line(run, count):
    good = {key: value.clone() for key, value in load_pretrained(run).backbone.state_dict().items()}

    def same(found):
        state = found.backbone.state_dict()
        return all(torch.equal(state[key], value) for key, value in good.items())

    def read(path: Path):
        return load_pretrained(run)

    wrong = []
    older = run.parent / "older"
    shutil.copytree(run, older)
    (older / "results.json").unlink()
    for number, name in enumerate(
        ("backbone.safetensors", "checkpoints/last.ckpt", "args.json", "results.json")
    ):
        found = faults(run / name, read, number, count, 24, same)
        wrong += [f"{name}, {one}" for one in found]
    # Without a digest: safetensors has no checksums, so that its weights may differ.
    found = faults(older / "backbone.safetensors", load_pretrained, 5, count, 24)
    (older / "backbone.safetensors").unlink()
    found += faults(older / "checkpoints" / "last.ckpt", load_pretrained, 6, count, 24)
    found += faults(older / "args.json", lambda path: load_pretrained(older), 7, count, 24)
    wrong += [f"older, {one}" for one in found]
    assert not wrong, "\n".join(wrong)


def test_what_is_read_of_a_file_of_another_shape_names_the_file():
    said = r"^r.json is not as solo-ldm writes it .KeyError: 'top1'"
    with pytest.raises(ValueError, match=said), as_written(Path("r.json")):
        _ = {}["top1"]
