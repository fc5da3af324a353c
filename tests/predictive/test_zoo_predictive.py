"""Predictors of time series in the zoo: published, loaded, and scored again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir, initialize_config_module
from rich.console import Console

from predictive.commands.predictive import predictive
from predictive.configuration import complete_predictive
from solo_ldm import zoo
from solo_ldm.run.folder import identity
from solo_ldm.weights.pretrained import load_pretrained
from solo_ldm.weights.published.manifest import read_manifest
from solo_ldm.zoo.kinds import DataNotHereError
from solo_ldm.zoo.publishing import publish

SMALL = ["data.num_train=24", "data.num_held_out=8", "data.num_steps=12", "max_epochs=2"]
LINEAR = ["evaluation.report=false", "evaluation.kinds=[linear]"]
NAMES = {"figure8": "figure8", "nonlinear_system": "system"}


def config(folder: Path, name: str, seed: int) -> Any:
    small = [*SMALL, *LINEAR, "optimizer.batch_size=8", "data.frame_size=6"]
    told = [*small, f"seed={seed}", f"checkpoint.dir={folder}", "accelerator=cpu"]
    with initialize_config_module("predictive.configs", version_base="1.3"):
        return compose(name, overrides=told)


@pytest.fixture(scope="module", params=NAMES)
def published(request, tmp_path_factory) -> tuple[Path, str, list[Path]]:
    """A zoo, the packaged configuration that its entry is of, and the runs."""
    folder, runs = tmp_path_factory.mktemp("zoo"), []
    for seed in (3, 4) if request.param == "figure8" else (3,):
        outcome = predictive(config(folder / "runs", request.param, seed), Console(quiet=True))
        assert outcome is not None
        runs.append(outcome.folder.path)
    publish(runs, NAMES[request.param], folder / "zoo", licence="none: simulated")
    return folder / "zoo", request.param, runs


@pytest.fixture
def own_zoo(published, monkeypatch) -> str:
    """The name of the entry, in place of the package's zoo."""
    monkeypatch.setenv("SOLO_LDM_ZOO", str(published[0]))
    return NAMES[published[1]]


def test_an_entry_has_the_scores_of_its_runs(published):
    folder, config_name, runs = published
    entry = read_manifest(folder)[NAMES[config_name]]
    decoded = "linear decoding of position"
    expected = {
        "figure8": [decoded],
        "nonlinear_system": ["affine R² of the latents", decoded],
    }[config_name]
    assert [one.protocol for one in entry.results] == expected
    recorded = [
        json.loads((run / "results.json").read_text())["results"]["decoding"]["position"]
        for run in runs
    ]
    own = {one["features"]: one["r2"] for one in recorded[0] if one["decoder"] == "linear"}
    (result,) = [one for one in entry.results if one.protocol == decoded]
    assert result.value == pytest.approx(own["latent state"], abs=5e-3)
    assert result.baseline == own["untrained state"]
    assert (result.num_runs, result.num_samples) == (len(runs), recorded[0][0]["num_test_bins"])


def test_verifying_gives_the_published_scores(own_zoo):
    found = zoo.verify(own_zoo)
    assert found.passed
    assert [one.measured.value for one in found.checks] == [
        one.published.value for one in found.checks
    ]
    assert not zoo.verify(own_zoo, {"num_steps": 10}).passed


def test_a_loaded_model_filters_the_sequences_that_it_was_scored_on(own_zoo):
    model: Any = zoo.load(own_zoo)
    sequences = model.held_out()
    states = model.features(sequences.inputs)
    assert states.shape == (8, 12, model.num_features)
    assert not states.requires_grad
    forecast = model(sequences.inputs)
    assert torch.equal(forecast.states, states)
    # What comes later changes nothing: z_t is predicted from z_<t.
    shorter = model(sequences.inputs[:, :6])
    torch.testing.assert_close(shorter.predictions.mean, forecast.predictions.mean[:, :6])
    with pytest.raises(ValueError, match=r"expected \(B, T, 36\), got \(8, 12, 5\)"):
        model(torch.zeros(8, 12, 5))


def test_the_published_configuration_is_that_of_the_run(published, tmp_path):
    folder, config_name, _ = published
    weights = folder / "weights" / NAMES[config_name]
    with initialize_config_dir(str(weights), version_base="1.3"):
        cfg = compose("config", overrides=["hydra.searchpath=[pkg://predictive.configs]"])
    expected = complete_predictive(config(tmp_path, config_name, 3))
    assert identity(complete_predictive(cfg)) == identity(expected)


def test_it_is_no_backbone_of_images(own_zoo):
    with pytest.raises(ValueError, match=f"zoo:{own_zoo} is no image backbone but predictive"):
        load_pretrained(f"zoo:{own_zoo}")


def test_a_recording_is_published_without_its_place(tmp_path, monkeypatch):
    times = np.arange(0.0, 60.0, 0.025)
    position = 0.5 - 0.5 * np.cos(2 * np.pi * times / 8.0)
    rates = np.exp(-((position[:, None] - np.linspace(0, 1, 8)) ** 2) / 0.02)
    counts = np.random.default_rng(0).poisson(rates)
    recording = tmp_path / "mine.npz"
    np.savez(recording, counts=counts, times=times, position=position)
    told = ["data.folds=2", "predictor.latent_dim=4", "max_epochs=1", "optimizer.batch_size=2"]
    where = [f"data.path={recording}", f"checkpoint.dir={tmp_path}", "accelerator=cpu"]
    with initialize_config_module("predictive.configs", version_base="1.3"):
        cfg = compose("recording", overrides=[*told, *where, *LINEAR])
    outcome = predictive(cfg, Console(quiet=True))
    assert outcome is not None
    publish([outcome.folder.path], "rat", tmp_path / "zoo", licence="mine", dataset="my rat")
    monkeypatch.setenv("SOLO_LDM_ZOO", str(tmp_path / "zoo"))
    for path in (tmp_path / "zoo").rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes(), path
    with pytest.raises(DataNotHereError, match="say where they are, path=PATH"):
        zoo.verify("rat")
    assert zoo.verify("rat", {"path": str(recording)}).passed
    model: Any = zoo.load("rat")
    assert model.features(torch.zeros(1, 5, 8)).shape == (1, 5, model.num_features)
    with pytest.raises(DataNotHereError, match="say where they are, path=PATH"):
        model.held_out()
    assert model.held_out(path=str(recording)).inputs.shape[2] == 8
