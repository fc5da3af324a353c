"""Clusters against classes: scores by hand, and the command as a user meets it."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from solo_ldm.cli import main, run_command
from solo_ldm.commands.clusters.picture import ClustersData, Pictured, write_clusters
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.evaluation.clusters import assign, entropy_of, most_and_least, score_clusters
from solo_ldm.run.record import Outcome
from tests.support.toy import toy_config

FILES = {"clusters.json", "clusters.csv", "clusters.png"}

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


def test_renamed_classes_are_found_whatever_the_names():
    labels = np.arange(60) % 6
    for seed in range(5):
        names = np.random.default_rng(seed).permutation(6)
        scores = score_clusters(names[labels], labels, 6, 6)
        assert scores.accuracy == scores.purity == 1.0
        assert scores.normalised_mutual_information == pytest.approx(1.0)
        assert scores.adjusted_rand == pytest.approx(1.0)
        assert [scores.class_of_cluster[names[label]] for label in range(6)] == list(range(6))


def test_the_assignment_is_the_best_of_all_permutations():
    rng = np.random.default_rng(0)
    for _ in range(20):
        confusion = rng.integers(0, 30, (4, 4))
        assigned = assign(confusion)
        found = confusion[assigned[assigned >= 0], np.flatnonzero(assigned >= 0)].sum()
        best = max(
            sum(confusion[row, column] for column, row in enumerate(order))
            for order in itertools.permutations(range(4))
        )
        assert found == best


def test_two_classes_in_one_cluster_cost_accuracy_and_two_clusters_of_a_class_no_purity():
    labels = np.repeat([0, 1, 2], 10)
    merged = score_clusters(np.repeat([0, 0, 1], 10), labels, 3, 3)
    assert merged.accuracy == merged.purity == pytest.approx(20 / 30)
    assert merged.num_used == 2
    assert merged.class_of_cluster[0] in (0, 1)
    assert merged.class_of_cluster[1:] == [2, -1]
    split = score_clusters(np.repeat([0, 1, 2, 3], [10, 10, 6, 4]), labels, 5, 3)
    assert split.accuracy == pytest.approx(26 / 30)
    assert split.purity == 1.0
    assert split.num_used == 4
    assert split.class_of_cluster == [0, 1, 2, -1, -1]
    assert split.confusion == [[10, 0, 0, 0, 0], [0, 10, 0, 0, 0], [0, 0, 6, 4, 0]]


def test_clusters_at_random_say_nothing():
    clusters, labels = np.random.default_rng(0).integers(0, 4, (2, 4000))
    scores = score_clusters(clusters, labels, 4, 4)
    assert abs(scores.adjusted_rand) < 0.01
    assert scores.normalised_mutual_information < 0.01
    assert 0.25 <= scores.accuracy < 0.3


def test_wrong_clusters_are_one_line():
    cases = [
        (([], [], 2, 2), "at least one image"),
        (([0, 1], [0], 2, 2), r"shapes \(2,\) and \(1,\)"),
        (([0, 2], [0, 1], 2, 2), "clusters from 0 to 1, got 0 to 2"),
        (([0, 1], [0, -1], 2, 2), "labels from 0 to 1, got -1 to 0"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            score_clusters(*arguments)


def test_entropies_and_the_most_and_the_least_certain():
    entropies = entropy_of([[1.0, 0.0], [0.5, 0.5], [0.9, 0.1]])
    np.testing.assert_allclose(entropies, [0.0, np.log(2), 0.32508297])
    values = [5.0, 1.0, 4.0, 2.0, 3.0, 0.0]
    most, least = most_and_least(values, np.array([0, 1, 2, 3, 4]), 2)
    assert (most.tolist(), least.tolist()) == ([1, 3], [0, 2])
    most, least = most_and_least(values, np.array([2, 3, 4]), 5)
    assert (most.tolist(), least.tolist()) == ([3, 4], [2])
    most, least = most_and_least(values, np.array([2]), 5)
    assert (most.tolist(), least.tolist()) == ([2], [])


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
    shown = {one: Pictured(images, images[: one % 3]) for one in np.unique(clusters).tolist()}
    data = ClustersData("a $ title", results, rng.random(300), shown)
    assert write_clusters(tmp_path / "one.png", data).stat().st_size > 10_000
    with pytest.raises(ValueError, match=r"ends in .png"):
        write_clusters(tmp_path / "one.pdf", data)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Outcome:
    folder = tmp_path_factory.mktemp("runs")
    outcome = pretrain(toy_config(folder, "method_kwargs.proj_output_dim=12", name="categorical"))
    assert outcome is not None
    return outcome


def test_a_run_is_compared_with_the_classes(run, capsys):
    main(["clusters", str(run.folder.path), "num_images=90"])
    folder = run.folder.path / "evaluation"
    assert {path.name for path in folder.iterdir()} == FILES
    found = json.loads((folder / "clusters.json").read_text())
    assert found["num_images"] == 90
    assert found["num_categories"] == len(found["class_of_cluster"]) == 12
    assert np.array(found["confusion"]).shape == (10, 12)
    assert 0.1 <= found["accuracy"] <= found["purity"] <= 1.0
    assert 0 <= found["mean_entropy"] <= found["entropy_of_mean"] <= np.log(12) + 1e-9
    assert found["pair_match"] == 0.99
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


def test_the_temperature_is_in_the_log_of_the_run(run):
    with run.folder.metrics.open(newline="") as stream:
        column = [float(row["train_temperature"]) for row in csv.DictReader(stream)]
    assert len(column) == 2
    assert column[0] > column[1] > 0


def test_the_script_and_a_block_of_a_product(tmp_path):
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
    command = [sys.executable, "-m", "solo_ldm.cli", "clusters", str(outcome.folder.path)]
    subprocess.run([*command, "output=made"], cwd=tmp_path, check=True, capture_output=True)
    found = json.loads((tmp_path / "made" / "clusters.json").read_text())
    assert found["num_categories"] == 4


def test_what_cannot_be_compared_is_one_line_and_leaves_no_file(run, tmp_path, monkeypatch, capsys):
    other = pretrain(toy_config(tmp_path / "other", "max_epochs=1", name="gaussprob"))
    assert other is not None
    here = tmp_path / "here"
    (here / "empty").mkdir(parents=True)
    monkeypatch.chdir(here)
    own = str(run.folder.path)
    cases = [
        ([], "missing key run"),
        (["nowhere"], "no run at nowhere"),
        (["empty"], "no checkpoint at empty"),
        ([str(other.folder.path)], "has no categories"),
        ([own, "num_images=0"], "num_images: expected at least 1"),
        ([own, "batch_size=0"], "batch_size: expected at least 1"),
        ([own, "num_image=3"], "did you mean num_images?"),
    ]
    for arguments, message in cases:
        with pytest.raises(SystemExit) as caught:
            run_command("clusters", arguments)
        lines = capsys.readouterr().err.strip().splitlines()
        assert caught.value.code == 2
        assert len(lines) == 1, (arguments, lines)
        assert message in lines[0], (arguments, lines)
    assert [path.name for path in here.iterdir()] == ["empty"]
