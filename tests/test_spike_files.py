import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from predictive.data.hippocampus import read_cebra, read_hc11
from predictive.data.nwb import read_nwb
from predictive.data.recordings import recording, segments
from predictive.data.spike_files import from_fields, read_mat, read_npz

BIN = 0.025


def place_at(times):
    """Place on a track of 1.6 m, up and down once in 8 s."""
    return 1.6 * (1 - np.abs((np.asarray(times) / 4) % 2 - 1))


def spikes(cells=3, seconds=120.0, start=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return [np.sort(rng.uniform(start, start + seconds, 300 + 50 * i)) for i in range(cells)]


def flat(times):
    """Spike times of all cells in the order of time, and the cell of each."""
    cells = np.repeat(np.arange(len(times)), [len(one) for one in times])
    order = np.argsort(np.concatenate(times))
    return np.concatenate(times)[order], cells[order]


def counted_fields(seconds=120.0, silent=(), seed=0):
    times = (np.arange(round(seconds / BIN)) + 0.5) * BIN
    counts = np.random.default_rng(seed).poisson(0.3, (len(times), 4)).astype(np.uint8)
    counts[:, list(silent)] = 0
    return {"counts": counts, "times": times, "position": place_at(times), "bin_seconds": BIN}


def timed_fields():
    looks = np.arange(0, 120, 0.04)
    x = place_at(looks)
    times, cells = flat(spikes())
    return {
        "spike_times": times,
        "spike_cells": cells,
        "position_times": looks,
        "xy": np.column_stack([x, 0.1 * x]),
    }


def write_v73(path, tree):
    """Write a file as MATLAB 7.3 does: HDF5 after a block of 512 bytes, matrices transposed."""
    h5py = pytest.importorskip("h5py")

    def put(group, name, value):
        if isinstance(value, dict):
            inner = group.create_group(name)
            inner.attrs["MATLAB_class"] = np.bytes_("struct")
            for key, one in value.items():
                put(inner, key, one)
        elif isinstance(value, str):
            codes = np.array([[ord(c)] for c in value], dtype=np.uint16)
            group.create_dataset(name, data=codes)
            group[name].attrs["MATLAB_class"] = np.bytes_("char")
        elif isinstance(value, list):
            held = group.file.require_group("#refs#")
            names = [f"{name}{i}" for i in range(len(value))]
            for key, one in zip(names, value, strict=True):
                put(held, key, one)
            references = np.array([[held[key].ref] for key in names], dtype=h5py.ref_dtype)
            group.create_dataset(name, data=references, dtype=h5py.ref_dtype)
            group[name].attrs["MATLAB_class"] = np.bytes_("cell")
        elif np.size(value) == 0:
            group.create_dataset(name, data=np.array([0, 0], dtype=np.uint64))
            group[name].attrs["MATLAB_empty"] = np.uint8(1)
        else:
            group.create_dataset(name, data=np.atleast_2d(value).T)
            group[name].attrs["MATLAB_class"] = np.bytes_("double")

    with h5py.File(path, "w", userblock_size=512) as file:
        for key, value in tree.items():
            put(file, key, value)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    with open(path, "r+b") as file:
        file.write(head)


def write_mat(path, tree, version):
    if version == 7.3:
        write_v73(path, tree)
        return

    def as_cells(value):
        if isinstance(value, dict):
            return {key: as_cells(one) for key, one in value.items()}
        if isinstance(value, list):
            cells = np.empty((1, len(value)), dtype=object)
            cells[0, :] = value
            return cells
        return value

    scipy.io.savemat(path, as_cells(tree), do_compression=version == 7)


def same(one, other):
    assert np.array_equal(one.position_times, other.position_times)
    np.testing.assert_array_equal(one.position, other.position)
    assert (one.place is None) == (other.place is None)
    assert one.cell_names == other.cell_names
    if other.counts is not None:
        assert np.array_equal(one.counts, other.counts)
        assert np.array_equal(one.count_starts, other.count_starts)
    else:
        for a, b in zip(one.spike_times, other.spike_times, strict=True):
            assert np.array_equal(a, b)


# --- npz ---


def test_an_npz_file_of_counts_gives_them_back_bin_for_bin(tmp_path):
    fields = counted_fields()
    np.savez(tmp_path / "rat.npz", **fields)
    read = read_npz(tmp_path / "rat.npz")
    assert read.name == "rat"
    assert np.array_equal(read.counts, fields["counts"])
    np.testing.assert_allclose(read.count_starts, np.arange(4800) * BIN, atol=1e-9)
    (one,) = segments(read, running_only=False)
    assert np.array_equal(one.inputs.numpy(), fields["counts"])
    np.testing.assert_allclose(one.targets["position"][:, 0], fields["position"], atol=1e-5)


def test_the_stamp_says_whether_times_are_centres_or_starts_and_the_bin_may_be_left_out(tmp_path):
    fields = counted_fields()
    del fields["bin_seconds"]
    np.savez(tmp_path / "rat.npz", **fields)
    assert read_npz(tmp_path / "rat.npz").count_starts[0] == pytest.approx(0.0)
    assert read_npz(tmp_path / "rat.npz", stamp="start").count_starts[0] == pytest.approx(BIN / 2)
    with pytest.raises(ValueError, match="stamp must be"):
        read_npz(tmp_path / "rat.npz", stamp="end")


def test_flat_spike_times_are_given_to_their_cells_and_a_silent_cell_keeps_its_name(tmp_path):
    fields = timed_fields()
    fields["cell_names"] = np.array(["a", "b", "c", "d"])
    np.savez(tmp_path / "rat.npz", **fields)
    read = read_npz(tmp_path / "rat.npz")
    for one, expected in zip(read.spike_times, [*spikes(), []], strict=True):
        assert np.array_equal(one, expected)
    assert recording(tmp_path / "rat.npz").description.startswith("rat: 3 cells, without silent d;")


def test_objects_in_an_npz_file_are_never_unpickled(tmp_path):
    times = np.empty(2, dtype=object)
    times[:] = [np.arange(3.0), np.arange(4.0)]
    np.savez(tmp_path / "rat.npz", spike_times=times)
    with pytest.raises(ValueError, match="is not an npz file of plain arrays"):
        read_npz(tmp_path / "rat.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": None}, "there is no times among its fields .*: expected counts and times"),
        ({"position": None}, "there is no position among its fields"),
        ({"counts": None}, "there is no spike_times among its fields"),
        ({"counts": np.zeros((5, 2))}, r"counts must be \(4800, cells\)"),
        ({"position": np.zeros(7)}, r"position must be \(4800, k\)"),
        ({"times": np.zeros(1), "bin_seconds": None}, "times of two bins"),
        ({"xy": np.zeros((4800, 2)), "position": np.zeros(3)}, r"place must be \(4800,\)"),
        ({"counts": None, "spike_times": np.ones(3)}, "flat spike_times need spike_cells"),
        (
            {"counts": None, "spike_times": np.ones(3), "spike_cells": np.ones(2)},
            "3 spike times need as many cells, got 2",
        ),
        (
            {"counts": None, "spike_times": np.ones(3), "spike_cells": np.ones(3)},
            "there is no position_times",
        ),
    ],
)
def test_fields_that_are_missing_or_do_not_fit_are_one_line(change, message):
    fields = {k: v for k, v in (counted_fields() | change).items() if v is not None}
    with pytest.raises(ValueError, match=message) as error:
        from_fields(fields, "rat")
    assert "\n" not in str(error.value)


