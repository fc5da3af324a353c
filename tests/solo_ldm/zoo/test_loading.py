"""Loading: a published name gives the published model, or one line of why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

from solo_ldm import zoo
from solo_ldm.commands.knn import knn
from solo_ldm.commands.linear import linear
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.data.config import DataConfig, ViewSpec
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.features import extract_features
from solo_ldm.files import sha256_of
from solo_ldm.weights.pretrained import load_pretrained
from solo_ldm.weights.published.entry import WEIGHTS
from solo_ldm.weights.published.manifest import read_manifest, write_manifest
from tests.support.toy import toy_config


def test_a_loaded_model_gives_the_features_that_were_scored(own_zoo):
    model: Any = zoo.load("toy")
    images = load_digits()["images"][:10]  # pyright: ignore
    plain = [np.round(image * 255 / 16).astype(np.uint8) for image in images]
    features = model.features(plain)
    assert features.shape == (10, model.num_features)
    assert not features.requires_grad
    assert not features.is_inference()  # a classifier can be trained on them
    view = ViewSpec(model.image_size, 1, mean=model.mean, std=model.std)
    data = ImageDataModule(
        DataConfig("digits", format="torchvision", num_workers=0), [view], 64, device=None
    )
    expected = extract_features(model.backbone, data.evaluation_dataloader("train")).features
    nearest = torch.cdist(features, expected).min(dim=1).values
    train = nearest < 1e-4  # of the first ten digits those that are in the training part
    assert 4 <= int(train.sum()) <= 10


def test_images_may_be_files_arrays_and_pillows(own_zoo, tmp_path):
    model: Any = zoo.load("zoo:toy")
    array = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(array).save(tmp_path / "image.png")
    forms = [array, Image.fromarray(array), tmp_path / "image.png", str(tmp_path / "image.png")]
    features = model.features(forms)
    assert torch.equal(features, features[:1].expand_as(features))
    with pytest.raises(ValueError, match=r"images: expected a path, .*got float64 \(4, 4\)"):
        model.preprocess(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="at least one, got none"):
        model.preprocess([])


def test_evaluation_takes_zoo_names(own_zoo):
    read = load_pretrained("zoo:toy")
    assert (read.kind, read.method, read.epoch) == ("zoo", "gaussprob", 2)
    assert read.args is not None
    assert read.args["data"]["dataset"] == "digits"


def test_evaluation_commands_take_zoo_names_and_their_data(own_zoo, tmp_path):
    """Without being told which data: those that the model was trained on."""
    published = {one.protocol: one.value for one in read_manifest(own_zoo)["toy"].results}
    weights = "pretrained_feature_extractor=zoo:toy"
    features = ["protocol=linear-features", f"checkpoint.dir={tmp_path}"]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        by_classifier = compose("linear", overrides=[weights, *features])
        by_neighbours = compose("knn", overrides=[weights, f"output={tmp_path}/knn"])
    outcome = linear(by_classifier, Console(quiet=True))
    assert outcome is not None
    assert outcome.results["top1"] == pytest.approx(published["linear-features"], abs=0.01)
    found = knn(by_neighbours, Console(quiet=True)).results["results"]
    assert found["knn-20"]["top1"] == pytest.approx(published["knn-20"], abs=0.01)


def test_training_goes_on_from_the_published_state(own_zoo, tmp_path):
    cfg = toy_config(tmp_path / "on", "seed=1", "resume_from_checkpoint=zoo:toy", "max_epochs=3")
    outcome = pretrain(cfg)
    assert outcome is not None
    lines = outcome.folder.metrics.read_text().splitlines()
    assert len(lines) == 2  # a header and the third epoch


def test_a_zoo_of_ones_own_is_used_in_place_of_the_packages(own_zoo, runs, tmp_path, monkeypatch):
    assert zoo.list() == ["toy"]
    monkeypatch.setenv("SOLO_LDM_ZOO", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"SOLO_LDM_ZOO={tmp_path}: expected a folder with"):
        zoo.list()
    monkeypatch.delenv("SOLO_LDM_ZOO")
    assert "toy" not in zoo.list()


def test_an_unknown_name_suggests_the_nearest(own_zoo):
    with pytest.raises(ValueError, match=r"the zoo has no 'toi': did you mean toy\?"):
        zoo.load("toi")
    with pytest.raises(ValueError, match=r"the zoo has no 'x'; it has toy"):
        load_pretrained("zoo:x")


def test_changed_weights_are_refused(own_zoo):
    path = own_zoo / "weights" / "toy" / WEIGHTS
    weights = load_file(path)
    save_file({key: value * 2 for key, value in weights.items()}, path)
    with pytest.raises(ValueError, match=r"is not the published file: expected .*; restore it"):
        zoo.load("toy")


def test_what_is_no_safetensors_is_refused(own_zoo):
    """Though its hash is right: a file of another kind is never unpickled."""
    path = own_zoo / "weights" / "toy" / WEIGHTS
    torch.save({"state_dict": {}}, path)
    entry = read_manifest(own_zoo)["toy"]
    files = [
        replace(one, sha256=sha256_of(path), size=path.stat().st_size)
        if one.name == WEIGHTS
        else one
        for one in entry.files
    ]
    write_manifest(own_zoo, {"toy": replace(entry, files=files)})
    with pytest.raises(ValueError, match="is no safetensors file"):
        zoo.load("toy")
