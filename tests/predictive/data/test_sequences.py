"""Sequences, windows and batches: padding, times, missing inputs, and the order of training."""

from __future__ import annotations

import re

import pytest
import torch

from predictive.data.module import SequenceLoader, SequenceModule, as_batch
from predictive.data.sequences import Segment, Sequences, TimeSeriesData, pad
from tests.support.predictive.filtering_models import close

LENGTHS = (7, 12, 3, 20)
each_cut = pytest.mark.parametrize(
    ("length", "stride"), [(5, None), (5, 2), (3, 1), (12, 5), (7, 7), (2, None), (20, 3)]
)


def segments(lengths=LENGTHS):
    """Each bin's input says which segment and bin it is; its target the same, negated."""
    made = []
    for i, n in enumerate(lengths):
        t = torch.arange(n, dtype=torch.float32)
        inputs = torch.stack([torch.full_like(t, i), t + 1.0], dim=1)
        made.append(Segment(inputs, {"minus": -inputs[:, 1:]}, start_seconds=100.0 * i + 0.25))
    return made


def padded(lengths=LENGTHS, step=0.5):
    return pad(segments(lengths), step)


def data(count=40, bins=6):
    train, held_out = padded([bins] * count), padded(LENGTHS)
    return TimeSeriesData(train, held_out, "signals")


def order_of(loader):
    return [int(i) for batch in loader for i in batch.inputs[:, 0, 0]]


def test_padding_fills_the_ends_with_zeros_and_unknown_targets():
    found = padded()
    assert found.inputs.shape == (4, 20, 2)
    assert found.lengths.tolist() == list(LENGTHS)
    assert found.mask.sum(dim=1).tolist() == list(LENGTHS)
    assert (found.inputs[~found.mask] == 0.0).all()
    assert found.targets["minus"][~found.mask].isnan().all()
    for i, segment in enumerate(segments()):
        close(found.inputs[i][found.mask[i]], segment.inputs, atol=0)
        close(found.targets["minus"][i][found.mask[i]], segment.targets["minus"], atol=0)


def test_seconds_are_those_of_the_centres_of_bins():
    found = padded(step=0.5)
    assert found.seconds.dtype == torch.float64
    assert found.seconds[3, :3].tolist() == [300.5, 301.0, 301.5]


@pytest.mark.parametrize("index", [[2, 0], torch.tensor([2, 0]), slice(1, 3), [3, 3], slice(0, 0)])
def test_selection_takes_the_same_sequences_of_every_field(index):
    whole, found = padded(), padded().select(index)
    rows = list(range(4))[index] if isinstance(index, slice) else list(map(int, index))
    assert len(found) == len(rows)
    for at, i in enumerate(rows):
        close(found.inputs[at], whole.inputs[i], atol=0)
        assert found.lengths[at] == whole.lengths[i]
        assert found.start_seconds[at] == whole.start_seconds[i]
        both = (found.targets["minus"][at], whole.targets["minus"][i])
        torch.testing.assert_close(*both, equal_nan=True)
    assert found.step_seconds == whole.step_seconds


def cut(length, stride):
    """Which segment and bins each window holds, after a check that they are consecutive."""
    windows = padded().windows(length, stride)
    found = []
    for i in range(len(windows)):
        which, bins = windows.inputs[i, : windows.lengths[i]].unbind(dim=1)
        assert (which == which[0]).all()
        assert (bins.diff() == 1.0).all()
        assert (windows.targets["minus"][i, : len(bins), 0] == -bins).all()
        found.append((int(which[0]), int(bins[0]) - 1))
    return windows, found


@each_cut
def test_windows_never_cross_the_end_of_a_sequence_and_are_full_where_it_is_as_long(length, stride):
    windows, found = cut(length, stride)
    assert windows.inputs.shape[1] == length
    for i, (which, first) in enumerate(found):
        assert windows.lengths[i] == min(length, LENGTHS[which])
        assert first + windows.lengths[i] <= LENGTHS[which]
    assert (windows.inputs[~windows.mask] == 0.0).all()
    assert windows.targets["minus"][~windows.mask].isnan().all()


@each_cut
def test_windows_cover_every_bin_also_of_sequences_shorter_than_one_and_none_twice(length, stride):
    windows, found = cut(length, stride)
    assert len(set(found)) == len(found)
    pairs = list(zip(found, windows.lengths.tolist(), strict=True))
    for which, bins in enumerate(LENGTHS):
        mine = [(first, n) for (of, first), n in pairs if of == which]
        assert {first + i for first, n in mine for i in range(n)} == set(range(bins))
        assert len(mine) == 1 or bins > length


@each_cut
def test_windows_start_at_every_stride_and_at_their_own_time(length, stride):
    windows, found = cut(length, stride)
    for which, bins in enumerate(LENGTHS):
        starts = [first for w, first in found if w == which]
        regular = list(range(0, max(0, bins - length) + 1, stride or length))
        assert starts[: len(regular)] == regular
        assert set(starts) - set(regular) <= {bins - length}
    for i, (which, first) in enumerate(found):
        assert windows.start_seconds[i] == 100.0 * which + 0.25 + 0.5 * first
        assert windows.seconds[i, 0] == padded().seconds[which, first]


def test_a_sequence_shorter_than_a_window_is_trained_on_up_to_its_end():
    both = padded((4, 12))
    short = SequenceModule(TimeSeriesData(both, both, "signals"), 6, None, 3, 0)
    batch = next(iter(short.train_dataloader()))
    assert sorted(batch.known.sum(dim=1).tolist()) == [4, 6, 6]
    assert not batch.missing


