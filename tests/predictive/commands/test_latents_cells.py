"""The cells and signals of a run are known from its folder, without its recording."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from predictive import KalmanSSL
from predictive.commands.predictive import predictive
from predictive.runs import read_run
from tests.predictive.commands.test_latents_command import NAMES, TOLD, latents_of, session
from tests.support.predictive.runs import config


def trained_on(folder, path, *besides):
    told = (f"data.path={path}", *TOLD, *besides)
    outcome = predictive(config(folder, *told, name="recording"), Console(quiet=True))
    assert outcome is not None
    (folder / "run").symlink_to(outcome.folder.path)


def states_of(folder, inputs):
    _, method = read_run(folder / "run")
    with torch.no_grad():
        return method(torch.from_numpy(inputs.astype(np.float32))[None]).states[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run on two sessions whose cells come in different orders; c4 is silent in both."""
    folder = tmp_path_factory.mktemp("two")
    for name, seed, order in (("a", 0, range(9)), ("b", 1, [8, 3, 4, 0, 1, 2, 5, 6, 7])):
        counts, besides = session(seed)
        counts[:, 2 if name == "a" else 5] = 0  # silent in one of them
        named = [NAMES[i] for i in order]
        np.savez(folder / f"{name}.npz", counts=counts[:, [*order]], cell_names=named, **besides)
    trained_on(folder, f"[{folder / 'a.npz'},{folder / 'b.npz'}]")
    return folder


def test_a_new_session_needs_no_recording_of_the_training(two):
    kept = [name for name in NAMES if name != "c4"]
    about = json.loads((two / "run" / "data.json").read_text())
    assert (about["features"], about["kind"], about["step_seconds"]) == (kept, "spikes", 0.025)
    counts, besides = session(2)
    order = [5, 6, 7, 8, 0, 1, 2, 3, 4]
    named = [NAMES[i] for i in order]
    np.savez(two / "new.npz", counts=counts[:, order], cell_names=named, **besides)
    _, _, before = latents_of(two, f"data.path={two / 'new.npz'}")
    (two / "a.npz").rename(two / "moved")
    try:
        path, about, said = latents_of(two, f"data.path={two / 'new.npz'}")
        with pytest.raises(
            FileNotFoundError, match=r"data.path: expected the recording .* no file"
        ):
            latents_of(two)
    finally:
        (two / "moved").rename(two / "a.npz")
    assert said == before
    assert about["cells"] == kept
    with np.load(path / "latents.npz") as found:
        expected = states_of(two, np.delete(counts, 4, axis=1))
        np.testing.assert_allclose(found["states"], expected, atol=1e-6)


def test_a_run_that_is_loaded_as_an_estimator_knows_its_cells_by_name(two, tmp_path):
    model = KalmanSSL.load(two / "run")
    kept = [name for name in NAMES if name != "c4"]
    assert model.feature_names_in_.tolist() == kept
    assert model.bin_seconds_ == pytest.approx(0.025)
    counts, besides = session(3)
    counts[:, 7] = 0  # c7 is silent, c2 is not there, x is not the model's
    order = [8, 7, 0, 1, 4, 3, 5, 6]
    named = [*(NAMES[i] for i in order), "x"]
    given = np.column_stack([counts[:, order], counts[:, 1]])
    np.savez(tmp_path / "new.npz", counts=given, cell_names=named, **besides)
    path, _, _ = latents_of(two, f"data.path={tmp_path / 'new.npz'}")
    table = pd.DataFrame(given, columns=named, index=besides["times"])
    said = r"1 of the 8 features of fit are missing \(c2\), 2 others are ignored \(c4, x\)"
    again = KalmanSSL.load(model.save(tmp_path / "model.safetensors"))
    for one in (model, again):
        with pytest.warns(UserWarning, match=said), pytest.warns(UserWarning, match="their means"):
            states = one.transform(table)
        with np.load(path / "latents.npz") as found:
            np.testing.assert_allclose(states, found["states"], atol=1e-6)


def test_cells_of_a_run_without_names_are_told_by_their_numbers(tmp_path):
    counts, besides = session(0)  # the fifth is silent, and left out
    np.savez(tmp_path / "a.npz", counts=counts, **besides)
    trained_on(tmp_path, tmp_path / "a.npz")
    model = KalmanSSL.load(tmp_path / "run")
    expected = model.transform(np.delete(counts, 4, axis=1))
    with pytest.warns(UserWarning, match=r"X: 1 others are ignored \(4\)"):
        np.testing.assert_array_equal(model.transform(pd.DataFrame(counts)), expected)
    with pytest.raises(ValueError, match=r"9 features, .*: those of fit are 0, 1, 2, 3, 5, …"):
        model.transform(counts)


