"""Baselines on lightly's losses: names, settings, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from lightly import loss as losses

from solo_ldm.methods import find_method, lightly
from solo_ldm.methods.lightly.recipes import RECIPES
from tests.support.methods.lightly import build, toy, unit


def test_every_recipe_has_a_configuration_and_says_what_it_publishes():
    folder = Path(lightly.__file__).parents[2] / "configs" / "lightly"
    assert sorted(path.stem for path in folder.glob("*.yaml")) == sorted(RECIPES)
    for name, recipe in RECIPES.items():
        cfg = toy(name)
        assert cfg.method == f"lightly/{name}"
        assert set(cfg.method_kwargs) <= set(recipe.settings)
        published = dict(cfg.published)
        assert "arXiv" in published.pop("source")
        for key in published:
            block, _, leaf = key.partition(".")
            known = recipe.settings if block == "method_kwargs" else cfg[block]
            assert not leaf or leaf in known, key


def test_a_configuration_takes_another_data_set():
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = compose("lightly/dino", overrides=["data=cifar10"])
    assert cfg.data.dataset == "cifar10"
    assert cfg.backbone.name == "resnet18"
    assert cfg.augmentations[0].crop_size == 32


def test_the_class_of_a_name_is_one():
    assert find_method("lightly/byol") is lightly.find("byol")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("simclrr", "method: expected lightly/simclr, .*did you mean lightly/simclr"),
        ("mae", "lightly/mae cannot be trained here: it masks patches"),
        ("emp_ssl", "lightly/emp_ssl cannot be trained here: .*collapse"),
    ],
)
def test_other_names_are_refused_in_a_line(name, message):
    with pytest.raises(ValueError, match=message) as raised:
        find_method(f"lightly/{name}")
    assert "\n" not in str(raised.value)


def test_emp_ssl_is_least_where_latents_collapse():
    spread = unit(torch.randn(64, 16))
    collapsed = unit(torch.ones(64, 16))
    loss = losses.EMPSSLLoss()
    assert loss([collapsed, collapsed]) < loss([spread, spread])


def test_a_missing_lightly_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(lightly, "find_spec", lambda name: None)
    lightly.find.cache_clear()
    with pytest.raises(ValueError, match=r"needs the package lightly: pip install solo-ldm\[base"):
        lightly.find("dino")


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("simclr", {"temprature": 1.0}, r"method_kwargs.temprature: did you mean temperature\?"),
        ("simclr", {"base_tau": 0.9}, "unknown key method_kwargs.base_tau"),
        ("simclr", {"temperature": "hot"}, "temperature: expected a number above 0, got 'hot'"),
        ("simclr", {"temperature": 0}, "temperature: expected a number above 0, got 0"),
        ("simclr", {"proj_hidden_dim": 1.5}, "expected a whole number from 1, got 1.5"),
        (
            "simclr",
            {"proj_output_dim": 0},
            "proj_output_dim: expected a whole number from 1, got 0",
        ),
        ("nnclr", {"queue_size": 0}, "queue_size: expected a whole number from 1, got 0"),
        (
            "directclr",
            {"loss_dim": 4096},
            "loss_dim: expected at most .* features of the backbone, got 4096",
        ),
        ("byol", {"base_tau": 1.5}, "base_tau: expected a number from 0 to 1, got 1.5"),
        ("dino", {"use_bn_in_head": 1}, "use_bn_in_head: expected true or false, got 1"),
        ("wmse", {"whitening_size": 8}, "whitening_size: expected at least .*, twice"),
        ("wmse", {"whitening_size": 24}, "batch_size: expected a multiple of 24"),
    ],
)
def test_wrong_settings_are_named_in_a_line(name, kwargs, message):
    with pytest.raises(ValueError, match=message) as raised:
        build(name, **kwargs)
    assert "\n" not in str(raised.value)


def test_momentum_may_stand_where_solo_learn_has_it():
    cfg = toy("byol", base_tau=None, final_tau=None)
    cfg.momentum = {"base_tau": 0.5, "final_tau": 0.75}
    settings = find_method("lightly/byol").settings(cfg)
    assert (settings["base_tau"], settings["final_tau"]) == (0.5, 0.75)
    cfg = toy("simclr")
    cfg.momentum = {"base_tau": 0.5}
    with pytest.raises(ValueError, match=r"unknown key momentum.base_tau: momentum takes none"):
        find_method("lightly/simclr").settings(cfg)


def test_an_older_lightly_is_named_with_what_mends_it(monkeypatch):
    monkeypatch.delattr(losses, "VISRegLoss")
    lightly.find.cache_clear()
    with pytest.raises(ValueError, match=r"needs lightly 1\.6 or later, got .*: pip"):
        lightly.find("dino")
