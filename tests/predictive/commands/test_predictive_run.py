"""What a predictive run leaves behind, and what its latents hold."""

from __future__ import annotations

import json

import pytest

from predictive.commands.predictive import predictive
from tests.support.predictive.runs import config, rows, run

PICTURES = {
    "circular": {"frames", "history", "latents", "noise", "position", "report", "scores", "space"},
    "ornstein_uhlenbeck": {"history", "latents", "position", "report", "scores", "space"},
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_run_leaves_everything_it_promises_and_the_pictures_that_its_kind_has(
    tmp_path, capsys, name
):
    compare = ("evaluation.report=true", "evaluation.compare_gradients_every=2")
    outcome = predictive(config(tmp_path, *compare, name=name))
    assert outcome is not None
    folder = outcome.folder
    names = {path.name for path in folder.path.iterdir()}
    pictures = {f"{picture}.png" for picture in PICTURES[name]}
    tables = {"gradients.csv", "metrics.csv"}
    assert names == {"args.json", "checkpoints", "results.json", *tables, *pictures}
    assert all((folder.path / picture).stat().st_size > 5_000 for picture in pictures)
    assert {path.name for path in folder.last.parent.iterdir()} == {"last.ckpt", "best.ckpt"}
    assert json.loads(folder.args.read_text())["data"]["num_train"] == 32
    results = json.loads(folder.results.read_text())
    promised = (
        "method entropy over dataset data settings epochs seed hardware num_processes precision "
        "versions commit finished seconds final_terms results"
    )
    assert set(promised.split()) <= results.keys()
    assert {"python", "torch", "lightning", "solo_ldm"} <= results["versions"].keys()
    assert results["seed"] == 5
    found = results["results"]
    for target, scores in found["decoding"].items():
        features = {score["features"] for score in scores}
        assert features == {"latent state", "latents", "untrained state"}
        for score in scores:
            assert score["null_mean"] <= score["null_high"] < 0.7
            assert -5.0 < score["r2"] <= 1.0
            assert score["num_train_bins"] == 32 * 12
            assert score["num_test_bins"] == 8 * 12
        interval = found["intervals"][target]
        assert 0.5 < interval["coverage"] <= 1.0
        low, high = interval["coverage_interval"]
        assert low <= interval["coverage"] <= high
    assert (found["identifiability"] is None) == (name == "circular")
    assert (found["noise_correlation"] is None) == (name != "circular")
    assert all({"step", "marginal", "joint"} < row.keys() for row in found["gradient_cosine"])
    assert len(rows(folder)) == results["epochs"]
    shown = capsys.readouterr().out
    assert "R²" in shown
    assert "next:" in shown


LEARNS = (
    "data.num_train=256",
    "data.num_held_out=16",
    "data.num_steps=20",
    "data.observation_noise=0.1",
    "max_epochs=6",
    "+decoders.position.lr=2",
    "~decoders.frames",
)


def test_a_short_run_decodes_position_far_better_than_chance_and_than_untrained_latents(tmp_path):
    outcome = run(tmp_path, *LEARNS)
    after = outcome.results["results"]["decoding"]["position"]
    by_name = {score["features"]: score for score in after}
    assert by_name["latent state"]["r2"] > by_name["untrained state"]["r2"] + 0.12
    for name in ("latent state", "latents"):
        assert by_name[name]["r2"] > by_name[name]["null_high"] + 0.5
    # Online probes see the same latents and bins as decoders fitted after training.
    online = outcome.results["results"]["online_r2"]["position"]
    assert online == float(rows(outcome.folder)[-1]["val_position_r2"])
    assert after[0]["r2"] - 0.1 < online < after[0]["r2"] + 0.02
