"""solo-learn's methods on our host; run with SOLO_LEARN=CHECKOUT pytest -m solo_learn."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from solo_ldm.integrations import solo_learn
from solo_ldm.integrations.recipes import RECIPES
from solo_ldm.run.folder import RunFolder
from solo_ldm.weights.pretrained import load_pretrained
from tests.support.methods.solo_learn import (
    WITH_SOLO_LEARN,
    assert_same_weights,
    hosted,
    registry,
)
from tests.support.processes import kill_at

pytestmark = WITH_SOLO_LEARN


def test_every_method_of_solo_learn_has_a_recipe_and_no_other():
    solo_learn.register()
    methods, _ = registry()
    assert set(RECIPES) == set(methods) - {"base", "linear", *solo_learn.BODIES}


def test_solo_learns_methods_read_no_key_that_their_recipe_lacks(original):
    for name, recipe in RECIPES.items():
        source = (original / "solo" / "methods" / f"{name}.py").read_text()
        read = set(re.findall(r"cfg\.method_kwargs\.(\w+)", source))
        assert read == set(recipe.kwargs), name


@pytest.mark.parametrize("name", RECIPES)
def test_each_method_of_solo_learn_trains_in_our_host(tmp_path, name):
    outcome = hosted(tmp_path, name)
    results = outcome.results
    assert results["method"] == f"solo/{name}"
    assert np.isfinite(results["final_terms"]["ssl_loss"])
    assert 0 <= results["results"]["linear-online"]["top1"] <= 1
    assert results["health"]["z_effective_rank"] >= 1
    rows = outcome.folder.metrics.read_text().splitlines()
    last = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert 0 <= float(last["val_acc1"]) <= float(last["val_acc5"]) <= 1  # shares, not percentages
    assert float(last["val_class_loss"]) > 0
    again = load_pretrained(outcome.folder.last)
    assert_same_weights(dict(again.backbone.state_dict()), load_file(outcome.folder.backbone))


@pytest.mark.parametrize("name", ["byol", "supcon"])
def test_without_labels_it_trains_or_says_that_it_needs_them(tmp_path, name):
    overrides = ["data.no_labels=true", "evaluation.protocols=[]"]
    if name == "supcon":
        with pytest.raises(ValueError, match="data: expected labels for method=solo/supcon"):
            hosted(tmp_path, name, *overrides)
        return
    state = torch.load(hosted(tmp_path, name, *overrides).folder.last, weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())
    assert "classifier.weight" not in state["state_dict"]


# With a moving average, a queue from the start, one made when training starts, and a memory.
@pytest.mark.parametrize("name", ["byol", "mocov2plus", "swav", "deepclusterv2"])
def test_a_killed_run_of_a_method_of_solo_learn_continues_bit_for_bit(tmp_path, name):
    overrides = ["max_epochs=3"]
    if name == "swav":
        overrides.append("method_kwargs.epoch_queue_starts=0")
    whole = hosted(tmp_path / "whole", name, *overrides).folder
    # 6 steps an epoch: step 10 is in the second.
    kill_at(10, hosted, tmp_path / "killed", name, *overrides)
    unfinished = RunFolder(next((tmp_path / "killed" / "solo" / name).iterdir()))
    assert unfinished.last.exists()
    resumed = hosted(tmp_path / "killed", name, *overrides).folder
    assert resumed.path == unfinished.path
    assert_same_weights(load_file(resumed.backbone), load_file(whole.backbone))
