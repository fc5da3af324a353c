"""The nearest-neighbour command as a user meets it: files, numbers, refusals."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from PIL import Image

from solo_ldm.cli import main, run_command
from solo_ldm.commands.knn.schema import complete_knn
from solo_ldm.data import DATASETS
from solo_ldm.data.choice import choose_data
from solo_ldm.run.record import Outcome
from tests.support import ROOT
from tests.support.refusals import assert_refused

DATA = list(DATASETS)

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


def results_of(folder: Path) -> dict:
    assert {path.name for path in folder.iterdir()} == {"results.json", "confusion.png"}
    return json.loads((folder / "results.json").read_text())


def test_a_run_is_scored_beside_itself_as_at_its_end(gaussprob_run, capsys):
    # The run's own batch size: another one rounds features otherwise.
    source = f"pretrained_feature_extractor={gaussprob_run.folder.path}"
    main(["knn", source, "k=[1,20,9999]", "batch_size=64"])
    found = results_of(gaussprob_run.folder.path / "evaluation" / "knn")
    before = gaussprob_run.results["results"]["knn-20"]
    after = found["results"]["knn-20"]
    for key in ("top1", "top5", "confusion", "per_class", "settings", "epoch", "num_train"):
        assert after[key] == before[key]
    assert after["preprocessing"] == before["preprocessing"]
    assert after["ece"] == pytest.approx(before["ece"], abs=1e-5)
    assert after["epoch"] == 4
    assert [row["top1"] for row in found["grid"]] == sorted(
        (row["top1"] for row in found["grid"]), reverse=True
    )
    assert len(found["grid"]) == 4
    assert found["best"]["top1"] == found["grid"][0]["top1"]
    assert "optimistic" in found["best"]["note"]
    assert found["grid_left_out"] == {"k": [9999]}
    assert len(found["source_sha256"]) == 64
    assert {"commit", "hardware", "versions", "seconds", "feature_layer"} <= set(found)
    shown = capsys.readouterr().out
    largest = max(sum(row) for row in before["confusion"])
    assert found["most_frequent_class"] == largest / before["num_test"]
    for words in (
        ", the most frequent class",
        "k = 9999 left out",
        "knn-20",
        "confusion.png",
        "next: solo-ldm linear",
    ):
        assert words in shown


def test_features_may_be_means_over_patches_which_the_record_says(gaussprob_run, tmp_path, capsys):
    source = f"pretrained_feature_extractor={gaussprob_run.folder.path}"
    main(["knn", source, "num_patches=3"])
    # Beside that of whole images and of other patches.
    found = results_of(gaussprob_run.folder.path / "evaluation" / "knn-3-patches-of-0.25")
    layer = "pooled backbone output, mean of 3 patches of 0.25 of the area"
    assert "mean of 3 patches of 0.25" in " ".join(capsys.readouterr().out.split())
    assert found["feature_layer"] == found["results"]["knn-20"]["feature_layer"] == layer
    places = ["patch_share=1", f"output={tmp_path / 'linear'}"]
    main(["linear", source, "protocol=knn-20", "num_patches=2", *places])
    (file,) = (tmp_path / "linear").rglob("results.json")
    of_patches = json.loads(file.read_text())
    # A patch of the whole area is the image itself.
    plain = gaussprob_run.results["results"]["knn-20"]["top1"]
    assert of_patches["top1"] == pytest.approx(plain, abs=0.005)
    assert of_patches["feature_layer"].endswith("mean of 2 patches of 1 of the area")
    capsys.readouterr()
    refused = [
        ([source, "num_patches=2"], "num_patches: expected null for protocol=linear-offline")
    ]
    assert_refused("linear", refused, capsys)
    assert_refused("knn", [([source, "patch_share=0.5"], "expected null without num_p")], capsys)


def test_the_online_classifier_is_scored_with_the_run(gaussprob_run):
    score = gaussprob_run.results["results"]["linear-online"]
    assert score["untrained_top1"] is None
    assert score["epoch"] == 4
    last = gaussprob_run.folder.metrics.read_text().splitlines()
    logged = dict(zip(last[0].split(","), last[-1].split(","), strict=True))
    assert score["top1"] == pytest.approx(float(logged["val_acc1"]), abs=1e-6)


def test_the_script_and_a_grid_without_the_named_setting(gaussprob_run, tmp_path, monkeypatch):
    arguments = [str(gaussprob_run.folder.last), "k=3", "temperature=[0.1,0.2]", "output=out"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["main_knn.py", *arguments])
    runpy.run_path(str(ROOT / "main_knn.py"), run_name="__main__")
    found = results_of(tmp_path / "out")
    assert found["results"] == {}
    assert found["source_kind"] == "checkpoint"
    assert len(found["grid"]) == 3


def test_an_untrained_network_is_scored_on_a_named_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["data=digits", "data.num_workers=0", "+backbone.kwargs.width=8", "k=20"]
    run_command("knn", ["pretrained_feature_extractor=untrained:convnet_small", *arguments])
    found = results_of(tmp_path / "evaluations/convnet_small/digits/knn")
    assert found["epoch"] == 0
    assert found["preprocessing"]["image_size"] == 16
    assert found["results"]["knn-20"]["top1"] > 0.5


def test_a_run_on_other_images_keeps_its_size_and_normalisation(gaussprob_run, tmp_path):
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 99, (24, 24, 3), dtype=np.uint8)
        pixels[..., number % 2] += 150
        place = tmp_path / "images" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
    before = gaussprob_run.folder.path / "evaluation"
    arguments = ["data=custom", f"data.train_path={tmp_path / 'images'}", "data.num_workers=0"]
    run_command(
        "knn", [f"pretrained_feature_extractor={gaussprob_run.folder.path}", *arguments, "k=[1,3]"]
    )
    found = results_of(before / "knn-custom")
    assert found["classes"] == ["a", "b"]
    assert found["preprocessing"]["image_size"] == 16
    assert found["preprocessing"]["mean"] == [0.3053] * 3


@pytest.mark.parametrize("data", DATA)
def test_every_packaged_data_group_can_be_evaluated_on(data):
    overrides = ["pretrained_feature_extractor=timm:x", f"data={data}", "data.train_path=somewhere"]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = complete_knn(compose("knn", overrides=overrides))
    assert cfg.data.dataset == data
    assert cfg.backbone.name is None
    assert choose_data(cfg.data, None).train_path == "somewhere"


def test_the_data_of_the_run_is_used_unless_another_is_given():
    trained_on = {"dataset": "cifar10", "train_path": "here", "fraction": 0.1, "no_labels": True}
    own = choose_data({"dataset": None, "num_workers": 0}, trained_on)
    assert (own.dataset, own.train_path, own.fraction, own.num_workers) == (
        "cifar10",
        "here",
        0.1,
        0,
    )
    assert not own.no_labels
    other = choose_data({"dataset": "svhn"}, trained_on)
    assert (other.dataset, other.train_path, other.fraction) == ("svhn", "./datasets", -1)


def refusals(folder: Path, run: Outcome) -> list[tuple[list[str], str]]:
    flat = folder / "flat"
    flat.mkdir()
    for number in range(3):
        Image.new("RGB", (16, 16)).save(flat / f"{number}.png")
    torch.save({"state_dict": {"backbone.conv1.weight": torch.zeros(64, 3, 7, 7)}}, folder / "x.pt")
    own = f"pretrained_feature_extractor={run.folder.path}"
    fresh = "pretrained_feature_extractor=untrained:convnet_small"
    stranger = f"pretrained_feature_extractor={folder / 'x.pt'}"
    return [
        ([], "missing key pretrained_feature_extractor"),
        (["pretrained_feature_extractor=nowhere"], "got nowhere"),
        (["pretrained_feature_extractor=zoo:x"], "the zoo has no 'x'"),
        ([stranger, "data=digits"], "set backbone.name"),
        ([stranger, "data=digits", "backbone.name=resnet18"], "holds another network"),
        ([own, "backbone.name=resnet18"], "holds convnet_small"),
        ([own, "k=0"], "k: expected a number from 1, got 0"),
        ([own, "k=[]"], "k: expected at least one value"),
        ([own, "k=9999"], "k: expected at most 288"),
        ([own, "k=few"], "few"),
        ([own, "temperature=-1"], "temperature: expected a number above 0"),
        ([own, "distance=manhattan"], "cosine or euclidean"),
        ([own, "batch_size=0"], "batch_size"),
        ([own, "kk=3"], "unknown key kk"),
        ([own, "batchsize=3"], "unknown key batchsize: did you mean batch_size?"),
        ([own, "data.num_worker=3"], "did you mean data.num_workers?"),
        ([own, "+data.num_worker=3"], "did you mean data.num_workers?"),
        ([own, "data=digit"], "digit"),
        ([own, "data=cifar10", "data.train_path=/nowhere"], "/nowhere"),
        ([own, "data.no_labels=true"], "no labelled training images"),
        ([fresh], "give data=NAME"),
        ([fresh, "data=custom", f"data.train_path={flat}"], "no labelled training images"),
    ]


def test_what_cannot_be_evaluated_is_one_line_and_leaves_no_file(
    gaussprob_run, tmp_path, monkeypatch, capsys
):
    cases = refusals(tmp_path, gaussprob_run)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert_refused("knn", cases, capsys)
    assert list(here.iterdir()) == []
