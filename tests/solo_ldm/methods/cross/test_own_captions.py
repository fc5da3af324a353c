"""Runs of image and text on a table of a user's own."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from PIL import Image

import solo_ldm
from solo_ldm.cli import main, run_command
from solo_ldm.commands.compare.entries import prepare_entries
from solo_ldm.commands.compare.schema import complete_compare
from solo_ldm.files import read_json
from solo_ldm.run.configuration import complete_with_images
from tests.support.methods.cross import run
from tests.support.refusals import assert_refused

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

PROTOCOLS = "evaluation.protocols=[zero-shot,retrieval,knn-20]"


@pytest.fixture
def table(tmp_path):
    """A CSV of forty small images with captions, in two classes."""
    rng = np.random.default_rng(0)
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "label"])
        for number in range(40):
            kind = number % 2
            pixels = rng.integers(0, 60, (20, 20, 3)) + 150 * np.array([kind, 0, 1 - kind])
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{number}.png")
            colour = ("blue", "red")[kind]
            writer.writerow([f"{number}.png", f"a {colour} square, number {number}", colour])
    return tmp_path / "captions.csv"


def test_a_table_of_ones_own_needs_its_path_alone(table, tmp_path):
    overrides = [f"data.train_path={table}", "data.format=torchvision"]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = complete_with_images(compose("clip", overrides=overrides))
    assert (cfg.data.dataset, cfg.backbone.name) == ("captions", "resnet18")
    assert (cfg.name, cfg.augmentations[0].crop_size) == ("clip-captions", 224)
    assert len(cfg.augmentations) == 1


def test_what_is_given_with_a_table_of_ones_own_stays(table, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("solo_ldm.commands.pretrain.run.run", lambda cfg, *_: seen.append(cfg))
    (tmp_path / "mine.yaml").write_text(
        f"defaults: [clip, _self_]\ndata: {{train_path: {table}}}\n"
        "backbone: {name: convnet_small}\n"
    )
    place, small = f"data.train_path={table}", "backbone.name=convnet_small"
    clip = ["--config-name", "clip", place]
    run_command("pretrain", [*clip, small, "augmentations=digits"])
    run_command("pretrain", ["--config-path", str(tmp_path), "--config-name", "mine"])
    with pytest.raises(RuntimeError):  # as nothing was trained
        solo_ldm.pretrain("clip", backbone={"name": "convnet_small"}, **dict([place.split("=")]))
    for cfg in seen:
        assert (cfg.data.dataset, cfg.backbone.name) == ("captions", "convnet_small")
        assert cfg.name == "clip-captions"
    assert [cfg.augmentations[0].crop_size for cfg in seen] == [16, 224, 224]
    run_command("pretrain", clip)
    assert seen[-1].backbone.name == "resnet18"


def test_a_comparison_is_of_the_table_of_ones_own(table):
    small = ["augmentations=digits", "data.fraction=-1", "optimizer.batch_size=8"]
    small += ["backbone.name=convnet_small", "method_kwargs.text.width=16"]
    given = {"methods": ["clip", "siglip"], "seeds": [0, 1]}
    given["overrides"] = [*small, f"data.train_path={table}"]
    first, second = prepare_entries(complete_compare(OmegaConf.create(given)))
    for cfg in (*first.runs.values(), *second.runs.values()):
        assert (cfg.data.dataset, cfg.data.train_path) == ("captions", str(table))
        assert cfg.augmentations[0].crop_size == 16
    assert first.runs[1].name == "clip-captions-seed1"
    assert first.data is second.data
    given["overrides"] = ["data.train_path=photographs"]
    given["methods"] = ["mae"]
    with pytest.raises(ValueError, match="expected none for data=digits, which is embedded"):
        prepare_entries(complete_compare(OmegaConf.create(given)))


def test_paths_that_embedded_images_would_ignore_are_refused(tmp_path, capsys):
    mae, clip = (["--config-name", name, f"output={tmp_path}"] for name in ("mae", "clip"))
    told = "expected none for data=digits, which is embedded, got photographs; set data=image_fold"
    cases = [
        ([*mae, "data.train_path=photographs"], f"data.train_path: {told}"),
        ([*mae, "data.val_path=photographs"], f"data.val_path: {told}"),
        ([*clip, "data.val_path=b.csv"], "for data=digits_captions, which is embedded, got b.csv"),
    ]
    assert_refused("pretrain", cases, capsys)


def test_names_of_another_number_of_classes_are_refused_before_training(tmp_path):
    names = "method_kwargs.class_names=[a,b]"
    with pytest.raises(ValueError, match=r"^method_kwargs\.class_names: expected 10, .* got 2"):
        run(tmp_path, names)
    assert not any(tmp_path.iterdir())


def test_a_table_of_ones_own_is_trained_on_and_scored(table, tmp_path, capsys):
    small = ["data.fraction=-1", "optimizer.batch_size=8", "data=captions", "augmentations=digits"]
    small += ["backbone.name=convnet_small", f"data.train_path={table}", "max_epochs=1"]
    small += ["method_kwargs.text.context=6"]
    protocols = "evaluation.protocols=[zero-shot,retrieval]"
    outcome = run(tmp_path / "runs", *small, protocols, "scheduler.warmup_epochs=0")
    results = read_json(outcome.folder.results)
    assert results["results"]["zero-shot"]["num_test"] == 8
    assert results["results"]["zero-shot"]["settings"]["class_names"] == ["blue", "red"]
    assert results["retrieval"]["num_texts"] == 8
    assert results["dataset"] == "captions"
    assert "text.context: 32 of 32 captions are cut to 6 tokens" in capsys.readouterr().out


def test_without_classes_retrieval_alone_is_scored(table, tmp_path, capsys):
    small = ["data.fraction=-1", "optimizer.batch_size=8", "data=captions", "augmentations=digits"]
    small += ["backbone.name=convnet_small", f"data.train_path={table}", "max_epochs=1"]
    small += ["data.no_labels=true", "scheduler.warmup_epochs=0"]
    outcome = run(tmp_path / "runs", *small, PROTOCOLS)
    results = read_json(outcome.folder.results)
    assert results["results"] == {}
    assert results["num_classes"] == 0
    assert results["retrieval"]["num_images"] == 8
    told = "zero-shot: not scored, as there are no held-out images with labels"
    assert (said := capsys.readouterr().out).count(told) == 1
    assert f"next: solo-ldm zeroshot {outcome.folder.path} 'protocols=[retrieval]'" in said
    main(["zeroshot", str(outcome.folder.path), "prompts=['a {}']", "class_names=[a,b]"])
    assert f"{told}; not used: prompts, class_names" in capsys.readouterr().out
    case = [str(outcome.folder.path), "protocols=[zero-shot]"]
    lacking = "expected held-out images with labels, got 8 without; protocols=[retrieval] needs"
    assert_refused("zeroshot", [(case, lacking)], capsys)
