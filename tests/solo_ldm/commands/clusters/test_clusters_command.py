"""The command that compares clusters with classes: files, numbers, refusals."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from solo_ldm.cli import main
from solo_ldm.commands.clusters.picture import write_clusters
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.evaluation.clusters import score_clusters
from solo_ldm.run.record import Outcome
from tests.support.refusals import assert_refused
from tests.support.toy import toy_config

FILES = {"results.json", "clusters.csv", "clusters.png"}

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


@pytest.mark.parametrize(("num_classes", "num_clusters"), [(3, 3), (2, 12), (40, 30)])
def test_the_picture_takes_any_number_of_clusters_and_classes(tmp_path, num_classes, num_clusters):
    rng = np.random.default_rng(0)
    clusters, labels = rng.integers(0, num_clusters, 300), rng.integers(0, num_classes, 300)
    scores = score_clusters(clusters, labels, num_clusters, num_classes)
    results = {
        **vars(scores),
        "num_categories": num_clusters,
        "classes": [f"a long name of the class {n} with $" for n in range(num_classes)],
    }
    images = [(rng.random((8, 8, 3)), 0.5)] * 5
    shown = {one: (images, images[: one % 3]) for one in np.unique(clusters).tolist()}
    data = ("a $ title", results, rng.random(300), shown)
    assert write_clusters(tmp_path / "one.png", *data).stat().st_size > 10_000
    with pytest.raises(ValueError, match=r"ends in .png"):
        write_clusters(tmp_path / "one.pdf", *data)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Outcome:
    folder = tmp_path_factory.mktemp("runs")
    keys = ["method_kwargs.proj_output_dim=12", "data.held_out=0.1"]
    outcome = pretrain(toy_config(folder, *keys, name="categorical"))
    assert outcome is not None
    return outcome


def test_a_run_is_compared_with_the_classes(run, capsys):
    main(["clusters", str(run.folder.path), "num_images=90"])
    folder = run.folder.path / "evaluation" / "clusters"
    assert {path.name for path in folder.iterdir()} == FILES
    found = json.loads((folder / "results.json").read_text())
    assert found["num_images"] == 90
    assert found["num_categories"] == len(found["class_of_cluster"]) == 12
    assert np.array(found["confusion"]).shape == (10, 12)
    assert 0.1 <= found["accuracy"] <= found["purity"] <= 1.0
    assert 0 <= found["mean_entropy"] <= found["entropy_of_mean"] <= np.log(12) + 1e-9
    assert found["pair_match"] == 0.99
    assert found["scored_on"].endswith("(data.held_out=0.1)")
    assert {"commit", "hardware", "versions", "seed", "epoch"} <= set(found)
    with (folder / "clusters.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 90
    named = [int(row["named"]) == int(row["label"]) for row in rows]
    assert np.mean(named) == pytest.approx(found["accuracy"])
    for row in rows:
        shares = [float(row[f"q{number}"]) for number in range(12)]
        assert sum(shares) == pytest.approx(1.0, abs=1e-4)
        assert int(row["cluster"]) == int(np.argmax(shares))
    shown = capsys.readouterr().out
    for words in ("accuracy", "purity", "of 12 used", "clusters.png"):
        assert words in shown
    main(["clusters", str(run.folder.path), "data.held_out=null"])
    tested = json.loads((folder / "results.json").read_text())
    assert tested["scored_on"].endswith("(data.val_fraction=0.2)")
    assert tested["num_images"] == 359


def test_the_temperature_is_in_the_log_of_the_run(run):
    with run.folder.metrics.open(newline="") as stream:
        column = [float(row["train_temperature"]) for row in csv.DictReader(stream)]
    assert len(column) == 2
    assert column[0] > column[1] > 0


def test_a_block_of_a_product_and_a_folder_of_ones_own(tmp_path, monkeypatch):
    plane = "{latent: plane, dim: 12, entropy: logdet}"
    blocks = f"[{plane}, {{latent: categorical, dim: 4, entropy: plug_in}}]"
    outcome = pretrain(
        toy_config(
            tmp_path,
            "max_epochs=1",
            f"method_kwargs.blocks={blocks}",
            "data.pair_match=0.9",
            name="product",
        )
    )
    assert outcome is not None
    monkeypatch.chdir(tmp_path)
    main(["clusters", f"run={outcome.folder.path}", "output=made"])  # run= is an older name
    found = json.loads((tmp_path / "made" / "results.json").read_text())
    assert found["num_categories"] == 4


def test_what_cannot_be_compared_is_one_line_and_leaves_no_file(
    run, gaussprob_run, tmp_path, monkeypatch, capsys
):
    here = tmp_path / "here"
    (here / "empty").mkdir(parents=True)
    monkeypatch.chdir(here)
    own = str(run.folder.path)
    cases = [
        ([], "missing key pretrained_feature_extractor"),
        (["nowhere"], "got nowhere"),
        (["empty"], "no checkpoint at empty"),
        ([str(gaussprob_run.folder.path)], "has no categories"),
        ([own, "num_images=0"], "num_images: expected a number from 1"),
        ([own, "batch_size=0"], "batch_size: expected a number from 1"),
        ([own, "num_image=3"], "did you mean num_images?"),
        ([own, "data.held_out=0.2"], "data.held_out: expected null or 0"),
        ([own, "data.fraction=0.2"], "data.fraction"),
    ]
    assert_refused("clusters", cases, capsys)
    assert [path.name for path in here.iterdir()] == ["empty"]