# --- MATLAB ---


@pytest.mark.parametrize("version", [5, 7, 7.3])
@pytest.mark.parametrize("struct", [False, True])
def test_every_version_of_a_mat_file_reads_as_the_npz_file_does(tmp_path, version, struct):
    for i, fields in enumerate((counted_fields(), timed_fields())):
        path = tmp_path / f"rat{i}.mat"
        write_mat(path, {"data": fields} if struct else fields, version)
        same(read_mat(path), from_fields(fields, "rat"))


@pytest.mark.parametrize("version", [5, 7.3])
def test_a_cell_array_of_spike_times_has_a_vector_for_each_cell(tmp_path, version):
    fields = timed_fields() | {"spike_times": [*spikes(2), np.zeros((1, 0))], "unit": "cm"}
    fields["cell_names"] = ["one", "two", "three"]
    del fields["spike_cells"]
    fields["xy"] = fields["xy"].T
    write_mat(tmp_path / "rat.mat", fields, version)
    read = read_mat(tmp_path / "rat.mat")
    for one, expected in zip(read.spike_times, [*spikes(2), []], strict=True):
        assert np.array_equal(one, expected)
    assert (read.unit, read.cell_names) == ("cm", ("one", "two", "three"))
    assert read.position.shape == (3000, 2)


# --- NWB ---


