"""Readers of hippocampal recordings: CRCNS hc-11 and CEBRA's form of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from predictive.data.recordings.hippocampus import read_cebra, read_hc11
from predictive.data.recordings.recording import recording, segments
from tests.support.predictive.spikes import BIN, flat, place_at, spikes, write_mat


def hc11(maze="1.6m Linear Maze", one_d=True):
    """A session as hc-11 publishes it: hours of sleep about a maze epoch, NaN off the run."""
    maze_start, maze_stop = 1000.0, 1120.0
    looks = np.arange(maze_start - 5, maze_stop + 5, 1 / 39.0625)
    place = place_at(looks)
    off_run = (place < 0.1) | (place > 1.5)
    times, cells = flat(spikes(4, 2000.0))
    on_maze, cells_on_maze = flat(spikes(4, maze_stop - maze_start, maze_start, seed=1))
    order = np.argsort(np.concatenate([times, on_maze]))
    ids = np.array([102, 205, 301, 1304])
    return {
        "sessInfo": {
            "Spikes": {
                "SpikeTimes": np.concatenate([times, on_maze])[order, None],
                "SpikeIDs": ids[np.concatenate([cells, cells_on_maze])][order, None] * 1.0,
                "PyrIDs": np.array([[102.0], [301.0], [1304.0]]),
                "IntIDs": np.array([[205.0]]),
            },
            "Position": {
                "TwoDLocation": np.column_stack([place + 3, 0.02 * np.sin(looks)]),
                "OneDLocation": np.where(off_run, np.nan, place)[:, None] if one_d else [],
                "TimeStamps": looks[None],
                "MazeType": maze,
            },
            "Epochs": {
                "PREEpoch": np.array([[0.0, maze_start]]),
                "MazeEpoch": np.array([[maze_start, maze_stop]]),
                "POSTEpoch": np.array([[maze_stop, 2000.0]]),
            },
        }
    }


@pytest.mark.parametrize("version", [5, 7, 7.3])
def test_hc11_gives_the_pyramidal_cells_on_the_maze(tmp_path, version):
    path = tmp_path / "Achilles_10252013_sessInfo.mat"
    write_mat(path, hc11(), version)
    read = read_hc11(path)
    assert read.name == "Achilles_10252013"
    assert read.cell_names == ("102", "301", "1304")
    assert read.intervals.tolist() == [[1000.0, 1120.0]]
    assert all(one[0] >= 1000 and one[-1] <= 1120 for one in read.spike_times)
    table = hc11()["sessInfo"]["Spikes"]
    expected = table["SpikeTimes"][table["SpikeIDs"] == 301]
    assert np.array_equal(read.spike_times[1], expected[(expected >= 1000) & (expected <= 1120)])
    assert read.position_times[0] >= 1000
    assert read_hc11(path, interneurons=True).cell_names == ("102", "301", "1304", "205")
    data = recording(path)
    assert data.train.inputs.shape[2] == 3
    assert data.units["position"] == "m"
    known = data.train.targets["position"][data.train.mask]
    assert 0.1 <= float(known.min()) <= float(known.max()) <= 1.5


@pytest.mark.parametrize("version", [5, 7.3])
def test_hc11_without_a_place_is_linearised_and_a_circular_maze_is_not(tmp_path, version):
    path = tmp_path / "Cicero_09012014_sessInfo.mat"
    write_mat(path, hc11(one_d=False), version)
    assert read_hc11(path).place is None
    assert recording(path).units["speed"] == "track lengths/s"
    write_mat(path, hc11("Circular Maze"), version)
    with pytest.raises(ValueError, match=r"expected data.linear=false for a circular track"):
        recording(path)
    assert recording(path, linear=False).train.targets["position"].shape[2] == 2


def test_a_mat_file_that_is_not_hc11_is_one_line(tmp_path):
    write_mat(tmp_path / "rat_sessInfo.mat", {"counts": np.ones(3)}, 5)
    with pytest.raises(ValueError, match="expected a struct sessInfo with Spikes"):
        recording(tmp_path / "rat_sessInfo.mat")
    tree = hc11()
    del tree["sessInfo"]["Spikes"]["PyrIDs"]
    write_mat(tmp_path / "rat_sessInfo.mat", tree, 5)
    with pytest.raises(ValueError, match="expected PyrIDs, got"):
        recording(tmp_path / "rat_sessInfo.mat")


def cebra_file(path, directions=(True, False)):
    """Runs of 4 s up and down, of which only the middle is kept, end to end as CEBRA has them."""
    joblib = pytest.importorskip("joblib")
    times = np.arange(4800) * BIN
    place, up = place_at(times), (times % 8) < 4
    kept = (place > 0.2) & (place < 1.4) & np.isin(up, directions)
    # Each run's cell 0 counts from its start: a sequence over a gap would step back.
    number = np.concatenate([np.arange(len(run)) for run in np.split(*_runs(kept))])
    counts = np.tile(number[:, None] + 1, (1, 5)).astype(np.int64)
    joblib.dump(
        {"spikes": counts, "position": np.column_stack([place, up, ~up])[kept].astype(float)}, path
    )
    return counts


def _runs(kept):
    indices = np.flatnonzero(kept)
    return indices, np.flatnonzero(np.diff(indices) > 1) + 1


@pytest.mark.parametrize(("directions", "runs"), [((True, False), 30), ((True,), 15)])
def test_cebras_form_is_cut_where_runs_were_joined(tmp_path, directions, runs):
    counts = cebra_file(tmp_path / "achilles.jl", directions)
    read = read_cebra(tmp_path / "achilles.jl", trust=True)
    assert np.array_equal(read.counts, counts)
    found = segments(read, running_only=False)
    assert len(found) == runs
    for one in found:
        assert torch.equal(one.inputs[:, 0].diff(), torch.ones(len(one.inputs) - 1))
        assert len(one.targets["direction"].unique()) == 1
    assert recording(tmp_path / "achilles.jl", trust=True).kind == "spikes"


def test_a_pickle_is_not_opened_without_trust(tmp_path):
    class Mine:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    joblib = pytest.importorskip("joblib")
    joblib.dump(Mine(), tmp_path / "achilles.jl")
    with pytest.raises(ValueError, match=r"data\.trust: expected true"):
        recording(tmp_path / "achilles.jl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1], "expected a dictionary of spikes and position, got list"),
        ({"spikes": 1}, r"got \['spikes'\]"),
        ({"spikes": np.ones((4, 2)), "position": np.ones((4, 2))}, r"position \(T, 3\)"),
    ],
)
def test_another_pickle_is_one_line(tmp_path, data, message):
    joblib = pytest.importorskip("joblib")
    joblib.dump(data, tmp_path / "achilles.jl")
    with pytest.raises(ValueError, match=message):
        read_cebra(tmp_path / "achilles.jl", trust=True)
