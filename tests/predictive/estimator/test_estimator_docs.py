"""The page on estimators is true: its code runs."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timezone

import numpy as np
import pytest

import predictive
from predictive import KalmanSSL
from predictive.estimator import settings
from predictive.estimator.settings import choose
from tests.support import ROOT

PAGE = (ROOT / "docs" / "estimator.md").read_text()
EXAMPLE = (ROOT / "examples" / "recording.py").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def files_of(folder, counts, place):
    """Write what the page reads: session.npz and session.nwb."""
    np.savez(folder / "session.npz", counts=counts, position=place)
    pynwb = pytest.importorskip("pynwb")
    nwb = pynwb.NWBFile("a run", "rat", datetime(2020, 1, 1, tzinfo=timezone.utc))
    for column in counts.T.astype(int):
        nwb.add_unit(spike_times=np.repeat(np.arange(len(counts)) * 0.25 + 0.1, column))
    with pynwb.NWBHDF5IO(path=folder / "session.nwb", mode="w") as file:
        file.write(nwb)


def trained_for_a_step(monkeypatch):
    """Let what is chosen be one epoch, so that code runs as it stands."""
    for name in ("_STEPS", "_FEWEST_EPOCHS", "_MOST_EPOCHS"):
        monkeypatch.setattr(settings, name, 1)


@pytest.mark.filterwarnings("ignore")
def test_the_code_of_the_page_runs_as_it_stands(tmp_path, monkeypatch, recording):
    counts, place = np.tile(recording[0], (2, 1)), np.tile(recording[1], 2)
    files_of(tmp_path, counts, place)
    trained_for_a_step(monkeypatch)
    monkeypatch.chdir(tmp_path)
    npz, arrays, nwb, loop = SNIPPETS
    names: dict = {}
    exec(npz, names)
    assert (names["low"] <= names["high"]).all()
    exec(loop, names)
    np.testing.assert_allclose(names["state"], names["states"][-1], atol=1e-6)
    assert (tmp_path / "model.safetensors").exists()
    exec(arrays, names)
    of_arrays = names["latents"]
    assert of_arrays.shape == (1200, 12)
    assert (names["low"] < of_arrays).all()
    alone: dict = {}
    exec(nwb, alone)
    kept = len(alone["spikes"])
    assert 1150 < kept < 1200
    np.testing.assert_array_equal(alone["spikes"], counts[:kept])
    assert alone["latents"].shape == (kept, 12)
    assert all(len(code.strip().splitlines()) <= 10 for code in SNIPPETS)


@pytest.mark.filterwarnings("ignore")
def test_the_example_runs_on_a_file_and_on_a_simulation(tmp_path, monkeypatch, capsys, recording):
    monkeypatch.setattr(sys, "argv", ["recording.py"])
    monkeypatch.chdir(tmp_path)
    trained_for_a_step(monkeypatch)
    code = EXAMPLE
    for said, small in (("MINUTES = 4.0", "MINUTES = 1.0"), ("SECONDS = 0.25", "SECONDS = 0.05")):
        assert said in code
        code = code.replace(said, small)
    exec(code, {})
    said = capsys.readouterr().out
    assert "R² of position on held-out time:" in said
    assert "the same state from where it was saved: True" in said
    assert "the same states after loading: True" in said
    difference = re.search(r"`step` and `filter` differ by (\S+)", said)
    assert difference is not None
    assert float(difference[1]) < 1e-6
    assert (tmp_path / "recording_example" / "recording.png").stat().st_size > 20_000
    times = np.arange(1200) * 0.025 + 0.0125
    counts, place = np.tile(recording[0], (2, 1)), np.tile(recording[1], 2)
    np.savez(tmp_path / "my.npz", counts=counts, position=place, times=times)
    monkeypatch.setattr(sys, "argv", ["recording.py", "my.npz"])
    exec(code.split("# %% [markdown]\n# ## Latents")[0], names := {})
    assert names["data"].features == tuple(map(str, range(12)))


def test_the_page_names_every_method_and_every_rule():
    own = {*vars(KalmanSSL), *vars(KalmanSSL.__mro__[1])}
    public = {name for name in own if not name.startswith(("_", "set_"))}
    assert {name for name in public if f"`{name}" not in PAGE} == set()
    rules = [line.split(":")[0].strip() for line in (choose.__doc__ or "").splitlines()
             if re.match(r"    \w+: ", line)]  # fmt: skip
    assert len(rules) >= 8
    assert all(f"`{rule}`" in PAGE for rule in rules)
    assert all(name in PAGE for name in predictive._FACES)