def write_nwb(path, names=("xy",), container=True, rate=False, intervals=False, units=True):
    pynwb = pytest.importorskip("pynwb")
    from pynwb.behavior import CompassDirection, Position, SpatialSeries

    nwb = pynwb.NWBFile("a run", "rat", datetime(2020, 1, 1, tzinfo=timezone.utc))
    behaviour = nwb.create_processing_module("behavior", "where the rat was")
    looks = np.arange(3000) * 0.04
    place = place_at(looks)
    stamps = {"rate": 25.0, "starting_time": 0.0} if rate else {"timestamps": looks}

    def series(name):
        return SpatialSeries(
            name=name,
            data=np.column_stack([place, 0 * place]) * 100,
            reference_frame="the corner",
            unit="meters",
            conversion=0.01,
            **stamps,
        )

    found = [series(name) for name in names]
    if container and found:
        behaviour.add(Position(spatial_series=found))
    for one in [] if container else found:
        behaviour.add(one)
    behaviour.add(CompassDirection(spatial_series=series("head")))
    for i, times in enumerate(spikes() if units else ()):
        extra = {"obs_intervals": [[0.0, 50.0], [60.0, 118.0]]} if intervals else {}
        nwb.add_unit(spike_times=times, id=10 + i, **extra)
    with pynwb.NWBHDF5IO(path=path, mode="w") as file:
        file.write(nwb)


@pytest.mark.parametrize("container", [True, False])
@pytest.mark.parametrize("rate", [True, False])
def test_an_nwb_file_gives_units_and_positions_in_their_unit(tmp_path, container, rate):
    write_nwb(tmp_path / "rat.nwb", container=container, rate=rate)
    read = read_nwb(tmp_path / "rat.nwb")
    for one, expected in zip(read.spike_times, spikes(), strict=True):
        assert np.array_equal(one, expected)
    np.testing.assert_allclose(read.position_times, np.arange(3000) * 0.04, atol=1e-9)
    np.testing.assert_allclose(read.position[:, 0], place_at(np.arange(3000) * 0.04), atol=1e-9)
    assert (read.cell_names, read.unit, read.intervals) == (("10", "11", "12"), "meters", None)


def test_intervals_of_observation_are_kept_apart(tmp_path):
    write_nwb(tmp_path / "rat.nwb", intervals=True)
    found = segments(read_nwb(tmp_path / "rat.nwb"), running_only=False)
    assert [(s.start_seconds, len(s.inputs)) for s in found] == [(0.0, 2000), (60.0, 2320)]


def test_one_of_several_positions_is_chosen_by_its_name(tmp_path):
    write_nwb(tmp_path / "rat.nwb", names=("red", "green"))
    assert read_nwb(tmp_path / "rat.nwb", position_series="red").position.shape == (3000, 2)
    with pytest.raises(ValueError, match=r"has 2 positions: set position_series .*green.*red"):
        read_nwb(tmp_path / "rat.nwb")
    with pytest.raises(ValueError, match="has no position named blue"):
        read_nwb(tmp_path / "rat.nwb", position_series="blue")


def test_an_nwb_file_without_positions_or_units_is_one_line(tmp_path):
    write_nwb(tmp_path / "still.nwb", names=())
    with pytest.raises(ValueError, match=r"has no position \(its spatial series: head\)"):
        read_nwb(tmp_path / "still.nwb")
    write_nwb(tmp_path / "quiet.nwb", units=False)
    with pytest.raises(ValueError, match="has no units with spike times"):
        read_nwb(tmp_path / "quiet.nwb")


def test_hdf5_that_is_not_nwb_is_one_line(tmp_path):
    pytest.importorskip("pynwb")
    write_v73(tmp_path / "rat.nwb", {"counts": np.ones(3)})
    with pytest.raises(ValueError, match="is not an NWB file") as error:
        read_nwb(tmp_path / "rat.nwb")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("package", "read"), [("pynwb", read_nwb), ("h5py", read_mat)])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    tmp_path, monkeypatch, package, read
):
    write_v73(tmp_path / "rat", {"counts": np.ones(3)})
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r"pip install 'solo-ldm\[neuro\]'"):
        read(tmp_path / "rat")


# --- hippocampus ---


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
    with pytest.raises(ValueError, match="circular track has no main axis: set linear=false"):
        recording(path)
    assert recording(path, linear=False).train.targets["position"].shape[2] == 2


