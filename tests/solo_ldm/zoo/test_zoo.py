"""The zoo: publishing, loading and verifying, on an entry of a few steps."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
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
from solo_ldm.commands.zoo.run import run as zoo_command
from solo_ldm.data.config import DataConfig, ViewSpec
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.features import extract_features
from solo_ldm.weights.pretrained import load_pretrained
from solo_ldm.weights.published.download import sha256_of
from solo_ldm.weights.published.entry import TRAINING_STATE, WEIGHTS
from solo_ldm.weights.published.manifest import read_manifest, write_manifest
from solo_ldm.zoo.publishing import publish
from tests.support.toy import toy_config

# Toy runs are too short to leave a collapse.
pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


def trained(folder: Path, seed: int, *overrides: str) -> Path:
    protocols = "evaluation.protocols=[knn-20,linear-features]"
    outcome = pretrain(toy_config(folder, f"seed={seed}", protocols, *overrides))
    assert outcome is not None
    return outcome.folder.path


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [trained(folder, seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def published(runs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    publish(runs, "toy", folder, licence="CC BY 4.0", with_training_state=True)
    return folder


@pytest.fixture
def own_zoo(published, tmp_path, monkeypatch) -> Path:
    """A zoo of the toy entry alone, in place of the package's."""
    folder = tmp_path / "zoo"
    shutil.copytree(published, folder)
    monkeypatch.setenv("SOLO_LDM_ZOO", str(folder))
    return folder


def test_an_entry_says_what_the_runs_say(published, runs):
    entry = read_manifest(published)["toy"]
    assert (entry.method, entry.dataset, entry.backbone) == ("gaussprob", "digits", "convnet_small")
    assert entry.cell["latent"] == "plane"
    assert entry.seed == 1
    for one in entry.results:
        scores = [zoo_score(run, one.protocol) for run in runs]
        assert one.num_runs == 2
        assert one.mean == pytest.approx(np.mean(scores))
        assert one.std == pytest.approx(np.std(scores, ddof=1))
        assert one.value == pytest.approx(scores[0], abs=one.tolerance)


def zoo_score(run: Path, protocol: str) -> float:
    return json.loads((run / "results.json").read_text())["results"][protocol]["top1"]


def test_the_files_are_those_of_the_manifest_and_the_weights_those_of_the_run(published, runs):
    entry = read_manifest(published)["toy"]
    folder = published / "weights" / "toy"
    for file in entry.files:
        assert sha256_of(folder / file.name) == file.sha256
        assert (folder / file.name).stat().st_size == file.size
    kept = load_file(folder / WEIGHTS)
    whole = load_file(runs[0] / "backbone.safetensors")
    assert kept.keys() == whole.keys()
    floats = {key for key in whole if whole[key].is_floating_point()}
    assert floats
    assert {kept[key].dtype for key in floats} in ({torch.float16}, {torch.float32})
    for key in kept.keys() - floats:
        assert torch.equal(kept[key], whole[key])
    for key in floats:
        torch.testing.assert_close(kept[key].float(), whole[key], rtol=1e-3, atol=1e-6)


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


def test_verifying_gives_the_published_scores(own_zoo, capsys):
    found = zoo.verify("toy")
    assert found.passed
    assert [one.measured.value for one in found.checks] == [
        one.published.value for one in found.checks
    ]
    assert zoo_command(["verify"], Console(width=200)) == 0
    assert "same" in capsys.readouterr().out


def test_a_score_within_tolerance_passes_and_is_not_called_the_same(own_zoo, capsys):
    entry = read_manifest(own_zoo)["toy"]
    moved = [replace(one, value=one.value + 0.9 * (one.tolerance or 0)) for one in entry.results]
    write_manifest(own_zoo, {"toy": replace(entry, results=moved)})
    assert zoo_command(["verify", "toy"], Console(width=200)) == 0
    said = capsys.readouterr().out
    assert "close" in said
    assert "same" not in said


def test_a_score_that_does_not_come_out_fails(own_zoo, capsys):
    entry = read_manifest(own_zoo)["toy"]
    first = replace(entry.results[0], value=entry.results[0].value + 0.05)
    write_manifest(own_zoo, {"toy": replace(entry, results=[first, *entry.results[1:]])})
    assert not zoo.verify("toy").passed
    assert zoo_command(["verify", "toy"], Console(width=200)) == 1
    assert "not as published: toy" in capsys.readouterr().out


def test_other_data_are_told(own_zoo):
    found = zoo.verify("toy", {"fraction": "0.1"})
    assert not found.same_data
    assert not found.passed


def test_changed_weights_are_refused(own_zoo):
    path = own_zoo / "weights" / "toy" / WEIGHTS
    weights = load_file(path)
    save_file({key: value * 2 for key, value in weights.items()}, path)
    with pytest.raises(ValueError, match=r"is not the published file: expected .*; restore it"):
        zoo.load("toy")


