"""Packaged configurations of the predictive commands, and older names of keys."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir, initialize_config_module
from omegaconf import OmegaConf

import predictive.configs
from predictive.configuration import complete_predictive
from predictive.data.registry import DATASETS
from predictive.encoder import Encoder
from predictive.objective import PredictiveObjective
from predictive.predictors import PREDICTORS
from solo_ldm.config.schema import defaults
from solo_ldm.run.folder import identity
from tests.support import ROOT

PACKAGED = Path(predictive.configs.__file__).parent
OWN = ROOT / "scripts" / "predictive"
FILES = sorted([*PACKAGED.glob("*.yaml"), *OWN.glob("*.yaml")])


# host.yaml is a part of the others, latents.yaml is of a command that trains nothing.
RUNS = [file for file in FILES if file.stem not in ("host", "latents")]


@pytest.mark.parametrize("file", RUNS, ids=lambda f: f.stem)
def test_every_packaged_config_is_complete(file):
    recorded = "data: recording" in file.read_text() or file.stem == "frames" or file.parent == OWN
    overrides = ["data.path=x"] if recorded else []
    if file.parent == OWN:
        overrides.append("hydra.searchpath=[pkg://predictive.configs]")
        where = initialize_config_dir(str(OWN), version_base="1.3")
    else:
        where = initialize_config_module("predictive.configs", version_base="1.3")
    with where:
        cfg = complete_predictive(compose(file.stem, overrides=overrides))
    assert cfg.name.startswith(file.stem.split("_system")[0])
    assert not OmegaConf.missing_keys(cfg)


def parts() -> list[tuple[str, dict[str, Any], Any, set[str]]]:
    """Return what a config gives to a builder, the builder, and what it does not take from it."""

    def read(path: Path) -> dict[str, Any]:
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
        return content

    host: Any = OmegaConf.to_container(defaults(package="predictive.configs"))
    found: list[tuple[str, dict[str, Any], Any, set[str]]] = [
        ("encoder", host["encoder"], Encoder, {"input_dim", "latent_dim"}),
        ("objective", host["objective"], PredictiveObjective, set()),
    ]
    for path in sorted((PACKAGED / "data").glob("*.yaml")):
        settings = read(path)
        found.append((path.stem, settings, DATASETS[settings.pop("dataset")], {"seed"}))
    for path in sorted((PACKAGED / "predictor").glob("*.yaml")):
        found.append((path.stem, read(path), PREDICTORS[path.stem], {"input_dim"}))
    return found


PARTS = parts()


@pytest.mark.parametrize("part", PARTS, ids=[part[0] for part in PARTS])
def test_a_config_lists_every_argument_of_what_it_builds_with_its_default(part):
    _, settings, build, besides = part
    arguments = {
        key: parameter.default
        for key, parameter in inspect.signature(build).parameters.items()
        if key not in besides
    }
    assert list(settings) == list(arguments)
    for key, default in arguments.items():
        if default is inspect.Parameter.empty:
            assert settings[key] == "???", key
        else:
            expected = list(default) if isinstance(default, tuple) else default
            assert settings[key] == expected, key
            assert isinstance(settings[key], bool) == isinstance(expected, bool), key


def test_every_data_set_and_predictor_has_a_config():
    assert {path.stem for path in (PACKAGED / "data").glob("*.yaml")} == set(DATASETS)
    assert {path.stem for path in (PACKAGED / "predictor").glob("*.yaml")} == set(PREDICTORS)


def completed(name: str, *overrides: str) -> Any:
    with initialize_config_module("predictive.configs", version_base="1.3"):
        return complete_predictive(compose(name, overrides=list(overrides)))


def test_settings_of_an_estimator_may_still_be_given_under_their_older_keys():
    older = completed("figure8", "objective.entropy=neighbour", "+objective.num_neighbours=5")
    key = "+objective.entropy_kwargs.num_neighbours=5"
    present = completed("figure8", "objective.entropy=neighbour", key.replace("+", "++"))
    assert older == present
    assert older.objective.entropy_kwargs == {"num_neighbours": 5}


def test_older_keys_at_null_leave_the_identity_of_an_unfinished_run_as_it_was():
    cfg = completed("figure8", "+objective.norm=null", "+objective.ridge=null")
    assert identity(cfg) == identity(completed("figure8"))
    assert identity(cfg)["objective"] == {
        "entropy": "stop_gradient",
        "over": "marginal",
        "weight": 1.0,
        "num_samples": 512,
        "first_step": 0,
    }


def test_output_is_where_runs_are_kept():
    assert completed("figure8", "+output=elsewhere").checkpoint.dir == "elsewhere"
