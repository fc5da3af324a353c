"""A damaged recording is refused in one line, whatever its format and whatever happened to it."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pytest

from predictive.data.recordings.hippocampus import read_cebra, read_hc11
from predictive.data.recordings.nwb import read_nwb
from predictive.data.recordings.spike_files import from_fields, read_mat, read_npz
from tests.predictive.data.recordings.test_hippocampus import hc11
from tests.predictive.data.recordings.test_spike_files import write_nwb
from tests.support.damage import faults
from tests.support.predictive.spikes import counted_fields, timed_fields, write_mat


def written(folder):
    """Write a recording in each format: file, reader and whether it has checksums."""
    fields = counted_fields(seconds=20.0)
    np.savez(folder / "a.npz", **fields)
    np.savez_compressed(folder / "b.npz", **timed_fields())
    for version in (5, 7, 7.3):
        write_mat(folder / f"v{version}.mat", fields, version)
    write_mat(folder / "rat_sessInfo.mat", hc11(), 7)
    write_nwb(folder / "a.nwb")
    spikes = fields["counts"].astype(np.int64)
    position = np.column_stack([fields["position"], spikes[:, :1] > -1, spikes[:, :1] < -1])
    joblib.dump({"spikes": spikes, "position": position}, folder / "a.jl")
    return {
        "a.npz": (read_npz, True),
        "b.npz": (read_npz, True),
        "v5.mat": (read_mat, False),
        "v7.mat": (read_mat, True),
        "v7.3.mat": (read_mat, False),
        "rat_sessInfo.mat": (read_hc11, False),
        "a.nwb": (read_nwb, False),
        "a.jl": (lambda path: read_cebra(path, trust=True), False),
    }


def content(recording):
    arrays = (recording.position, recording.position_times, recording.counts)
    return [None if one is None else one.tobytes() for one in arrays]


@pytest.mark.parametrize("count", [2, pytest.param(None, marks=pytest.mark.slow)])
def test_a_damaged_recording_is_one_line(tmp_path, count):
    wrong = []
    for number, (name, (read, checked)) in enumerate(written(tmp_path).items()):
        good = content(read(tmp_path / name))
        same = (lambda found, good=good: content(found) == good) if checked else (lambda _: True)
        wrong += [
            f"{name}, {one}" for one in faults(tmp_path / name, read, number, count, 16, same)
        ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"counts": np.full((800, 4), "many")}, "counts: expected numbers, got <U4"),
        ({"counts": np.full((800, 4), 1j)}, "counts: expected numbers, got complex128"),
        ({"counts": np.float64(3.0)}, r"expected counts \(800, cells\)"),
        ({"times": [[0.0], [1.0, 2.0]]}, "times: expected numbers, got"),
        ({"times": np.array(["2020-01-01"], "datetime64[D]")}, "times: expected numbers"),
        ({"bin_seconds": [1.0, 2.0]}, "bin_seconds: expected 1 number, got 2"),
        ({"position": "here"}, "position: expected numbers"),
        ({"position": 1.0}, "expected positions"),
    ],
)
def test_what_is_no_number_is_named(changes, said):
    with pytest.raises(ValueError, match=said) as error:
        from_fields({**counted_fields(seconds=20.0), **changes}, "rat")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spike_cells": np.full(1050, 0.5)}, "spike_cells: expected whole numbers"),
        ({"spike_cells": [], "spike_times": [], "cell_names": ["a"]}, "expected"),
        ({"spike_times": [["a"], [1.0]]}, "spike_times: expected numbers"),
        ({"intervals": [1.0, 2.0, 3.0]}, r"expected intervals \(m, 2\), starts and ends, got 3"),
    ],
)
def test_spikes_that_are_no_numbers_are_named(changes, said):
    with pytest.raises(ValueError, match=said) as error:
        from_fields({**timed_fields(), **changes}, "rat")
    assert "\n" not in str(error.value)


def test_a_pickle_or_an_object_array_is_never_unpickled(tmp_path):
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return ran.write_text, ("bang",)

    for name, read in (("a.mat", read_mat), ("a.npz", read_npz), ("a.nwb", read_nwb)):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(ValueError, match="expected"):
            read(tmp_path / name)
    objects = np.empty(1, dtype=object)
    objects[0] = Bomb()
    np.savez(tmp_path / "a.npz", **{**counted_fields(20.0), "counts": objects})
    with pytest.raises(ValueError, match="expected an npz file of plain arrays"):
        read_npz(tmp_path / "a.npz")
    assert not ran.exists()


def test_an_incomplete_npz_is_called_so_and_what_is_not_read_is_said(tmp_path):
    fields = counted_fields(seconds=20.0)
    np.savez(tmp_path / "a.npz", **fields)
    whole = (tmp_path / "a.npz").read_bytes()
    for part in (b"", whole[: len(whole) // 2]):
        (tmp_path / "b.npz").write_bytes(part)
        with pytest.raises(ValueError, match="one that is damaged or incomplete"):
            read_npz(tmp_path / "b.npz")
    both = from_fields({**fields, "signals": fields["counts"]}, "rat")
    assert both.notes == ("counts read, signals left out",)
    names = ["a", "b", "a", *map(str, range(fields["counts"].shape[1] - 3))]
    with pytest.raises(ValueError, match="different cell names, got a more than once"):
        from_fields({**fields, "cell_names": names}, "rat")
    with pytest.raises(ValueError, match="got 1 to 3 s in row 1 after 2 s; sort them"):
        from_fields({**fields, "intervals": [[0.0, 2.0], [1.0, 3.0]]}, "rat")