def test_a_mat_file_that_is_not_hc11_is_one_line(tmp_path):
    write_mat(tmp_path / "rat_sessInfo.mat", {"counts": np.ones(3)}, 5)
    with pytest.raises(ValueError, match="expected a struct sessInfo with Spikes"):
        recording(tmp_path / "rat_sessInfo.mat")
    tree = hc11()
    del tree["sessInfo"]["Spikes"]["PyrIDs"]
    write_mat(tmp_path / "rat_sessInfo.mat", tree, 5)
    with pytest.raises(ValueError, match="there is no PyrIDs among"):
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
    with pytest.raises(ValueError, match="reading it can run code: set trust=true"):
        recording(tmp_path / "achilles.jl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1], "must hold a dictionary of spikes and position, got list"),
        ({"spikes": 1}, r"got \['spikes'\]"),
        ({"spikes": np.ones((4, 2)), "position": np.ones((4, 2))}, r"position \(T, 3\)"),
    ],
)
def test_another_pickle_is_one_line(tmp_path, data, message):
    joblib = pytest.importorskip("joblib")
    joblib.dump(data, tmp_path / "achilles.jl")
    with pytest.raises(ValueError, match=message):
        read_cebra(tmp_path / "achilles.jl", trust=True)


# --- the builder ---


def test_the_builder_splits_into_blocks_and_gives_raw_counts(tmp_path):
    fields = counted_fields()
    np.savez(tmp_path / "rat.npz", **fields)
    data = recording(tmp_path / "rat.npz", running_only=False, fold=1)
    assert data.held_out.lengths.tolist() == [800]
    assert data.held_out.start_seconds.tolist() == pytest.approx([20.0])
    assert np.array_equal(data.held_out.inputs[0].numpy(), fields["counts"][800:1600])
    assert data.train.lengths.tolist() == [800] * 5
    assert data.train.inputs.dtype == torch.float32
    assert data.train.step_seconds == BIN
    assert data.description == ("rat: 4 cells; 2.0 minutes; 5 sequences to train on, 1 held out")
    assert set(data.units) == set(data.train.targets) == {"position", "direction", "speed"}


def test_cells_silent_in_what_is_trained_on_are_left_out_and_named(tmp_path):
    fields = counted_fields(silent=[0])
    fields["counts"][:, 2] = 0
    fields["counts"][10, 2] = 1  # fires in the held-out block alone
    np.savez(tmp_path / "rat.npz", **fields)
    data = recording(tmp_path / "rat.npz", running_only=False)
    assert data.train.inputs.shape[2] == data.held_out.inputs.shape[2] == 2
    assert "2 cells, without silent 0, 2;" in data.description
    fields["counts"][:, [1, 3]] = 0
    np.savez(tmp_path / "rat.npz", **fields)
    with pytest.raises(ValueError, match="all 4 cells are silent in what is trained on"):
        recording(tmp_path / "rat.npz", running_only=False)


@pytest.mark.parametrize("split", ["blocks", "contiguous"])
def test_ragged_sessions_are_each_split_on_their_own(tmp_path, split):
    for i, seconds in enumerate((60.0, 100.0)):
        np.savez(tmp_path / f"rat{i}.npz", **counted_fields(seconds, seed=i))
    data = recording(
        str(tmp_path / "rat*.npz"), running_only=False, split=split, block_seconds=10.0
    )
    lengths = {"blocks": [400, 400, 400, 400], "contiguous": [480, 800]}[split]
    assert data.held_out.lengths.tolist() == lengths
    assert data.description.startswith("2 sessions: 4 cells; 2.7 minutes;")
    paths = [tmp_path / "rat0.npz", str(tmp_path / "rat1.npz")]
    listed = recording(paths, running_only=False, split=split, block_seconds=10.0)
    assert torch.equal(listed.train.inputs, data.train.inputs)


def test_sessions_of_other_cells_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **counted_fields())
    np.savez(tmp_path / "b.npz", **timed_fields())
    with pytest.raises(ValueError, match="b has 3 cells and a has 4"):
        recording([tmp_path / "a.npz", tmp_path / "b.npz"])


def test_a_missing_file_is_one_line(tmp_path):
    for name in ("a.npz", "a.mat", "a.nwb", "a_sessInfo.mat", "a.jl", "*.npz"):
        with pytest.raises(FileNotFoundError, match="give the path of a recording") as error:
            recording(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a recording at all" * 99, b"\x89HDF\r\n\x1a\n"])
@pytest.mark.parametrize("name", ["a.npz", "a.mat", "a.nwb", "a_sessInfo.mat"])
def test_a_damaged_file_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"is not|damaged") as error:
        recording(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "csv"}, "format must be auto or one of"),
        ({"split": "random"}, "split must be"),
        ({"path": "rat.csv"}, "cannot be told from its name"),
        ({"path": []}, "path is empty"),
        ({"fold": 5}, "fold must be"),
        ({"bin_seconds": 0.0}, "bin_seconds must be a positive number"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(tmp_path, settings, message):
    np.savez(tmp_path / "rat.npz", **counted_fields())
    with pytest.raises(ValueError, match=message) as error:
        recording(**({"path": tmp_path / "rat.npz"} | settings))
    assert "\n" not in str(error.value)
