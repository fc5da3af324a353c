"""Runs: what they leave behind, and that an interruption changes nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_sample_images

from solo_ldm.backbones import load_backbone
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.data.backends.choice import dali_installed
from solo_ldm.files import write_atomically
from solo_ldm.run.callbacks.finite import NonFiniteLossError
from solo_ldm.run.callbacks.health import CollapseWarning
from solo_ldm.run.configuration import complete
from solo_ldm.run.folder import RunFolder, identity
from solo_ldm.run.record import Outcome
from tests.support.processes import kill_at
from tests.support.toy import toy_config

needs_dali = pytest.mark.skipif(not dali_installed(), reason="DALI is not installed (Linux only)")

# Toy runs are too short to leave a collapse.
pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


def run(folder: Path, *overrides: str, name: str = "gaussprob") -> Outcome:
    outcome = pretrain(toy_config(folder, *overrides, name=name))
    assert outcome is not None
    return outcome


def backbone_weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.backbone)


def rows(folder: RunFolder) -> list[dict[str, str]]:
    with folder.metrics.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_run_leaves_everything_it_promises(tmp_path, capsys):
    folder = run(
        tmp_path, "evaluation.protocols=[knn-20,linear-features]", "evaluation.report=true"
    ).folder
    files = (
        "args.json data.json backbone.safetensors checkpoints metrics.csv report.png results.json"
    )
    assert {path.name for path in folder.path.iterdir()} == set(files.split())
    assert {path.name for path in folder.last.parent.iterdir()} == {"last.ckpt", "best.ckpt"}
    results = json.loads(folder.results.read_text())
    promised = (
        "method latent entropy over dataset backbone epochs seed hardware versions commit seconds "
        "images_per_second final_terms health results num_train_images num_val_images scored_on"
    )
    assert set(promised.split()) <= set(results)
    for score in results["results"].values():
        assert {"top1", "top5", "untrained_top1"} <= set(score)
    assert len(rows(folder)) == 2
    shown = capsys.readouterr().out
    assert "top-1" in shown
    assert "untrained" in shown


def test_backbone_file_rebuilds_the_network_with_timms_keys(tmp_path):
    folder = run(tmp_path, "backbone.name=test_resnet", "~backbone.kwargs.width").folder
    plain = timm.create_model("test_resnet", num_classes=0)
    plain.load_state_dict(load_file(folder.backbone))
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(load_backbone(folder.backbone)(images), plain.eval()(images))


# Drop-path draws random numbers in every forward pass.
RANDOM_NETWORK = (
    "backbone.name=test_resnet",
    "~backbone.kwargs.width",
    "+backbone.kwargs.drop_path_rate=0.3",
    "max_epochs=3",
    "data.num_workers=1",
)


def write_photographs(folder: Path) -> None:
    """Write 160 JPEG patches of two photographs in class folders; one file is cut off."""
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(160):
            top, left = 2 * number, 3 * number
            patch = Image.fromarray(photograph[top : top + 40, left : left + 32])
            patch.save(folder / name / f"{number:03}.jpg")
    broken = folder / "china" / "007.jpg"
    broken.write_bytes(broken.read_bytes()[:300])


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("gaussprob", "torchvision"),
        ("directpred", "torchvision"),  # its target and predictor have states of their own
        ("emp_ssl", "torchvision"),  # many views; with prototypes, which have a state too
        pytest.param("gaussprob", "dali", marks=needs_dali),
    ],
)
def test_killed_in_an_epoch_and_started_again_gives_the_same_weights_bit_for_bit(
    tmp_path, name, form
):
    overrides = [*RANDOM_NETWORK, f"data.format={form}", "evaluation.protocols=[]"]
    if name == "directpred":
        overrides += ["method_kwargs.entropy=sliced"]  # which draws slices each step
        overrides += ["method_kwargs.equivariance_weight=1"]  # which draws what moves each step
    if name == "emp_ssl":
        overrides += ["method_kwargs.latent=prototypes", "method_kwargs.prediction_precision=10"]
        overrides += ["augmentations.0.num_crops=3"]
    if form == "dali":
        write_photographs(tmp_path / "photographs")
        overrides += [f"data.train_path={tmp_path / 'photographs'}", "data.fraction=-1"]
        overrides += ["data.dataset=custom", "data.num_workers=2"]
    whole = run(tmp_path / "whole", *overrides, name=name).folder
    # 4 steps an epoch: step 6 is in the middle of the second.
    kill_at(6, run, tmp_path / "killed", *overrides, name=name)
    unfinished = RunFolder(next((tmp_path / "killed").glob("*/*")))
    assert not unfinished.finished
    assert unfinished.last.exists()

    resumed = run(tmp_path / "killed", *overrides, name=name).folder

    assert resumed.path == unfinished.path
    expected, actual = backbone_weights(whole), backbone_weights(resumed)
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[key], actual[key]) for key in expected)
    optimizers = [
        torch.load(folder.last, weights_only=True)["optimizer_states"][0]["state"]
        for folder in (whole, resumed)
    ]
    for index, state in optimizers[0].items():
        assert all(torch.equal(state[key], optimizers[1][index][key]) for key in state)
    assert rows(whole) == rows(resumed)
    unreadable = json.loads(resumed.results.read_text())["unreadable_images"]
    assert unreadable.get("train", {"count": 0})["count"] == (1 if form == "dali" else 0)


def test_a_finished_run_is_not_touched_by_the_same_command(tmp_path):
    first, second = run(tmp_path), run(tmp_path)
    assert first.folder.path != second.folder.path
    for key, value in backbone_weights(first.folder).items():
        assert torch.equal(value, backbone_weights(second.folder)[key])


def test_an_unknown_protocol_is_refused_by_the_key_that_names_it(tmp_path):
    with pytest.raises(ValueError, match=r"^evaluation\.protocols: .* got 'knn'"):
        pretrain(toy_config(tmp_path, "evaluation.protocols=[knn]"))


def test_a_key_that_is_null_does_not_tell_runs_apart(tmp_path):
    """So that a version with one more key, null by default, still finds the runs before it."""
    cfg = complete(toy_config(tmp_path))
    newer = cfg.copy()
    OmegaConf.set_struct(newer, False)
    newer.method_kwargs.something_new = None
    assert identity(newer) == identity(cfg)
    newer.method_kwargs.something_new = 0.0
    assert identity(newer) != identity(cfg)


def test_a_run_is_the_same_with_and_without_workers(tmp_path):
    runs = [run(tmp_path / str(n), f"data.num_workers={n}").folder for n in (0, 1)]
    weights = [backbone_weights(folder) for folder in runs]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_text("good")

    def half(temporary: Path) -> None:
        temporary.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half)
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_a_non_finite_loss_stops_the_run_and_names_the_term(tmp_path, monkeypatch):
    from solo_ldm.methods.ldm.body import LDMBody

    match = LDMBody.match

    def explode(self, views, targets):
        terms = match(self, views, targets)
        if self.trainer.global_step == 6:
            terms = terms._replace(entropy=terms.entropy * float("inf"))
        return terms

    monkeypatch.setattr(LDMBody, "match", explode)
    with pytest.raises(NonFiniteLossError, match=r"step 7 .*train_entropy=-inf") as caught:
        run(tmp_path, "max_epochs=3")
    assert "\n" not in str(caught.value)
    folder = RunFolder(next((tmp_path / "gaussprob").iterdir()))
    kept = torch.load(folder.last, weights_only=True)
    assert kept["global_step"] == 4
    assert not folder.finished


@pytest.mark.filterwarnings("default::solo_ldm.run.callbacks.health.CollapseWarning")
def test_a_collapse_is_warned_of_with_its_cause(tmp_path):
    with pytest.warns(CollapseWarning, match=r"[Cc]ollapse.*entropy_weight"):
        run(tmp_path, "method_kwargs.entropy_weight=0", "max_epochs=15", "optimizer.lr=0.06")


def make_images(folder: Path, classes: int, each: int) -> None:
    generator = np.random.default_rng(0)
    for label in range(classes):
        place = folder / (f"class{label}" if classes > 1 else "")
        place.mkdir(parents=True, exist_ok=True)
        for number in range(each):
            pixels = generator.integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")


def run_on_images(folder: Path, *overrides: str) -> dict[str, Any]:
    """Return the results of a run on the folder's images."""
    own = ("data=custom", f"data.train_path={folder / 'images'}", "data.fraction=-1")
    model = ("augmentations=cifar", "backbone.name=convnet_small")
    return run(folder / "runs", *own, *model, *overrides).results


