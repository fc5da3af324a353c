"""From files of recordings to data sets: the builder."""

import numpy as np
import pytest
import torch

from predictive.data.recordings.recording import recording
from tests.support.predictive.spikes import BIN, counted_fields, timed_fields


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
    with pytest.raises(ValueError, match="expected spikes to train on, got 4 silent cells"):
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
    with pytest.raises(ValueError, match=r"b.npz: expected the 4 cells of .*a.npz, got 3"):
        recording([tmp_path / "a.npz", tmp_path / "b.npz"])


def test_a_missing_file_is_one_line(tmp_path):
    for name in ("a.npz", "a.mat", "a.nwb", "a_sessInfo.mat", "a.jl", "*.npz"):
        with pytest.raises(FileNotFoundError, match=r"data\.path: expected") as error:
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
        ({"format": "csv"}, "format: expected auto, npz, mat"),
        ({"split": "random"}, "split: expected blocks or contiguous"),
        ({"path": "rat.csv"}, "data.path: expected a file ending in"),
        ({"path": []}, "expected at least one recording, got none"),
        ({"fold": 5}, "fold: expected a whole number from 0 to 4"),
        ({"bin_seconds": 0.0}, "bin_seconds: expected a number above 0"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(tmp_path, settings, message):
    np.savez(tmp_path / "rat.npz", **counted_fields())
    with pytest.raises(ValueError, match=message) as error:
        recording(**({"path": tmp_path / "rat.npz"} | settings))
    assert "\n" not in str(error.value)