def test_no_window_is_the_sequences_themselves():
    whole = padded()
    assert whole.windows(None) is whole


@pytest.mark.parametrize(
    ("length", "stride", "words"),
    [
        (21, None, "data.window: expected at most the 20 bins .* of 4 sequences .* got 21"),
        (1, None, "length: expected a whole number from 2 or null, got 1"),
        (5, -1, "stride: expected a whole number from 1 or null"),
        (5, 0, "stride: expected a whole number from 1 or null"),
    ],
)
def test_windows_that_cannot_be_cut_are_one_line(length, stride, words):
    with pytest.raises(ValueError, match=words) as error:
        padded().windows(length, stride)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "segments: expected at least one"),
        ([Segment(torch.ones(3, 2)), Segment(torch.ones(3, 4))], "the same features and targets"),
        (
            [Segment(torch.ones(3, 2), {"a": torch.ones(3, 1)}), Segment(torch.ones(3, 2))],
            "the same features and targets",
        ),
        (
            [
                Segment(torch.ones(3, 2), {"a": torch.ones(3, 1)}),
                Segment(torch.ones(3, 2), {"a": torch.ones(3, 2)}),
            ],
            "the same features and targets",
        ),
    ],
)
def test_segments_that_do_not_fit_together_are_one_line(parts, words):
    with pytest.raises(ValueError, match=words) as error:
        pad(parts)
    assert "\n" not in str(error.value)


def test_a_batch_of_padded_sequences_is_known_where_there_are_bins_and_misses_nothing():
    batch = as_batch(padded())
    assert torch.equal(batch.known, padded().mask)
    assert not batch.missing
    assert batch.inputs.isfinite().all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_inputs_that_are_not_finite_are_missing_and_enter_as_zero(bad):
    whole = padded()
    inputs = whole.inputs.clone()
    inputs[1, 4] = bad
    inputs[3, 0] = bad
    batch = as_batch(
        Sequences(inputs, whole.lengths, whole.targets, whole.start_seconds, whole.step_seconds)
    )
    expected = whole.mask.clone()
    expected[1, 4] = expected[3, 0] = False
    assert batch.missing
    assert torch.equal(batch.known, expected)
    assert (batch.inputs[~batch.known] == 0.0).all()
    close(batch.inputs[batch.known], whole.inputs[batch.known], atol=0)
    assert inputs[3, 0].isfinite().logical_not().all()  # the data themselves stay


def test_a_bin_with_one_missing_feature_is_missing():
    whole = padded()
    inputs = whole.inputs.clone()
    inputs[1, 4, 0] = torch.nan
    batch = as_batch(Sequences(inputs, whole.lengths, whole.targets, whole.start_seconds))
    assert batch.missing
    assert not batch.known[1, 4]
    assert batch.known.sum() == whole.mask.sum() - 1
    assert batch.inputs.isfinite().all()


def test_the_order_is_a_function_of_seed_and_epoch():
    def orders(seed, epochs=(0, 1, 5)):
        loader = SequenceModule(data(), None, None, 8, seed).train_dataloader()
        found = []
        for epoch in epochs:
            loader.sampler.set_epoch(epoch)
            found.append(order_of(loader))
        return found

    state = torch.get_rng_state()
    first = orders(3)
    torch.manual_seed(11)
    assert orders(3) == first
    assert orders(3, (5,)) == first[2:]
    assert orders(4) != first
    assert first[0] != first[1] != first[2]
    for order in first:
        assert sorted(order) == list(range(40))
    torch.set_rng_state(state)
    orders(3)
    assert torch.equal(state, torch.get_rng_state())


def test_a_continued_run_takes_the_order_of_its_epoch():
    fresh = SequenceModule(data(), None, None, 8, 3).train_dataloader()
    fresh.sampler.set_epoch(2)
    continued = SequenceModule(data(), None, None, 8, 3)
    continued.first_epoch = 2
    assert order_of(continued.train_dataloader()) == order_of(fresh)


def test_batches_of_training_are_full_and_others_hold_everything_in_order():
    module = SequenceModule(data(count=43), None, None, 8, 0)
    loader = module.train_dataloader()
    sizes = [len(batch.inputs) for batch in loader]
    assert sizes == [8] * 5
    assert len(loader) == 5
    assert len(set(order_of(loader))) == 40
    held_out = module.val_dataloader()
    assert order_of(held_out) == [0, 1, 2, 3]
    assert len(held_out) == 1
    small = SequenceLoader(padded(), 3)
    assert [len(batch.inputs) for batch in small] == [3, 1]
    assert len(small) == 2


def test_training_windows_are_cut_and_held_out_sequences_stay_whole():
    module = SequenceModule(data(count=4, bins=10), 4, 3, 4, 0)
    assert module.windows.inputs.shape == (12, 4, 2)
    assert next(iter(module.val_dataloader())).inputs.shape == (4, 20, 2)


@pytest.mark.parametrize("processes", [1, 2])
def test_fewer_windows_than_a_batch_are_one_line_with_a_number_that_works(processes):
    module = SequenceModule(data(count=10), None, None, 16, 0)
    with pytest.raises(ValueError, match=r"optimizer\.batch_size: expected") as error:
        module.check_batches(processes)
    assert "\n" not in str(error.value)
    (number,) = re.findall(r"expected at most (\d+) for", str(error.value))
    SequenceModule(data(count=10), None, None, int(number), 0).check_batches(processes)