def test_sequences_are_told_by_session_also_where_two_have_one_name(two, tmp_path):
    for seed, name in enumerate("xy"):
        (tmp_path / name).mkdir()
        counts, besides = session(seed)
        besides["times"] = besides["times"] + np.where(np.arange(400) < 200, 0.0, 5.0 * seed)
        np.savez(tmp_path / name / "s.npz", counts=counts, cell_names=NAMES, **besides)
    files = [str(tmp_path / name / "s.npz") for name in "xy"]
    _, about, _ = latents_of(two, f"data.path={tmp_path / '[xy]' / 's.npz'}")
    assert {name: one["sequences"] for name, one in about["sessions"].items()} == {
        files[0]: [0, 1],
        files[1]: [1, 3],
    }


def test_a_run_of_an_older_version_is_read_with_its_recording(two, tmp_path):
    by_name = latents_of(two)[1]
    with np.load(two / "run" / "latents" / "latents.npz") as found:
        states = found["states"]
    data = two / "run" / "data.json"
    now = data.read_text()
    data.write_text(json.dumps({k: v for k, v in json.loads(now).items() if k != "features"}))
    try:
        assert latents_of(two)[1]["cells"] == by_name["cells"]
        with np.load(two / "run" / "latents" / "latents.npz") as found:
            np.testing.assert_array_equal(found["states"], states)
        (two / "b.npz").rename(two / "moved")
        with pytest.raises(FileNotFoundError, match="expected the recording"):
            latents_of(two, f"data.path={two / 'a.npz'}")
        counts, besides = session(5)
        np.savez(two / "b.npz", counts=counts, cell_names=NAMES, **besides)
        with pytest.raises(ValueError, match=r"data.path: expected the recording .* got another"):
            latents_of(two, f"data.path={two / 'a.npz'}")
    finally:
        data.write_text(now)
        (two / "moved").rename(two / "b.npz")


def test_signals_in_the_bins_of_their_file_have_latents(tmp_path):
    counts, besides = session(0)
    smooth = np.apply_along_axis(np.convolve, 0, counts.astype(float), np.ones(5), "same")
    signals = smooth + np.random.default_rng(0).normal(size=counts.shape) * (smooth.max(axis=0) > 0)
    signals[:, 4] = 0.5  # constant: left out
    signals[100:110, 2] = np.nan
    cue = np.where(np.arange(400) < 200, "left", "right")
    fields = {"signals": signals, "cell_names": NAMES, "cue": cue, **besides}
    np.savez(tmp_path / "a.npz", **fields)
    told = ("data.bin_seconds=null", "encoder.transform=none", "+data.targets={cue: categorical}")
    trained_on(tmp_path, tmp_path / "a.npz", *told)
    (tmp_path / "a.npz").unlink()
    order = [8, 0, 1, 2, 3, 5, 6, 7]
    named = [NAMES[i] for i in order]
    signals[:, 3] = np.nan
    np.savez(tmp_path / "b.npz", **{**fields, "signals": signals[:, order], "cell_names": named})
    path, about, said = latents_of(tmp_path, f"data.path={tmp_path / 'b.npz'}")
    assert about["bin_seconds"] == pytest.approx(0.025)
    assert "b: 1 signals are constant or missing (c3)" in said
    assert "10 of 400 bins lack a value and count as missing" in said
    _, method = read_run(tmp_path / "run")
    inputs = np.delete(signals, 4, axis=1)
    inputs[:, 3] = method.encoder.neutral[3]
    known = torch.from_numpy(np.isfinite(inputs).all(axis=1))[None]
    with torch.no_grad():
        expected = method(torch.from_numpy(np.nan_to_num(inputs)).float()[None], known).states[0]
    with np.load(path / "latents.npz") as found:
        np.testing.assert_allclose(found["states"], expected, atol=1e-6)
        assert found["target_cue"].shape == (400, 2)
    assert KalmanSSL.load(tmp_path / "run").bin_seconds_ == pytest.approx(0.025)
    # Bins of another duration are not those that the model knows.
    fields["times"] = besides["times"] * 1.7
    np.savez(tmp_path / "c.npz", **fields)
    with pytest.raises(ValueError, match=r"data.bin_seconds: expected a multiple of .*c.npz"):
        latents_of(tmp_path, f"data.path={tmp_path / 'c.npz'}")
