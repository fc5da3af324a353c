"""Readers of spike recordings: npz, MATLAB and NWB files."""

import sys
from datetime import datetime, timezone

import numpy as np
import pytest

from predictive.data.recordings.nwb import read_nwb
from predictive.data.recordings.recording import recording
from predictive.data.recordings.segments import segments
from predictive.data.recordings.spike_files import from_fields, read_mat, read_npz
from tests.support.predictive.spikes import (
    BIN,
    counted_fields,
    place_at,
    same,
    spikes,
    timed_fields,
    write_mat,
    write_v73,
)

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
    with pytest.raises(ValueError, match="stamp: expected centre or start"):
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
    with pytest.raises(ValueError, match="expected an npz file of plain arrays"):
        read_npz(tmp_path / "rat.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": None}, "expected counts and times .* without times"),
        ({"position": None}, "expected counts and times .* without position"),
        ({"counts": None}, "expected counts and times .* without spike_times"),
        ({"counts": np.zeros((5, 2))}, r"expected counts \(4800, cells\)"),
        ({"position": np.zeros(7)}, r"expected positions \(4800, k\)"),
        ({"times": np.zeros(1), "bin_seconds": None}, "expected times of at least 2 bins"),
        ({"xy": np.zeros((4800, 2)), "position": np.zeros(3)}, r"expected places \(4800,\)"),
        ({"counts": None, "spike_times": np.ones(3)}, "expected spike_cells"),
        (
            {"counts": None, "spike_times": np.ones(3), "spike_cells": np.ones(2)},
            "spike_cells: expected 3, one for each time, got 2",
        ),
        (
            {"counts": None, "spike_times": np.ones(3), "spike_cells": np.ones(3)},
            "expected counts and times .* without position_times",
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
    with pytest.raises(ValueError, match=r"expected one position, got 2 .*green.*red"):
        read_nwb(tmp_path / "rat.nwb")
    with pytest.raises(ValueError, match="expected one position named blue, got 0"):
        read_nwb(tmp_path / "rat.nwb", position_series="blue")


def test_an_nwb_file_without_positions_or_units_is_one_line(tmp_path):
    write_nwb(tmp_path / "still.nwb", names=())
    with pytest.raises(ValueError, match=r"one position, got 0 among .*\(CompassDirection/head\)"):
        read_nwb(tmp_path / "still.nwb")
    write_nwb(tmp_path / "quiet.nwb", units=False)
    with pytest.raises(ValueError, match="expected units with spike times"):
        read_nwb(tmp_path / "quiet.nwb")


def test_hdf5_that_is_not_nwb_is_one_line(tmp_path):
    pytest.importorskip("pynwb")
    write_v73(tmp_path / "rat.nwb", {"counts": np.ones(3)})
    with pytest.raises(ValueError, match="expected an NWB file") as error:
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
