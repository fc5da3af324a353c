"""The command that says what is in features as a user meets it: files, numbers, refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from solo_ldm.cli import main
from solo_ldm.evaluation.diagnostics.classes import class_separation
from solo_ldm.evaluation.features import Features, extract_features
from solo_ldm.evaluation.scores import evaluate
from solo_ldm.weights.trained_method import load_method
from tests.support.refusals import assert_refused

FILES = {"results.json", "spectrum.csv", "diagnostics.png"}
QUICK = ["num_images=60", "num_views=3", "num_jacobian_images=2"]
OF_ALL = {
    *("num_samples", "num_dims", "spectrum", "rankme", "gaussianity", "gaussianity_null"),
    *("alignment", "uniformity", "lidar", "num_views", "class_separation", "outside", "jacobian"),
}

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


def read(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def measured(gaussprob_run) -> dict:
    main(["diagnostics", str(gaussprob_run.folder.path), *QUICK])
    return read(gaussprob_run.folder.path / "evaluation" / "diagnostics")


def test_features_and_latents_are_measured_beside_the_untrained_network(gaussprob_run, measured):
    folder = gaussprob_run.folder.path / "evaluation" / "diagnostics"
    assert {path.name for path in folder.iterdir()} == FILES
    assert {"commit", "hardware", "versions", "seed", "epoch", "scored_on"} <= set(measured)
    features, latents = (measured["measures"][space] for space in ("features", "latents"))
    for networks, besides in ((features, {"linear_features", "embedding"}), (latents, set())):
        assert list(networks) == ["trained", "untrained"]
        for values in networks.values():
            assert set(values) == OF_ALL | besides
            assert values["num_samples"] == 60
            assert values["num_views"] == 3
            assert set(values["outside"]) == {"inverted", "photographs"}
            assert values["jacobian"]["num_images"] == 2
            assert values["jacobian"]["numerical"]["mean"] <= values["num_dims"]
    assert latents["trained"]["num_dims"] == 16
    assert features["trained"]["linear_features"]["num_test"] == 359
    assert features["trained"]["rankme"] != features["untrained"]["rankme"]
    with (folder / "spectrum.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == features["trained"]["num_dims"]
    assert {"features_trained", "jacobian_latents_untrained"} <= set(rows[0])
    values = np.array([float(row["features_trained"]) for row in rows])
    assert (np.diff(values) <= 0).all()
    assert [row["latents_trained"] == "" for row in rows] == [k >= 16 for k in range(len(rows))]
    assert any("falls too steeply" in line for line in measured["notices"])


def test_measures_are_those_of_the_features_of_the_run(gaussprob_run, measured):
    """Extracted anew; the untrained network is the one that the run began with."""
    trained = load_method(gaussprob_run.folder.path, "cpu")
    loaders = [trained.data.evaluation_dataloader(split) for split in ("train", "val")]
    for name, method in (("trained", trained.method), ("untrained", trained.untrained())):
        train, test = (extract_features(method.backbone, loader) for loader in loaders)
        top1 = {"trained": "top1", "untrained": "untrained_top1"}[name]
        knn = gaussprob_run.results["results"]["knn-20"]
        assert evaluate("knn-20", train, test).top1 == knn[top1]
        found = measured["measures"]["features"][name]
        linear = evaluate("linear-features", train, test)
        assert found["linear_features"]["ece"] == pytest.approx(linear.ece)
        assert found["linear_features"]["top1"] == linear.top1
        chosen = torch.from_numpy(np.linspace(0, 358, 60).astype(np.int64))
        shown = Features(test.features[chosen], test.labels[chosen])
        assert found["class_separation"] == pytest.approx(class_separation(*shown))


def test_the_same_numbers_again(gaussprob_run, measured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(7)
    np.random.seed(7)
    main(
        [
            "diagnostics",
            f"run={gaussprob_run.folder.path}",
            *QUICK,
            "data.num_workers=1",
            "output=again",
        ]
    )
    assert read(tmp_path / "again")["measures"] == measured["measures"]


def test_weights_alone_have_features_and_no_latents(gaussprob_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    none = [*QUICK[:2], "num_jacobian_images=0", "num_train_images=40", "output=made"]
    main(["diagnostics", str(gaussprob_run.folder.backbone), *none])
    found = read(tmp_path / "made")
    assert list(found["measures"]) == ["features"]
    values = found["measures"]["features"]["trained"]
    assert "jacobian" not in values
    assert values["lidar"] > 1
    assert values["linear_features"]["num_train"] == 40
    shown = capsys.readouterr().out
    for words in ("latents are left out", "40 of", "class separation", "diagnostics.png"):
        assert words in shown


def test_an_untrained_network_is_measured_once_and_has_the_views_of_its_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = ["untrained:convnet_small", "data=digits", "+backbone.kwargs.width=8"]
    main(["diagnostics", *name, *QUICK[:2], "num_jacobian_images=0"])
    found = read(tmp_path / "evaluations" / "convnet_small" / "digits" / "diagnostics")
    assert list(found["measures"]["features"]) == ["untrained"]
    assert found["measures"]["features"]["untrained"]["alignment"] > 0


def test_what_cannot_be_measured_is_one_line_and_leaves_no_file(
    gaussprob_run, tmp_path, monkeypatch, capsys
):
    own, here = str(gaussprob_run.folder.path), tmp_path / "here"
    (here / "empty").mkdir(parents=True)
    monkeypatch.chdir(here)
    cases = [
        ([], "missing key pretrained_feature_extractor"),
        (["nowhere"], "got nowhere"),
        (["empty"], "empty holds no weights"),
        ([own, "num_images=19"], "num_images: expected a number from 20"),
        ([own, "num_views=1"], "num_views: expected a number from 2"),
        ([own, "num_jacobian_images=-1"], "num_jacobian_images: expected a number from 0"),
        ([own, "num_train_images=3"], "num_train_images: expected a number from 20"),
        ([own, "num_view=3"], "did you mean num_views?"),
        ([own, "data=digit"], "digit"),
        ([own, "data=custom", "data.train_path=/nowhere"], "/nowhere"),
    ]
    assert_refused("diagnostics", cases, capsys)
    assert [path.name for path in here.iterdir()] == ["empty"]
