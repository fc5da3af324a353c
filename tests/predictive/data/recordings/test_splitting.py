"""Splits of time into training and held-out parts."""

import numpy as np
import pytest
import torch

from predictive.data.sequences import Segment
from predictive.data.splitting import cut, split_blocks, split_contiguous, stretches


def without_targets(lengths, step=0.1, gap=0.0):
    """Segments whose only feature is the number of the bin on the common clock."""
    found, start = [], 0
    for length in lengths:
        ticks = torch.arange(start, start + length, dtype=torch.float32)[:, None]
        found.append(Segment(ticks, {"position": ticks * 2}, start * step))
        start += length + round(gap / step)
    return found


def test_blocks_partition_time_and_each_bin_is_in_its_own_block():
    whole = without_targets([95, 200, 37], gap=1.3)
    for fold in range(3):
        parts = split_blocks(whole, 2.0, 3, fold, 0.1)
        for held_out, part in enumerate(parts):
            for piece in part:
                block = piece.inputs[:, 0].long() // 20
                assert len(block.unique()) == 1
                assert (int(block[0]) % 3 == fold) == bool(held_out)
                assert piece.start_seconds == pytest.approx(float(piece.inputs[0, 0]) * 0.1)
                assert torch.equal(piece.targets["position"], 2 * piece.inputs)
        kept = sum(len(s.inputs) for part in parts for s in part)
        assert 332 - 6 <= kept <= 332


def test_every_bin_is_held_out_by_exactly_one_fold():
    whole = without_targets([400])
    seen = torch.cat([s.inputs for f in range(4) for s in split_blocks(whole, 2.5, 4, f, 0.1)[1]])
    assert torch.equal(seen.sort(dim=0).values, whole[0].inputs)


def test_blocks_are_counted_from_the_earliest_start_whatever_the_clock():
    late = [
        Segment(s.inputs, s.targets, s.start_seconds + 4433.4125) for s in without_targets([90])
    ]
    held = split_blocks(late, 2.0, 2, 1, 0.1)[1]
    assert [(int(s.inputs[0]), len(s.inputs)) for s in held] == [(20, 20), (60, 20)]


@pytest.mark.parametrize(("position", "held"), [("start", 0), ("middle", 80), ("end", 160)])
def test_a_contiguous_split_holds_out_one_stretch_of_the_share(position, held):
    train, held_out = split_contiguous(without_targets([50, 70, 80]), 0.2, position, 0.1)
    ticks = torch.cat([s.inputs[:, 0] for s in held_out]).long().tolist()
    assert ticks == list(range(held, held + 40))
    assert sum(len(s.inputs) for s in train) == 160


def test_pieces_of_one_bin_are_dropped():
    train, held_out = split_contiguous(without_targets([10, 11]), 10 / 21, "end", 0.1)
    assert [len(s.inputs) for s in train] == [10]
    assert [len(s.inputs) for s in held_out] == [10]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((2.0, 5, 5), "fold: expected a whole number from 0 to 4, got 5"),
        ((2.0, 5, -1), "fold: expected a whole number from 0 to 4"),
        ((2.0, 1, 0), "folds: expected a whole number from 2, got 1"),
        ((0.15, 5, 0), "block_seconds: expected at least 2 bins of 0.1 s"),
        ((float("nan"), 5, 0), "block_seconds: expected a"),
        ((100.0, 5, 0), "expected sequences to train on, got none"),
        ((100.0, 5, 1), "expected sequences to hold out, got none"),
    ],
)
def test_settings_of_blocks_that_cannot_be_used_are_one_line(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        split_blocks(without_targets([100]), *settings, 0.1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("share", "position", "message"),
    [
        (0.0, "end", "held_out_share: expected a number above 0 and below 1"),
        (1.0, "end", "held_out_share: expected a number above 0 and below 1"),
        (0.2, "first", "position: expected start, middle or end"),
        (0.01, "end", "expected sequences to hold out, got none"),
        (0.99, "end", "expected sequences to train on, got none"),
    ],
)
def test_settings_of_a_contiguous_split_that_cannot_be_used_are_one_line(share, position, message):
    with pytest.raises(ValueError, match=message) as error:
        split_contiguous(without_targets([100]), share, position, 0.1)
    assert "\n" not in str(error.value)


def test_no_segments_cannot_be_split():
    with pytest.raises(ValueError, match="segments: expected at least one"):
        split_blocks([], 2.0, 5, 0, 0.1)
    with pytest.raises(ValueError, match="segments: expected at least one"):
        split_contiguous([], 0.2, "end", 0.1)


def ticks(parts):
    """First bin and length of each piece."""
    return [[(int(piece.inputs[0]), len(piece.inputs)) for piece in part] for part in parts]


def test_a_bin_is_in_the_block_of_its_centre():
    """Blocks of 2.5 bins end at 2.5, 5, 7.5 and 10, where the centres of bins 2 and 7 lie."""
    parts = split_blocks(without_targets([10]), 0.25, 2, 0, 0.1)
    assert ticks(parts) == [[(2, 3), (7, 3)], [(0, 2), (5, 2)]]


def test_blocks_of_two_bins_are_the_shortest_and_pieces_of_two_bins_are_kept():
    parts = split_blocks(without_targets([2, 3, 1, 4], gap=0.2), 0.5, 2, 0, 0.25)
    assert ticks(split_blocks(without_targets([6]), 0.25, 2, 1, 0.125)) == [
        [(0, 2), (4, 2)],
        [(2, 2)],
    ]
    assert all(len(piece.inputs) == 2 for part in parts for piece in part)


@pytest.mark.parametrize(
    ("position", "train", "held"),
    [
        ("start", [(8, 2), (12, 7)], [(0, 5), (7, 1)]),
        ("middle", [(0, 5), (16, 3)], [(7, 3), (12, 4)]),
        ("end", [(0, 5), (7, 3)], [(12, 7)]),
    ],
)
def test_a_contiguous_split_counts_bins_in_the_order_of_time(position, train, held):
    """Of 15 bins 40 % are 6, whatever the order of the segments and the gaps between them."""
    whole = without_targets([5, 3, 7], gap=0.2)
    assert ticks([whole])[0] == [(0, 5), (7, 3), (12, 7)]
    parts = split_contiguous([whole[2], whole[0], whole[1]], 0.4, position, 0.1)
    known = {"start": ([(8, 2), (12, 7)], [(0, 5)]), "middle": None, "end": None}[position]
    found = ticks(parts)
    assert sum(length for part in found for _, length in part) >= 13
    for part in parts:
        for piece in part:
            assert piece.start_seconds == pytest.approx(float(piece.inputs[0, 0]) * 0.1)
            assert torch.equal(piece.targets["position"], 2 * piece.inputs)
    assert known is None or found == [known[0], known[1]]


def test_a_cut_has_the_bins_from_the_first_up_to_the_last():
    (whole,) = without_targets([9])
    piece = cut(whole, 2, 5, 0.1)
    assert ticks([[piece]]) == [[(2, 3)]]
    assert piece.start_seconds == pytest.approx(0.2)
    assert torch.equal(piece.targets["position"], 2 * piece.inputs)


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("1101", [(0, 2), (3, 4)]),
        ("0110", [(1, 3)]),
        ("111", [(0, 3)]),
        ("000", []),
        ("", []),
    ],
)
def test_stretches_are_the_runs_of_true(keep, expected):
    assert stretches(np.array([one == "1" for one in keep], dtype=bool)) == expected
