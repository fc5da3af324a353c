"""The main job as a user runs it, at full length: `pytest -m slow`."""

from __future__ import annotations

import pytest
from cells import TWELVE
from hydra import compose, initialize_config_module

from solo_ldm.host.pretrain import pretrain

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
    for score in scores.values():
        assert score["top1"] > score["untrained_top1"]