def test_one_damaged_model_does_not_keep_the_others_from_being_verified(own_zoo, capsys):
    entry = read_manifest(own_zoo)["toy"]
    shutil.copytree(own_zoo / "weights" / "toy", own_zoo / "weights" / "broken")
    (own_zoo / "weights" / "broken" / WEIGHTS).write_bytes(b"")
    write_manifest(own_zoo, {"toy": entry, "broken": replace(entry, name="broken")})
    assert zoo_command(["verify"], Console(width=200)) == 1
    said = capsys.readouterr().out
    assert "broken: " in said
    assert "is not the published file: expected" in said
    assert "same" in said
    assert "not as published: broken" in said


def test_a_zoo_of_ones_own_is_used_in_place_of_the_packages(own_zoo, runs, tmp_path, monkeypatch):
    assert zoo.list() == ["toy"]
    monkeypatch.setenv("SOLO_LDM_ZOO", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"SOLO_LDM_ZOO={tmp_path}: expected a folder with"):
        zoo.list()
    monkeypatch.delenv("SOLO_LDM_ZOO")
    assert "toy" not in zoo.list()


def test_publishing_says_how_to_verify(runs, tmp_path, capsys):
    given = ["publish", str(runs[0]), "--name", "one", "--licence", "x", "--zoo", str(tmp_path)]
    assert zoo_command(given, Console(width=200)) == 0
    assert f"next: SOLO_LDM_ZOO={tmp_path} solo-ldm zoo verify one" in capsys.readouterr().out


def test_an_unknown_name_suggests_the_nearest(own_zoo):
    with pytest.raises(ValueError, match=r"the zoo has no 'toi': did you mean toy\?"):
        zoo.load("toi")
    with pytest.raises(ValueError, match=r"the zoo has no 'x'; it has toy"):
        load_pretrained("zoo:x")


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


def test_training_goes_on_from_the_published_state(own_zoo, tmp_path):
    cfg = toy_config(tmp_path / "on", "seed=1", "resume_from_checkpoint=zoo:toy", "max_epochs=3")
    outcome = pretrain(cfg)
    assert outcome is not None
    lines = outcome.folder.metrics.read_text().splitlines()
    assert len(lines) == 2  # a header and the third epoch


def test_the_published_configuration_is_that_of_the_run(own_zoo, runs):
    from hydra import compose, initialize_config_dir

    from solo_ldm.run.configuration import complete
    from solo_ldm.run.folder import identity

    with initialize_config_dir(str(own_zoo / "weights" / "toy"), version_base="1.3"):
        cfg = compose("config", overrides=["hydra.searchpath=[pkg://solo_ldm.configs]"])
    assert identity(complete(cfg)) == identity(complete(toy_config(runs[0], "seed=1")))


def test_timm_builds_the_published_network_from_its_folder(own_zoo):
    import timm

    folder = own_zoo / "weights" / "toy"
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    ours: Any = zoo.load("toy")
    images = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(images), ours(images))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(name="No Name"), "name: expected small letters"),
        (dict(runs=[]), "expected at least one run"),
        (dict(runs=["nowhere"]), "no run at nowhere"),
    ],
)
def test_what_cannot_be_published_is_told_in_one_line(tmp_path, runs, arguments, said):
    given = {"runs": runs, "name": "toy", **arguments}
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        publish(given["runs"], given["name"], tmp_path / "zoo", licence="x")
    assert not list(tmp_path.rglob("manifest.yaml"))


def test_runs_published_together_differ_in_the_seed_alone(tmp_path, runs):
    other = trained(tmp_path, 3, "optimizer.lr=0.001")
    with pytest.raises(ValueError, match=r"differs from .* in optimizer"):
        publish([runs[0], other], "toy", tmp_path / "zoo", licence="x")
    with pytest.raises(ValueError, match="expected different seeds, got 1, 1"):
        publish([runs[0], runs[0]], "toy", tmp_path / "zoo", licence="x")
    assert not (tmp_path / "zoo").exists() or not list((tmp_path / "zoo").iterdir())


def test_a_manifest_comes_back_as_it_was_written(tmp_path, published):
    entries = read_manifest(published)
    write_manifest(tmp_path, entries)
    assert asdict(read_manifest(tmp_path)["toy"]) == asdict(entries["toy"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs:", "epoch:", r"toy: unknown key epoch: did you mean epochs\?"),
        ("  licence: CC BY 4.0\n", "", "toy: missing key licence"),
        ("      sha256: ", "      sha256: 0", "files.* has no sha256"),
        ("toy:\n", "toy: {\n", "is no YAML"),
    ],
)
def test_a_damaged_manifest_is_told_in_one_line(tmp_path, published, old, new, said):
    text = (published / "manifest.yaml").read_text()
    assert old in text
    (tmp_path / "manifest.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=said) as error:
        read_manifest(tmp_path)
    assert "\n" not in str(error.value)


def test_commands_list_show_and_download(own_zoo, capsys):
    console = Console(width=200)
    for arguments in (["list"], ["show", "toy"], ["download", "toy", "--all"]):
        assert zoo_command(arguments, console) == 0
    said = capsys.readouterr().out
    assert "kernel entropy" in said
    assert str(own_zoo / "weights" / "toy" / TRAINING_STATE) in said.replace("\n", "")
