"""The command that assesses predicted uncertainty as a user meets it: files, numbers, refusals."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from solo_ldm.backbones import load_backbone
from solo_ldm.cli import main
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.run.record import Outcome
from solo_ldm.weights.trained_method import load_method
from tests.support.refusals import assert_refused
from tests.support.toy import toy_config

FILES = {"results.json", "uncertainty.csv", "uncertainty.png"}
QUICK = ["num_images=40", "num_draws=2", "strengths=[0,1,3]"]

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Outcome:
    folder = tmp_path_factory.mktemp("runs")
    outcome = pretrain(toy_config(folder, "data.held_out=0.1", name="gje"))
    assert outcome is not None
    return outcome


def test_a_run_is_assessed_beside_itself(run, capsys):
    main(["uncertainty", str(run.folder.path), *QUICK])
    folder = run.folder.path / "evaluation" / "uncertainty"
    assert {path.name for path in folder.iterdir()} == FILES
    found = json.loads((folder / "results.json").read_text())
    assert found["num_images"] == 40
    assert found["calibration"]["num_pairs"] == 80
    assert found["calibration"]["dim"] == 16
    assert len(found["calibration"]["ellipsoids"]) == len(found["calibration"]["levels"]) == 8
    assert found["strength"]["strengths"] == [0, 1, 3]
    assert set(found["outside"]) == {"inverted"}
    assert {"variance", "entropy", "negative_log_likelihood"} == set(found["outside"]["inverted"])
    assert {"commit", "hardware", "versions", "seed", "epoch"} <= set(found)
    with (folder / "uncertainty.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 40
    variances = [float(row["variance"]) for row in rows]
    assert found["certainty"]["variance"]["most"] == pytest.approx(max(variances), rel=1e-4)
    shown = capsys.readouterr().out
    for words in ("nats a dimension", "rank correlation", "AUROC", "uncertainty.png"):
        assert words in shown
    assert found["scored_on"].endswith("(data.held_out=0.1)")
    main(["uncertainty", str(run.folder.path), *QUICK, "data.held_out=0"])
    tested = json.loads((folder / "results.json").read_text())
    assert tested["scored_on"].endswith("(data.val_fraction=0.2)")
    assert tested["certainty"] != found["certainty"]


def test_the_same_numbers_again_and_other_images(run, tmp_path, monkeypatch):
    """Plain grey images as another set; views depend on the seed alone."""
    for number in range(6):
        place = tmp_path / "images" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), 40 * number, np.uint8)).save(place / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    arguments = [*QUICK, "data=custom", "data.train_path=images"]
    main(["uncertainty", str(run.folder.path), *arguments, "output=one"])
    torch.manual_seed(7)
    np.random.seed(7)
    main(["uncertainty", f"run={run.folder.path}", *arguments, "output=two"])  # the older name
    one, two = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two")
    )
    assert set(one["outside"]) == {"inverted", "custom"}
    for part in ("certainty", "calibration", "strength", "outside"):
        assert one[part] == two[part]


def test_the_method_is_the_one_that_was_trained(run):
    """Its backbone gives what the exported backbone gives, its warm-up has ended."""
    loaded = load_method(run.folder.path, "cpu")
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        expected = load_backbone(run.folder.backbone)(images)
        torch.testing.assert_close(loaded.method.backbone(images), expected)
    assert loaded.epoch == 2
    assert not loaded.method.training


def test_what_cannot_be_assessed_is_one_line_and_leaves_no_file(
    run, gaussprob_run, tmp_path, monkeypatch, capsys
):
    own, here = str(run.folder.path), tmp_path / "here"
    (here / "empty").mkdir(parents=True)
    monkeypatch.chdir(here)
    cases = [
        ([], "missing key pretrained_feature_extractor"),
        (["nowhere"], "got nowhere"),
        (["empty"], "no checkpoint at empty"),
        ([str(gaussprob_run.folder.path)], "predicts no covariance"),
        ([own, "num_images=1"], "num_images: expected a number from 2"),
        ([own, "num_draws=0"], "num_draws: expected a number from 1"),
        ([own, "strengths=[1]"], "strengths: expected at least two"),
        ([own, "strengths=[-1,1]"], "strengths: expected a number from 0, got -1"),
        ([own, "levels=[0.5,1]"], "levels: expected a number above 0 and below 1, got 1"),
        ([own, "levels=[]"], "levels: expected at least one"),
        ([own, "num_image=3"], "did you mean num_images?"),
        ([own, "+data.num_worker=3"], "did you mean data.num_workers?"),
        ([own, "data=digit"], "digit"),
        ([own, "data=fashion_mnist", "data.train_path=/nowhere"], "/nowhere"),
    ]
    assert_refused("uncertainty", cases, capsys)
    assert [path.name for path in here.iterdir()] == ["empty"]
