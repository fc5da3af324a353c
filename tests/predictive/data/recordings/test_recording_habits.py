"""Recordings as their owners have them: what was a wrong number is a line, or is right."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from predictive.data.recordings.recording import recording
from predictive.data.recordings.segments import segments
from predictive.data.recordings.spike_files import from_fields, read_mat
from predictive.data.splitting import evened
from tests.predictive.data.recordings.test_recordings import counted
from tests.support.predictive.spikes import (
    BIN,
    counted_fields,
    place_at,
    same,
    spikes,
    timed_fields,
    write_v73,
)

STAMPS = np.arange(4000) * BIN + BIN / 2


def refused(message, make, *args, **settings):
    with pytest.raises(ValueError, match=message) as error:
        make(*args, **settings)
    assert "\n" not in str(error.value)


def timed(times, cells, **changes):
    fields = {"spike_times": np.asarray(times, float), "spike_cells": cells, "position": STAMPS}
    return fields | {"position_times": STAMPS} | changes


# --- cells ---


def test_sessions_whose_cells_differ_in_name_are_refused_and_others_put_in_one_order(tmp_path):
    for name, cells in (("A", "123"), ("B", "789"), ("C", "312")):
        fields = counted_fields(40.0, seed=ord(name))
        fields["counts"] = fields["counts"][:, :3] + np.uint8(name == "C") * np.arange(
            3, dtype="u1"
        )
        np.savez(tmp_path / f"{name}.npz", **fields, cell_names=list(cells))
    settings = {"running_only": False, "block_seconds": 10.0}
    both = [tmp_path / "A.npz", tmp_path / "B.npz"]
    refused("the 3 cells of .*A.npz, got 3 without 1, 2, 3 and with other 7, 8", recording, both)
    together = recording([tmp_path / "A.npz", tmp_path / "C.npz"], **settings)
    alone = recording(tmp_path / "C.npz", **settings)
    # C names its columns 3, 1, 2.
    assert np.array_equal(together.held_out.inputs[-1], alone.held_out.inputs[-1][:, [1, 2, 0]])


@pytest.mark.parametrize("cells", [[0, 1], [1, 3], [7, 9, 8]])
def test_numbers_of_cells_index_their_names_from_0_or_from_1(cells):
    times = np.arange(1.0, 1.0 + len(cells))
    read = from_fields(timed(times, np.array(cells), cell_names=list("abc")), "s")
    found = {name: len(one) for name, one in zip("abc", read.spike_times, strict=True)}
    assert (
        found
        == {
            (0, 1): {"a": 1, "b": 1, "c": 0},
            (1, 3): {"a": 1, "b": 0, "c": 1},
            (7, 9, 8): {"a": 1, "b": 1, "c": 1},
        }[tuple(cells)]
    )


def test_numbers_of_cells_that_may_start_at_0_or_at_1_are_refused():
    fields = timed([1, 2], np.array([1, 2]), cell_names=list("abc"))
    refused("start at 0 or at 1, got 1 to 2 for 3 cell_names", from_fields, fields, "s")
    fields["spike_cells"] = np.array([4, 5])
    refused("expected numbers of the 3 cell_names, got 2 different", from_fields, fields, "s")


def test_the_cells_of_spikes_may_be_names():
    fields = timed([3, 1, 2], np.array(["b", "a", "b"]), cell_names=list("abc"))
    read = from_fields(fields, "s")
    assert [one.tolist() for one in read.spike_times] == [[1.0], [2.0, 3.0], []]
    del fields["cell_names"]
    assert from_fields(fields, "s").cell_names == ("a", "b")
    fields["cell_names"] = list("ac")
    refused("expected names among the 2 cell_names, got b", from_fields, fields, "s")


def test_spike_times_out_of_order_are_put_in_order_and_it_is_said(tmp_path):
    fields = timed_fields()
    expected = from_fields(fields, "rat")
    backwards = {key: fields[key][::-1] for key in ("spike_times", "spike_cells")}
    np.savez(tmp_path / "rat.npz", **fields | backwards)
    same(from_fields(fields | backwards, "rat"), expected)
    said = "rat: spike times of 3 cells put in order"
    assert recording(tmp_path / "rat.npz").description.endswith(said)


def test_names_of_cells_may_be_bytes():
    for names in (np.array(["a", "b", "é"]), np.array([one.encode() for one in "abé"])):
        read = from_fields(timed([1.0, 2.0], np.array([0, 1]), cell_names=names), "s")
        assert read.cell_names == ("a", "b", "é")


# --- clocks ---


def test_clocks_that_hardly_overlap_are_refused_with_the_unit_that_fits(tmp_path):
    fields = timed(np.arange(0, 2e5, 40), np.zeros(5000, int), position=place_at(STAMPS))
    np.savez(tmp_path / "ms.npz", **fields)
    how = r"spikes in ms would share 50%: set 'data.time_unit=\[ms,s\]'"
    refused(f"got spikes from 0 to 199960 s .* 0.05% .*; {how}", recording, tmp_path / "ms.npz")
    read = recording(tmp_path / "ms.npz", time_unit=["ms", "s"], running_only=False)
    assert read.train.lengths.sum() + read.held_out.lengths.sum() == pytest.approx(8000, abs=9)
    fields["position_times"] = STAMPS * 1000
    fields["spike_times"] = np.arange(0, 100, 0.02)
    np.savez(tmp_path / "positions.npz", **fields)
    refused(r"positions in ms would share 100%: .*=\[s,ms\]", recording, tmp_path / "positions.npz")


def test_a_stated_unit_of_time_takes_clocks_as_they_are(tmp_path):
    # Hours of sleep around a run of a hundred seconds.
    fields = timed(np.arange(0, 4e3, 1.0), np.zeros(4000, int), position=place_at(STAMPS))
    np.savez(tmp_path / "a.npz", **fields)
    refused("2.50% of it shared; .*data.time_unit=s if", recording, tmp_path / "a.npz")
    recording(tmp_path / "a.npz", time_unit="s")
    refused(
        "expected null for hc11, got s", recording, tmp_path / "a.npz", format="hc11", time_unit="s"
    )


def test_bins_in_milliseconds_give_what_those_in_seconds_give(tmp_path):
    fields = counted_fields(40.0)
    np.savez(tmp_path / "s.npz", **fields)
    np.savez(tmp_path / "ms.npz", **fields | {"times": fields["times"] * 1000})
    one = recording(tmp_path / "s.npz", block_seconds=5.0)
    other = recording(tmp_path / "ms.npz", block_seconds=5.0, time_unit="ms")
    assert np.array_equal(one.train.inputs, other.train.inputs)
    np.testing.assert_allclose(
        one.train.targets["position"], other.train.targets["position"], atol=1e-5
    )


def test_the_stamp_of_bins_is_a_setting(tmp_path):
    fields = counted_fields(40.0)
    np.savez(tmp_path / "a.npz", **fields)
    starts = [
        float(recording(tmp_path / "a.npz", running_only=False, stamp=one).train.start_seconds[0])
        for one in (None, "start")
    ]
    assert np.diff(starts) == pytest.approx(BIN / 2)


def test_a_tracker_slower_than_the_longest_gap_is_refused_with_a_gap_that_works(tmp_path):
    looks = np.arange(0.0, 120.0)
    np.savez(
        tmp_path / "a.npz", **timed_fields() | {"position_times": looks, "xy": place_at(looks)}
    )
    how = "expected at least the 1 s .* set data.max_gap_seconds=1.5"
    refused(how, recording, tmp_path / "a.npz")
    recording(tmp_path / "a.npz", max_gap_seconds=1.5)


# --- positions ---


def test_infinite_positions_are_unknown():
    ticks = np.arange(800)
    place = place_at(ticks * BIN)
    place[300:340] = [np.inf, -np.inf] * 20
    (one,) = segments(counted(ticks, place), running_only=False)
    for values in one.targets.values():
        unknown = (~values[:, 0].isfinite()).nonzero()[:, 0].tolist()
        assert unknown == list(range(300, 340))
    assert one.targets["speed"].nan_to_num().isfinite().all()


# --- matrices of MATLAB ---


@pytest.mark.parametrize("version", [5, 7.3])
def test_sparse_counts_read_as_full_ones(tmp_path, version):
    fields = counted_fields(20.0)
    sparse = scipy.sparse.csc_matrix(fields["counts"].astype(float))
    path = tmp_path / "a.mat"
    if version == 5:
        scipy.io.savemat(path, fields | {"counts": sparse})
    else:
        write_v73(path, {key: one for key, one in fields.items() if key != "counts"})
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "r+") as file:
            group = file.create_group("counts")
            group.attrs["MATLAB_sparse"] = np.uint64(sparse.shape[0])
            for key, part in (("data", "data"), ("ir", "indices"), ("jc", "indptr")):
                group[key] = getattr(sparse, part)
    same(read_mat(path), from_fields(fields, "a"))
    same(from_fields(fields | {"counts": sparse}, "a"), from_fields(fields, "a"))


@pytest.mark.parametrize("version", [5, 7.3])
def test_a_cell_array_of_one_cell_is_one_cell(tmp_path, version):
    fields = timed_fields() | {"spike_times": [spikes(1)[0]]}
    del fields["spike_cells"]
    if version == 5:
        cells = np.empty((1, 1), dtype=object)
        cells[0, 0] = spikes(1)[0]
        scipy.io.savemat(tmp_path / "a.mat", fields | {"spike_times": cells})
    else:
        write_v73(tmp_path / "a.mat", fields)
    (times,) = read_mat(tmp_path / "a.mat").spike_times
    assert np.array_equal(times, spikes(1)[0])


# --- stretches ---


def test_intervals_cut_counts_also_where_two_of_them_touch():
    ticks = np.arange(400)
    spans = np.array([[1.0, 2.0], [2.0, 4.0], [5.0, 20.0]])
    found = segments(counted(ticks, intervals=spans), running_only=False, min_seconds=0.5)
    spans = [(s.start_seconds, len(s.inputs)) for s in found]
    assert spans == [(1.0, 40), (2.0, 80), (5.0, 200)]


def test_one_long_stretch_among_short_ones_is_cut_so_that_half_is_bins():
    lengths = [40_000, *[100] * 200]
    firsts = 2 * np.cumsum([0, *lengths[:-1]])
    ticks = np.concatenate([np.arange(n) + a for n, a in zip(lengths, firsts, strict=True)])
    whole = segments(counted(ticks), running_only=False)
    pieces = evened(whole, 20.0, BIN)
    found = np.array([len(s.inputs) for s in pieces])
    assert found.sum() == sum(lengths)
    assert found.sum() >= 0.12 * len(found) * found.max()
    assert found.max() >= 20.0 / BIN / 2
    stamps = np.concatenate([s.inputs[:, 0] for s in pieces])
    assert np.array_equal(stamps, np.concatenate([s.inputs[:, 0] for s in whole]))
    assert evened(whole[1:], 20.0, BIN) == whole[1:]


def test_a_contiguous_split_of_one_long_and_many_short_stretches_is_hardly_padding(tmp_path):
    lengths = [16_000, *[100] * 80]
    firsts = np.cumsum([0, *(n + 100 for n in lengths[:-1])])
    ticks = np.concatenate([np.arange(n) + a for n, a in zip(lengths, firsts, strict=True)])
    times = (ticks + 0.5) * BIN
    counts = np.random.default_rng(0).poisson(1.0, (len(ticks), 3))
    np.savez(tmp_path / "a.npz", counts=counts, times=times, position=place_at(times))
    settings = {"running_only": False, "split": "contiguous", "block_seconds": 5.0}
    data = recording(tmp_path / "a.npz", **settings)
    assert "the longest stretches cut in pieces" in data.description
    assert float(data.train.mask.double().mean()) > 0.4
    assert int(data.train.lengths.sum() + data.held_out.lengths.sum()) == len(ticks)
