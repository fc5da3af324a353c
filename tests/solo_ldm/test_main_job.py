"""The main job as a user runs it, at full length: `pytest -m slow`."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_module

from solo_ldm.commands.linear import linear
from solo_ldm.commands.pretrain import pretrain
from tests.support.methods.cells import TWELVE

pytestmark = pytest.mark.slow


def train(name: str, *overrides: str) -> dict:
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        outcome = pretrain(compose(name, overrides=list(overrides)))
    assert outcome is not None
    return outcome.results


def test_gaussprob_learns_digits_within_three_minutes(tmp_path):
    results = train("gaussprob", f"checkpoint.dir={tmp_path}")
    assert results["results"]["knn-20"]["top1"] >= 0.97
    assert results["seconds"] < 180


@pytest.mark.parametrize(("support", "entropy", "over"), TWELVE)
def test_every_cell_beats_the_untrained_network(tmp_path, support, entropy, over):
    name = {"plane": "gaussprob", "sphere": "sphereprob"}[support]
    cell = (f"method_kwargs.entropy={entropy}", f"method_kwargs.over={over}")
    scores = train(name, f"checkpoint.dir={tmp_path}", *cell)["results"]
    for protocol in ("knn-20", "linear-features"):
        assert scores[protocol]["top1"] > scores[protocol]["untrained_top1"]


def test_linear_features_and_linear_offline_agree_on_digits(tmp_path):
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        folder = f"checkpoint.dir={tmp_path}"
        run = pretrain(compose("gaussprob", overrides=[folder, "max_epochs=20"]))
        assert run is not None
        scores = {}
        for protocol in ("linear-features", "linear-offline"):
            source = f"pretrained_feature_extractor={run.folder.path}"
            cfg = compose("linear", overrides=[folder, source, f"protocol={protocol}"])
            outcome = linear(cfg)
            assert outcome is not None
            scores[protocol] = outcome.results["top1"]
    # A point, and the 0.28 of one of the 359 images.
    assert abs(scores["linear-features"] - scores["linear-offline"]) < 0.0128
