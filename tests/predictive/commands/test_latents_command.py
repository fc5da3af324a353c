"""Latents of a run, and of another session of its cells."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

from predictive.commands.latents import latents
from predictive.commands.predictive import predictive
from predictive.configuration import complete_predictive
from predictive.filtered import filter_sequences
from predictive.runs import read_run
from predictive.training import build_data
from solo_ldm.cli import main
from solo_ldm.config.command import composed_of
from tests.support.predictive.runs import config

NAMES = [f"c{i}" for i in range(9)]
TOLD = (
    *("data.folds=2", "data.window=20", "data.stride=10", "data.running_only=false"),
    "data.bin_seconds=0.025",
    *("predictor.latent_dim=3", "encoder.hidden_dim=6", "max_epochs=1", "optimizer.batch_size=2"),
    *("evaluation.kinds=[linear]", "data.block_seconds=3", "evaluation.targets=[]"),
)


def session(seed):
    """Counts of nine cells, of which c4 never fires, times and places."""
    place = np.sin(np.arange(400) * 0.14)
    counts = np.random.default_rng(seed).poisson(
        np.exp(-6.0 * (place[:, None] - np.linspace(-1, 1, 9)) ** 2)
    )
    counts[:, 4] = 0
    return counts, {"times": np.arange(400) * 0.025 + 0.0125, "position": place}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latents")
    counts, besides = session(0)
    np.savez(folder / "a.npz", counts=counts, cell_names=NAMES, **besides)
    cfg = config(folder, f"data.path={folder / 'a.npz'}", *TOLD, name="recording")
    outcome = predictive(cfg, Console(quiet=True))
    assert outcome is not None
    (folder / "run").symlink_to(outcome.folder.path)
    return folder


def latents_of(folder, *overrides):
    cfg = composed_of("latents", None, [f"run={folder / 'run'}"], "predictive.configs")
    OmegaConf.set_struct(cfg, False)
    for key, _, value in (one.partition("=") for one in overrides):
        OmegaConf.update(cfg, key, float(value) if key.endswith("seconds") else value)
    said = io.StringIO()
    outcome = latents(cfg, Console(width=200, file=said))
    return outcome.folder.path, outcome.results, said.getvalue()


def test_the_latents_of_a_run_are_those_of_its_bins(folder):
    path, about, _ = latents_of(folder)
    assert about["cells"] == [name for name in NAMES if name != "c4"]
    with np.load(path / "latents.npz") as found:
        saved = dict(found)
    assert saved["cell_names"].tolist() == about["cells"]
    counts, besides = session(0)
    np.testing.assert_allclose(saved["seconds"], besides["times"], atol=1e-6)
    np.testing.assert_allclose(saved["target_position"][:, 0], besides["position"], atol=1e-6)
    _, method = read_run(folder / "run")
    kept = np.delete(counts, 4, axis=1).astype(np.float32)
    with torch.no_grad():
        forecast = method(torch.from_numpy(kept)[None])
    np.testing.assert_allclose(saved["latents"], forecast.latents[0], atol=1e-6)
    np.testing.assert_allclose(saved["states"], forecast.states[0], atol=1e-6)
    variances = forecast.state_factor.square().sum(dim=-1)[0]
    np.testing.assert_allclose(saved["variances"], variances, atol=1e-6)
    assert (saved["smoothed_variances"][100:300] <= saved["variances"][100:300] + 1e-6).all()
    # A held-out block as the run itself filtered it begins where the block does.
    cfg = config(folder, f"data.path={folder / 'a.npz'}", *TOLD, name="recording")
    held_out = build_data(complete_predictive(cfg)).held_out
    first = filter_sequences(method, held_out.select([0]), torch.device("cpu"))
    np.testing.assert_allclose(saved["states"][:120], first.states[0, :120], atol=1e-6)


def test_cells_of_another_session_are_found_by_their_names(folder):
    counts, besides = session(1)
    order = [8, 3, 0, 1, 2, 5, 6, 7]  # c4 is not there
    counts[:, 3] = 0
    named = [NAMES[i] for i in order]
    more = np.random.default_rng(2).poisson(1.0, (400, 2))
    shuffled = np.column_stack([counts[:, order], more])
    np.savez(folder / "b.npz", counts=shuffled, cell_names=[*named, "x", "y"], **besides)
    path, about, printed = latents_of(folder, f"data.path={folder / 'b.npz'}")
    assert path.name == "latents-b"
    told = {"missing": [], "ignored": ["x", "y"], "silent": ["c3"], "sequences": [0, 1]}
    assert about["sessions"]["b"] == told
    assert "2 cells are not the model's: ignored (x, y)" in printed
    _, method = read_run(folder / "run")
    kept = np.delete(counts, 4, axis=1).astype(np.float32)
    with torch.no_grad():
        expected = method(torch.from_numpy(kept)[None]).states[0]
    with np.load(path / "latents.npz") as found:
        np.testing.assert_allclose(found["states"], expected, atol=1e-6)
    # A silent cell says something, a missing one nothing.
    fewer = [i for i, name in enumerate(named) if name != "c3"]
    np.savez(folder / "c.npz", counts=shuffled[:, fewer], cell_names=[named[i] for i in fewer],
             **besides)  # fmt: skip
    path, about, printed = latents_of(folder, f"data.path={folder / 'c.npz'}", "format=csv")
    assert "1 cells are missing: the mean of the training stands for them (c3)" in printed
    kept[:, 3] = method.encoder.neutral[3]
    with torch.no_grad():
        expected = method(torch.from_numpy(kept)[None]).states[0]
    with (path / "latents.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 400
    np.testing.assert_allclose([float(one["states_2"]) for one in rows], expected[:, 2], rtol=1e-4)
    assert json.loads((path / "results.json").read_text())["sessions"]["c"]["missing"] == ["c3"]


def test_what_cannot_be_matched_is_refused_before_anything_is_written(folder, tmp_path):
    counts, besides = session(1)
    np.savez(tmp_path / "d.npz", counts=counts, cell_names=[f"z{i}" for i in range(9)], **besides)
    np.savez(tmp_path / "e.npz", signals=counts - 0.5, cell_names=NAMES, **besides)
    before = sorted(folder.rglob("*"))
    for overrides, words in (
        ([f"data.path={tmp_path / 'e.npz'}"], r"e.npz: expected spikes, which .* got signals"),
        ([f"data.path={tmp_path / 'd.npz'}"], r"d: expected cells of the run \(c0, c1"),
        (["data.bin_seconds=0.05"], "data.bin_seconds: expected that of the run, 0.025"),
        (["data.pth=x"], "data.pth"),
    ):
        with pytest.raises(ValueError, match=words) as refused:
            latents_of(folder, *overrides)
        assert "\n" not in str(refused.value)
    assert sorted(folder.rglob("*")) == before


def test_a_run_on_simulated_data_has_latents_and_no_file_is_of_its_cells(tmp_path):
    outcome = predictive(config(tmp_path, name="ornstein_uhlenbeck"), Console(quiet=True))
    assert outcome is not None
    (tmp_path / "run").symlink_to(outcome.folder.path)
    path, about, _ = latents_of(tmp_path)
    with np.load(path / "latents.npz") as found:
        assert found["sequence"].max() + 1 == about["sequences"] == len(about["held_out"])
        assert found["states"].shape == (about["bins"], 2)
    with pytest.raises(ValueError, match="which is simulated"):
        latents_of(tmp_path, "data.path=x.npz")


def test_export_of_a_predictor_says_what_to_do_instead(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["export", str(folder / "run"), str(tmp_path / "w.safetensors")])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "expected a backbone of images, got a predictor of time series" in said
    assert "solo-ldm latents" in said
