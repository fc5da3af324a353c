"""The command `ica` as a user meets it: files, numbers, pictures, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from PIL import Image
from rich.console import Console

from solo_ldm.cli import main
from solo_ldm.commands.ica import ica
from solo_ldm.commands.ica import schema as ica_schema
from solo_ldm.commands.ica.mixtures import own_mixtures
from solo_ldm.commands.ica.picture import autocorrelation, draw_picture, title_of
from solo_ldm.commands.ica.report import GOOD
from solo_ldm.ica import MODELS
from solo_ldm.ica.problems import generalised_gaussian, ornstein_uhlenbeck
from solo_ldm.ica.trial import run_trial
from tests.support.processes import run_child

FILES = {"results.json", "picture.png", "sources.npy"}
SMALL = {
    "images": ["num_sources=2", "images.size=48"],
    "generalised_gaussian": ["num_sources=2", "generalised_gaussian.num_samples=3000"],
    "ornstein_uhlenbeck": ["num_sources=2", "ornstein_uhlenbeck.num_steps=5000"],
}


def results_of(folder: Path) -> dict:
    assert {path.name for path in folder.iterdir()} == FILES
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("task", SMALL)
def test_a_task_leaves_numbers_a_picture_and_the_sources(task, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["ica", f"task={task}", "restarts=1", "seeds=[0,1]", *SMALL[task]])
    results = results_of(tmp_path / "ica" / task)
    assert results["amari_distance"]["largest"] < GOOD
    assert [trial["seed"] for trial in results["trials"]] == [0, 1]
    for trial in results["trials"]:
        assert len(trial["learned"]) >= 1
        assert trial["fast_ica"]["amari_distance"] >= 0
        assert np.shape(trial["unmixing"]) == np.shape(trial["mixing"]) == (2, 2)
    assert {"protocol", "config", "hardware", "versions", "commit", "seconds"} <= set(results)
    assert results["config"]["task"] == task
    with Image.open(tmp_path / "ica" / task / "picture.png") as picture:
        assert min(picture.size) > 400
    expected = {"images": (2, 48, 48), "generalised_gaussian": (3000, 2)}.get(task, (5000, 2))
    assert np.load(tmp_path / "ica" / task / "sources.npy").shape == expected
    shown = capsys.readouterr().out
    for words in ("Amari distance", "FastICA", "correlations", f"in ica/{task}", "next: solo-ldm"):
        assert words in shown


def test_the_same_command_gives_the_same_numbers_again(tmp_path, monkeypatch):
    """Also where one is a process of its own, and the folder is given by its older name."""
    arguments = ["ica", "task=generalised_gaussian", "seed=3", "restarts=1"]
    arguments += SMALL["generalised_gaussian"]
    monkeypatch.chdir(tmp_path)
    ended = run_child(main, [*arguments, "folder=first"])
    assert ended.code == 0, ended.printed
    main([*arguments, f"output={tmp_path / 'second'}"])
    found = [results_of(tmp_path / name)["trials"][0] for name in ("first", "second")]
    for key in ("seed", "amari_distance", "loss"):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-6)
    assert found[0]["seed"] == 3


def test_own_mixtures_give_sources_and_no_amari_distance(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem = generalised_gaussian(3, 3000, seed=5)
    np.save("mine.npy", problem.mixtures.astype(np.float32))
    main(["ica", "mixtures=mine.npy", "restarts=1"])
    results = results_of(tmp_path / "ica" / "mine")
    assert "amari_distance" not in results
    assert "fast_ica" not in results["trials"][0]
    found = np.load("ica/mine/sources.npy")
    assert problem.sources is not None
    correlations = np.abs(np.corrcoef(problem.sources.T, found.T)[:3, 3:])
    assert correlations.max(axis=1).min() > 0.99
    shown = capsys.readouterr().out
    assert "mixtures of your own, 3000 × 3" in shown
    assert "Amari" not in shown


def test_own_processes_with_their_truth_are_scored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem = ornstein_uhlenbeck(2, 5000, 0.5, [1.0, 10.0], seed=2)
    assert problem.sources is not None
    np.savez("mine.npz", mixtures=problem.mixtures, sources=7.0 * problem.sources)
    main(["ica", "mixtures=mine.npz", "model=ornstein_uhlenbeck", "step_seconds=0.5", "restarts=1"])
    results = results_of(tmp_path / "ica" / "mine")
    assert results["amari_distance"]["largest"] < GOOD
    learned = results["trials"][0]["learned"]["time_constant_seconds"]
    assert learned == pytest.approx([1.0, 10.0], rel=0.3)


def test_an_estimator_with_its_settings(tmp_path):
    overrides = [
        *SMALL["generalised_gaussian"],
        *("task=generalised_gaussian", "entropy=neighbour", "entropy_samples=200", "restarts=1"),
        *("+entropy_kwargs.num_neighbours=5", f"output={tmp_path}"),
    ]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        outcome = ica(compose("ica", overrides=overrides), Console(quiet=True))
    assert outcome.results["config"]["entropy_kwargs"] == {"num_neighbours": 5}
    assert outcome.results["amari_distance"]["largest"] < 0.1


def test_the_schema_knows_the_models():
    assert MODELS == ica_schema.MODELS


REFUSED = {
    "task=image": "task: expected images, generalised_gaussian or ornstein_uhlenbeck",
    "tsk=images": "unknown key tsk: did you mean task?",
    "images.sizes=3": "unknown key images.sizes: did you mean images.size?",
    "images.size=2": "size: expected a whole number from 8 to 427",
    "images.statistics=edges": "images.statistics: expected differences or pixels",
    "num_sources=1": "num_sources: expected a number from 2",
    "num_sources=40": "expected pieces that fit into 2 photographs",
    "seeds=[]": "seeds: expected at least one",
    "seeds=[1,1]": "seeds: expected distinct entries, got 1 2 times",
    "seed=-1": "seed: expected a whole number from 0",
    "restarts=0": "restarts: expected a number from 1",
    "model=ornstein_uhlenbeck": "model=ornstein_uhlenbeck: expected samples in time",
    "model=gauss": "model: expected generalised_gaussian or",
    "unmixing=rotation": "unmixing=rotation: expected model=ornstein_uhlenbeck",
    "entropy=no": "entropy: expected one of exact, kernel",
    "entropy=none": "entropy: expected one of exact, kernel",
    "+entropy_kwargs.ridge=1": "the exact entropy has no settings",
    "smallest_shape=0": "smallest_shape: expected a number above 0",
    "smallest_shape=2": "smallest_shape: expected a number above 0 and below 1.5",
    "step_seconds=0": "step_seconds: expected a number above 0",
    "mixtures=none.npy": "mixtures: expected a path that exists, got none.npy",
    "mixtures=mine.csv": "expected a .npy or .npz file",
    "mixtures=text.npy": "cannot be read as numpy arrays",
    "mixtures=wide.npy": "transpose it?",
    "mixtures=words.npy": "expected real numbers of shape (T, N)",
    "mixtures=holes.npy": "expected finite numbers",
    "mixtures=twice.npy": "expected 3 linearly independent ones, got only 2",
    "mixtures=others.npz": "mixtures: expected an array of that name",
    "mixtures=shapes.npz": "expected sources and mixtures of one shape",
}


@pytest.mark.parametrize("override", REFUSED)
def test_what_is_wrong_is_one_line_and_leaves_nothing(override, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    values = generator.normal(size=(30, 2))
    Path("text.npy").write_text("1 2 3")
    Path("mine.csv").touch()
    np.save("wide.npy", values.T)
    np.save("words.npy", np.array([["a", "b"]] * 5))
    np.save("holes.npy", np.where(values > 2, np.nan, values) * np.array([np.inf, 1.0]))
    np.save("twice.npy", np.concatenate([values, values[:, :1]], axis=1))
    np.savez("others.npz", x=values, y=values)
    np.savez("shapes.npz", mixtures=values, sources=values[:, :1])
    with pytest.raises(SystemExit) as stopped:
        main(["ica", override])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert REFUSED[override] in lines[0]
    assert not (tmp_path / "ica").exists()


def test_a_setting_of_an_ornstein_uhlenbeck_task_that_cannot_work_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["ica", "task=ornstein_uhlenbeck", "entropy=neighbour"])
    assert "stays finite as a latent shrinks" in capsys.readouterr().err


def test_an_archive_of_mixtures_is_closed(tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", mixtures=np.ones((5, 2)), sources=np.ones((5, 1)))
    read, opened = np.load, []
    monkeypatch.setattr(np, "load", lambda *a, **k: opened.append(read(*a, **k)) or opened[-1])
    with pytest.raises(ValueError, match="of one shape"):
        own_mixtures(tmp_path / "x.npz")
    assert [archive.zip for archive in opened] == [None]  # what closing leaves


def test_a_npz_with_one_array_may_name_it_at_will(tmp_path):
    np.savez(tmp_path / "x.npz", anything=np.ones((5, 2)))
    assert own_mixtures(tmp_path / "x.npz").mixtures.shape == (5, 2)


# Pictures.


def test_the_picture_says_both_amari_distances():
    trial = run_trial(generalised_gaussian(2, 2000), 0, restarts=1)
    assert trial.score is not None
    assert trial.fast_ica is not None
    title = title_of(trial)
    assert f"Amari distance {trial.score.amari_distance:.3f}" in title
    assert f"FastICA {trial.fast_ica.amari_distance:.3f}" in title


def test_pictures_show_at_most_six_sources_and_do_without_a_truth(tmp_path):
    problem = generalised_gaussian(8, 2000)
    figure = draw_picture(run_trial(problem, 0, restarts=1))
    assert len(figure.axes) == 3 * 6
    np.save(tmp_path / "own.npy", ornstein_uhlenbeck(2, 500).mixtures)
    for model, panels in (("generalised_gaussian", 4), ("ornstein_uhlenbeck", 4)):
        step = 0.1 if model == "ornstein_uhlenbeck" else None
        own = own_mixtures(tmp_path / "own.npy", step)
        assert len(draw_picture(run_trial(own, 0, model=model, restarts=1)).axes) == panels


def test_autocorrelation_is_that_of_the_definition():
    signal = torch.randn(300, generator=torch.Generator().manual_seed(0)).numpy()
    centred = signal - signal.mean()
    expected = [(centred[lag:] * centred[: 300 - lag]).sum() for lag in range(4)]
    assert autocorrelation(signal, 4) == pytest.approx(np.array(expected) / expected[0], abs=1e-5)
