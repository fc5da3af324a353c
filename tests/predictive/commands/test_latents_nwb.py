"""Latents as an NWB file, read back by pynwb and pynapple."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import numpy as np
import pytest
from rich.console import Console

from predictive.commands.predictive import predictive
from tests.predictive.commands.test_latents_command import TOLD, latents_of, session
from tests.support.predictive.runs import config

pynwb = pytest.importorskip("pynwb")
START = datetime(2020, 3, 4, 5, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on an npz file with a gap, and an NWB file of the same cells."""
    folder = tmp_path_factory.mktemp("nwb")
    counts, besides = session(0)
    kept = np.r_[0:150, 200:400]
    besides = {name: values[kept] for name, values in besides.items()}
    np.savez(folder / "a.npz", counts=counts[kept], cell_names=range(9), **besides)
    cfg = config(folder, f"data.path={folder / 'a.npz'}", *TOLD, name="recording")
    outcome = predictive(cfg, Console(quiet=True))
    assert outcome is not None
    (folder / "run").symlink_to(outcome.folder.path)
    nwb = pynwb.NWBFile("a rat", "rat", START, session_id="s1")
    for i in range(9):
        times = np.repeat(np.arange(400) * 0.025 + 0.01, counts[:, i])
        nwb.add_unit(spike_times=times, id=i, obs_intervals=[[0.0, 10.0]])
    module = nwb.create_processing_module("behavior", "place")
    place = pynwb.behavior.SpatialSeries(
        name="xy", data=session(0)[1]["position"], timestamps=session(0)[1]["times"],
        reference_frame="0", unit="m",
    )  # fmt: skip
    module.add(pynwb.behavior.Position(spatial_series=place))
    with pynwb.NWBHDF5IO(path=folder / "b.nwb", mode="w") as file:
        file.write(nwb)
    return folder


def test_a_file_has_the_series_and_the_sequences_of_the_npz_file(folder):
    path, about, said = latents_of(folder, "format=nwb")
    latents_of(folder)
    with np.load(path / "latents.npz") as found:
        arrays = dict(found)
    assert "pynapple.load_file" in said
    with pynwb.NWBHDF5IO(path=path / "latents.nwb", mode="r") as file:
        nwb = file.read()
        module = nwb.processing["predictive"]
        series = {name: one for name, one in module.data_interfaces.items() if name != "cells"}
        assert series.keys() == arrays.keys() - {"seconds", "sequence", "cell_names", "bin_seconds"}
        for name, one in series.items():
            np.testing.assert_array_equal(one.data[:], arrays[name])
            np.testing.assert_array_equal(one.timestamps[:], arrays["seconds"])
        assert list(module["cells"]["cell_name"][:]) == about["cells"]
        rows = nwb.intervals["sequences"].to_dataframe()
        np.testing.assert_allclose(rows.start_time, [0.0, 5.0], atol=1e-6)
        np.testing.assert_allclose(rows.stop_time, [3.75, 10.0], atol=1e-6)
        assert nwb.session_start_time.year == 1970
        assert "the date of the recording is not known" in nwb.session_description
    assert not pynwb.validate(path=str(path / "latents.nwb"))


def test_latents_of_an_nwb_file_are_on_its_clock(folder):
    path, _, _ = latents_of(folder, "format=nwb", f"data.path={folder / 'b.nwb'}")
    with pynwb.NWBHDF5IO(path=path / "latents.nwb", mode="r") as file:
        nwb = file.read()
        assert (nwb.session_start_time, nwb.session_id) == (START, "s1")
        assert nwb.processing["predictive"]["states"].timestamps[0] == pytest.approx(0.0125)
    pynapple = pytest.importorskip("pynapple")
    data = pynapple.load_file(path / "latents.nwb")
    assert data["states"].shape[0] == len(data["states"].restrict(data["sequences"]))


def test_what_has_several_clocks_is_refused_and_so_is_a_lack_of_pynwb(folder, monkeypatch):
    counts, besides = session(1)
    np.savez(folder / "c.npz", counts=counts, cell_names=range(9), **besides)
    before = sorted(folder.rglob("*"))
    both = f"data.path={folder / '[ac].npz'}"
    with pytest.raises(ValueError, match="format: expected npz or csv for sequences with clocks"):
        latents_of(folder, "format=nwb", both)
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(ValueError, match=r"format: expected npz or csv without pynwb, got nwb"):
        latents_of(folder, "format=nwb")
    assert sorted(folder.rglob("*")) == before
