"""Entries whose data do not come with them, and scores that are only recorded."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from PIL import Image
from rich.console import Console

from solo_ldm import zoo
from solo_ldm.commands.linear import linear
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.commands.zoo.places import Places
from solo_ldm.commands.zoo.run import run as zoo_command
from solo_ldm.weights.pretrained import load_pretrained
from solo_ldm.weights.published.entry import CONFIG
from solo_ldm.weights.published.manifest import read_manifest
from solo_ldm.zoo.kinds import DataNotHereError
from solo_ldm.zoo.publishing import publish
from tests.support.toy import toy_config

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

REFERENCE = {"protocol": "linear-online", "value": 0.75, "source": "a paper", "differs": "all"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Folders: images, in two classes; run; evaluation, of that run."""
    folder = tmp_path_factory.mktemp("recorded")
    random = np.random.default_rng(0)
    for split, count in (("train", 70), ("val", 20)):
        for brightness, name in ((0, "dark"), (120, "light")):
            (folder / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(brightness, brightness + 120, (24, 24, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"images/{split}/{name}/{number}.png")
    trained = pretrain(
        toy_config(
            folder,
            "data=custom",
            f"data.train_path={folder}/images/train",
            f"data.val_path={folder}/images/val",
            "augmentations=cifar",
            "backbone.name=convnet_small",
            "data.fraction=-1",
            "evaluation.protocols=[knn-20,linear-features,linear-online]",
        )
    )
    assert trained is not None
    trained.folder.path.rename(folder / "run")
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        evaluation = linear(
            compose(
                "linear",
                overrides=[
                    f"pretrained_feature_extractor={folder}/run",
                    f"checkpoint.dir={folder}",
                    "data.num_workers=0",
                    "max_epochs=1",
                ],
            )
        )
    assert evaluation is not None
    evaluation.folder.path.rename(folder / "evaluation")
    return folder


@pytest.fixture(scope="module")
def zoo_of_greys(made, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("greys")
    publish(
        [made / "run"],
        "greys",
        folder,
        licence="none",
        dataset="two-greys",
        evaluations=[made / "evaluation"],
        reference=REFERENCE,
    )
    return folder


@pytest.fixture
def own_zoo(zoo_of_greys, monkeypatch) -> Path:
    """A zoo of the run alone, in place of the package's."""
    monkeypatch.setenv("SOLO_LDM_ZOO", str(zoo_of_greys))
    return zoo_of_greys


def test_recorded_scores_are_those_of_the_run_and_of_its_evaluation(own_zoo, made):
    results = {one.protocol: one for one in read_manifest(own_zoo)["greys"].results}
    assert list(results) == ["knn-20", "linear-features", "linear-online", "linear-offline"]
    run = json.loads((made / "run" / "results.json").read_text())["results"]
    evaluation = json.loads((made / "evaluation" / "results.json").read_text())
    assert results["linear-online"].value == run["linear-online"]["top1"]
    assert results["linear-offline"].value == evaluation["top1"]
    assert {name: one.tolerance is None for name, one in results.items()} == {
        "knn-20": False,
        "linear-features": False,
        "linear-online": True,
        "linear-offline": True,
    }


def test_a_published_figure_stands_beside_ours(own_zoo):
    cell = "| **50.00 %**, elsewhere 75.00 % |"
    entry = read_manifest(own_zoo)["greys"]
    (own,) = [one.value for one in entry.results if one.protocol == "linear-online"]
    assert cell.replace("50.00", f"{100 * own:.2f}") in (own_zoo / "README.md").read_text()
    card = (own_zoo / "weights" / "greys" / "README.md").read_text()
    assert "linear-online 75.00 %, here" in card
    assert "Scores are on test images of custom (data.val_path)." in card
    assert "(a paper). What differs: all." in card


def test_no_place_of_the_machine_that_trained_is_published(own_zoo, made):
    for path in own_zoo.rglob("*"):
        if path.is_file():
            assert str(made).encode() not in path.read_bytes(), path
    entry = read_manifest(own_zoo)["greys"]
    assert entry.dataset == "two-greys"
    assert entry.command.endswith("data.train_path=PATH data.val_path=PATH")
    assert entry.command in (own_zoo / "weights" / "greys" / CONFIG).read_text()


def test_verifying_needs_to_know_where_the_images_are(own_zoo, made, capsys):
    with pytest.raises(DataNotHereError, match="say where they are, train_path=PATH val_path=PATH"):
        zoo.verify("greys")
    images = made / "images"
    found = zoo.verify("greys", {"train_path": images / "train", "val_path": images / "val"})
    assert found.passed
    assert [one.published.protocol for one in found.checks] == ["knn-20", "linear-features"]
    other = zoo.verify("greys", {"train_path": images / "val", "val_path": images / "train"})
    assert not other.same_data
    with pytest.raises(DataNotHereError):
        zoo_command(["verify", "greys"], Console(width=200))


def test_entries_without_their_data_are_left_out_by_name_and_exit_code(own_zoo, capsys):
    assert zoo_command(["verify"], Console(width=200)) == 3
    shown = capsys.readouterr().out
    assert "left out, as their data (two-greys) do not come with them" in shown
    assert "--data two-greys=FOLDER says where they are: greys" in shown
    assert "verified 0 of 1: exit code 3" in shown


def test_a_folder_names_the_data_of_the_entries_that_lack_them(own_zoo, made, capsys):
    images, console = str(made / "images"), Console(width=200)
    for given in ([images], [f"two-greys={images}"]):
        assert zoo_command(["verify", "--data", *given], console) == 0
        assert "same" in capsys.readouterr().out
    # A key of data is for the entries that lack it.
    assert zoo_command(["verify", "--data", "path=x"], console) == 3
    capsys.readouterr()
    with pytest.raises(FileNotFoundError, match="no nowhere, the folder of two-greys"):
        zoo_command(["verify", "--data", "two-greys=nowhere"], console)
    with pytest.raises(ValueError, match=r"or KEY=VALUE, e\.g\. train_path=FOLDER, got 'nowhere'"):
        zoo_command(["verify", "--data", "nowhere"], console)


def test_one_folder_for_several_data_sets_is_refused(own_zoo, made):
    one = read_manifest(own_zoo)["greys"]
    entries = [one, replace(one, dataset="others")]
    places = Places([f"others={made}"], entries, named=False)
    assert places.of(entries[0]) == {}
    assert places.of(entries[1])["train_path"] == str(made / "train")
    with pytest.raises(ValueError, match=r"DATASET=FOLDER, .* are two-greys, others, got"):
        Places([str(made)], entries, named=False)


def test_data_that_no_entry_needs_are_refused(made):
    digits = zoo.entry("gaussprob-digits")
    with pytest.raises(
        ValueError, match=r"the data of gaussprob-digits come with .*; leave --data"
    ):
        Places([str(made)], [digits], named=True)


def test_a_run_is_published_after_its_images_were_moved(made, tmp_path):
    moved = shutil.copytree(made / "run", tmp_path / "run")
    text = (moved / "args.json").read_text().replace(str(made / "images"), "/elsewhere")
    (moved / "args.json").write_text(text)
    data = {f"{split}_path": str(made / "images" / split) for split in ("train", "val")}
    entry = publish([moved], "moved", tmp_path / "zoo", licence="none", data=data)
    with pytest.raises(FileNotFoundError, match=r"data\.train_path"):
        publish([moved], "moved", tmp_path / "zoo", licence="none")
    assert [entry] == [*read_manifest(tmp_path / "zoo").values()]


def test_weights_know_no_place_of_their_images(own_zoo):
    args = load_pretrained("zoo:greys").args
    assert args is not None
    assert (args["data"]["train_path"], args["data"]["val_path"]) == (None, None)


def test_an_evaluation_of_other_weights_is_refused(made, tmp_path):
    path = tmp_path / "results.json"
    content = json.loads((made / "evaluation" / "results.json").read_text())
    path.write_text(json.dumps({**content, "source_sha256": "0" * 64}))
    for evaluation, said in (
        (path, "is of other weights"),
        (tmp_path / "none", "no evaluation at"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            publish([made / "run"], "x", tmp_path / "z", licence="", evaluations=[evaluation])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "linear"}, "reference.protocol expected one of knn-20, .*got 'linear'"),
        ({"values": 1.0}, r"unknown key values: did you mean value\?"),
    ],
)
def test_a_reference_that_fits_no_score_is_refused(made, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        publish([made / "run"], "x", tmp_path, licence="", reference={**REFERENCE, **changes})
    assert not (tmp_path / "manifest.yaml").exists()