def test_a_flat_folder_without_labels_trains_without_a_classifier(tmp_path, capsys):
    make_images(tmp_path / "images", classes=1, each=70)
    results = run_on_images(tmp_path, "evaluation.report=true")
    assert results["num_classes"] == 0
    assert results["results"] == {}
    assert "none: the training images have no labels" in capsys.readouterr().out


def test_class_folders_train_with_a_held_out_split(tmp_path):
    make_images(tmp_path / "images", classes=3, each=40)
    results = run_on_images(tmp_path)
    assert results["num_classes"] == 3
    assert (results["num_train_images"], results["num_val_images"]) == (96, 24)
    assert 0 <= results["results"]["knn-20"]["top1"] <= 1


@pytest.mark.parametrize(
    "overrides",
    [
        ("precision=bf16-mixed",),
        ("accumulate_grad_batches=2",),
        ("optimizer.name=lars", "+optimizer.kwargs.eta=0.02", "+optimizer.kwargs.clip_lr=true"),
        ("optimizer.name=sgd", "scheduler.name=step", "scheduler.lr_decay_steps=[1]"),
        ("optimizer.name=adam", "scheduler.name=none"),
        ("method_kwargs.predictor=linear",),
        ("health.enabled=false", "checkpoint.enabled=false"),
        ("performance.disable_channel_last=true", "scheduler.interval=epoch"),
        ("accelerator=gpu", "precision=16-mixed", "devices=[0]", "strategy=ddp"),
    ],
    ids=lambda overrides: overrides[0],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for what a CPU falls back from")
def test_training_options_train(tmp_path, overrides):
    assert np.isfinite(run(tmp_path, *overrides).results["final_terms"]["ldm_loss"])


def test_small_crops_join_the_objective(tmp_path):
    cfg = toy_config(tmp_path)
    small = dict(cfg.augmentations[0], crop_size=8, num_crops=3)
    cfg.augmentations = [*cfg.augmentations, small]
    outcome = pretrain(cfg)
    assert outcome is not None
    assert np.isfinite(outcome.results["final_terms"]["ldm_loss"])


def test_tensorboard_is_a_choice(tmp_path):
    pytest.importorskip("tensorboard")
    folder = run(tmp_path, "tensorboard.enabled=true").folder
    assert list((folder.path / "tensorboard").glob("events*"))
