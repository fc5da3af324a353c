import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from predictive.data.recordings.recording import segments
from predictive.data.recordings.running import linearise, position_at, velocity
from predictive.data.recordings.spikes import SpikeRecording, bin_spikes
from predictive.data.sequences import Segment
from predictive.data.splitting import split_blocks, split_contiguous

BIN = 0.025


def run_up_and_down(times, period=8.0, length=2.0):
    """Place on a track of that length, at constant speed."""
    return length * (1 - np.abs((times / period) % 2 - 1))


def counted(ticks, place=None, cells=2, **settings):
    """A recording whose first cell counts the bins of the clock, so a gap shows as a jump."""
    ticks = np.asarray(ticks)
    starts = ticks * BIN
    counts = np.tile(ticks[:, None] + 1, (1, cells))
    place = run_up_and_down(starts + BIN / 2) if place is None else place
    return SpikeRecording(
        "rat",
        starts + BIN / 2,
        place.reshape(len(ticks), -1),
        counts=counts,
        count_starts=starts,
        count_seconds=BIN,
        **settings,
    )


def spiking(times=None, **settings):
    looks = np.arange(0, 20, 0.04)
    settings = {"spike_times": (np.arange(0.5, 19, 0.1),)} | settings
    return SpikeRecording("rat", looks, run_up_and_down(looks)[:, None], **settings)


def without_targets(lengths, step=0.1, gap=0.0):
    """Segments whose only feature is the number of the bin on the common clock."""
    found, start = [], 0
    for length in lengths:
        ticks = torch.arange(start, start + length, dtype=torch.float32)[:, None]
        found.append(Segment(ticks, {"position": ticks * 2}, start * step))
        start += length + round(gap / step)
    return found


# --- splitting ---


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
        Segment(s.inputs, s.targets, s.start_seconds + 4432.0125) for s in without_targets([90])
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
        ((2.0, 5, 5), "fold must be a whole number from 0 to 4, got 5"),
        ((2.0, 5, -1), "fold must be"),
        ((2.0, 1, 0), "folds must be a whole number from 2, got 1"),
        ((0.15, 5, 0), "block_seconds must be at least 2 bins of 0.1 s"),
        ((float("nan"), 5, 0), "block_seconds must be"),
        ((100.0, 5, 0), "nothing is left to train on"),
        ((100.0, 5, 1), "nothing is left to hold out"),
    ],
)
def test_settings_of_blocks_that_cannot_be_used_are_one_line(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        split_blocks(without_targets([100]), *settings, 0.1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("share", "position", "message"),
    [
        (0.0, "end", "between 0 and 1"),
        (1.0, "end", "between 0 and 1"),
        (0.2, "first", "position must be"),
        (0.01, "end", "nothing is left to hold out"),
        (0.99, "end", "nothing is left to train on"),
    ],
)
def test_settings_of_a_contiguous_split_that_cannot_be_used_are_one_line(share, position, message):
    with pytest.raises(ValueError, match=message) as error:
        split_contiguous(without_targets([100]), share, position, 0.1)
    assert "\n" not in str(error.value)


def test_no_segments_cannot_be_split():
    with pytest.raises(ValueError, match="no segments to split"):
        split_blocks([], 2.0, 5, 0, 0.1)


# --- bins ---


def test_bins_are_half_open_and_decimal_times_on_an_edge_fall_to_the_right():
    counts, starts = bin_spikes([np.array([0.0, 0.1, 0.3, 0.6, 0.7, 0.95])], 0.0, 0.9, 0.1)
    assert counts[:, 0].tolist() == [1, 1, 0, 1, 0, 0, 1, 1, 0]
    np.testing.assert_allclose(starts, np.arange(9) * 0.1)


def test_bins_agree_with_a_histogram_on_an_odd_clock():
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(4400, 4500, n)) for n in (0, 10, 4000)]
    counts, starts = bin_spikes(times, 4432.0125, 4470.0, 0.025)
    edges = np.append(starts, starts[-1] + 0.025)
    for cell, one in enumerate(times):
        expected = np.histogram(one[one < edges[-1]], edges)[0]
        assert np.array_equal(counts[:, cell], expected)


def test_a_million_spikes_are_binned_in_a_second():
    times = [np.sort(np.random.default_rng(i).uniform(0, 3600, 20_000)) for i in range(50)]
    begin = time.process_time()
    counts, _ = bin_spikes(times, 0.0, 3600.0, 0.1)
    assert time.process_time() - begin < 1.0
    assert counts.sum() == 1_000_000


@pytest.mark.parametrize(
    ("times", "seconds", "message"),
    [
        ([0.1, np.nan], 0.1, "not numbers"),
        ([0.2, 0.1], 0.1, "must increase, got 0.2 s before 0.1 s"),
        ([0.1], 0.0, "bin_seconds must be a positive number"),
        ([0.1], -1.0, "bin_seconds must be a positive number"),
        ([0.1], float("nan"), "bin_seconds must be a positive number"),
        ([0.1], 5.0, "no bin of 5 s"),
    ],
)
def test_spikes_that_cannot_be_binned_are_one_line(times, seconds, message):
    with pytest.raises(ValueError, match=message) as error:
        bin_spikes([np.array(times)], 0.0, 1.0, seconds)
    assert "\n" not in str(error.value)


# --- positions ---


def test_positions_are_interpolated_but_not_across_gaps_nan_or_ends():
    looks = np.array([0.0, 0.2, 0.4, 1.4, 1.6, 1.8, 2.0])
    seen = np.array([0.0, 2.0, 4.0, 14.0, 16.0, np.nan, 20.0])[:, None]
    asked = np.array([-0.1, 0.0, 0.1, 0.4, 0.5, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1])
    at = position_at(asked, looks, seen)[:, 0]
    nan = np.nan
    expected = [nan, 0, 1, 4, nan, 14, 15, 16, nan, nan, nan, 20, nan]
    np.testing.assert_allclose(at, expected)


def test_a_longer_gap_is_interpolated_across_when_allowed():
    looks, seen = np.array([0.0, 1.0]), np.array([[0.0], [2.0]])
    assert np.isnan(position_at(np.array([0.5]), looks, seen, 0.9)).all()
    assert position_at(np.array([0.5]), looks, seen, 1.1).item() == 1.0


@pytest.mark.parametrize("angle", [0.3, 1.2, 2.0, 3.5, 5.0])
def test_a_track_at_any_angle_is_linearised_towards_its_larger_coordinate(angle):
    place = np.random.default_rng(1).uniform(size=300)
    place[:2] = 0, 1
    axis = np.array([np.cos(angle), np.sin(angle)])
    position = 70 + 40 * place[:, None] * axis
    position[7] = np.nan
    expected = place if axis[np.abs(axis).argmax()] > 0 else 1 - place
    found = linearise(position)
    assert np.isnan(found[7])
    np.testing.assert_allclose(np.delete(found, 7), np.delete(expected, 7), atol=1e-12)


@pytest.mark.parametrize("position", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_positions_that_do_not_differ_are_no_track(position):
    with pytest.raises(ValueError, match="needs positions that differ"):
        linearise(position)


def test_velocity_is_exact_at_constant_speed_and_never_reaches_over_unknown_positions():
    position = np.arange(100.0)[:, None] * 0.05
    position[40:50] = np.nan
    position[50:] += 100.0
    found = velocity(position, BIN)[:, 0]
    assert np.array_equal(np.isnan(found), np.isnan(position[:, 0]))
    np.testing.assert_allclose(found[~np.isnan(found)], 2.0)


# --- segments ---


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("running_only", [True, False])
def test_no_sequence_reaches_over_a_gap_of_the_clock_or_the_tracker(seed, running_only):
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random(4000) < 0.004, rng.integers(2, 400, 4000), 1)
    ticks = np.cumsum(steps)
    place = run_up_and_down(ticks * BIN + BIN / 2)
    lost = np.isin(ticks // 7, rng.integers(0, ticks[-1] // 7, 25))
    place[lost] = np.nan
    found = segments(counted(ticks, place), running_only=running_only, min_seconds=0.5)
    for one in found:
        stamps = one.inputs[:, 0].numpy() - 1
        assert np.array_equal(np.diff(stamps), np.ones(len(stamps) - 1))
        assert one.start_seconds == pytest.approx(stamps[0] * BIN)
        at = one.targets["position"][:, 0].numpy()
        indices = np.searchsorted(ticks, stamps)
        np.testing.assert_allclose(at, place[indices], rtol=1e-5)
        assert not (running_only and np.isnan(at).any())
    kept = np.concatenate([s.inputs[:, 0].numpy() for s in found])
    assert len(np.unique(kept)) == len(kept)
    if not running_only:
        assert any(torch.isnan(s.targets["position"]).any() for s in found)


@pytest.mark.parametrize("seed", range(4))
def test_no_piece_of_a_split_reaches_over_a_gap_or_a_block(seed):
    rng = np.random.default_rng(seed)
    ticks = np.cumsum(np.where(rng.random(8000) < 0.003, rng.integers(2, 90, 8000), 1))
    found = segments(counted(ticks), min_seconds=0.1)
    first = min(float(s.inputs[0, 0]) for s in found)
    for part in split_blocks(found, 3.0, 5, 2, BIN):
        for one in part:
            stamps = one.inputs[:, 0]
            assert torch.equal(stamps.diff(), torch.ones(len(stamps) - 1))
            assert len(((stamps - first) // 120).unique()) == 1


def test_running_only_leaves_out_pauses_and_the_threshold_is_five_percent_of_the_track():
    ticks = np.arange(2400)
    times = ticks * BIN
    # 10 s up a track of 4, 20 s of pause with a drift of 3 % of the track a second, 10 s down.
    place = np.interp(times, [0, 10, 30, 40, 60], [0.0, 3.4, 4.0, 0.0, 0.0])
    found = segments(counted(ticks, place))
    spans = [(s.start_seconds, s.start_seconds + len(s.inputs) * BIN) for s in found]
    np.testing.assert_allclose(spans, [(0, 10), (30, 40)], atol=0.5)
    assert [float(s.targets["direction"].mean()) for s in found] == [1.0, -1.0]
    assert float(found[1].targets["speed"].median()) == pytest.approx(0.4, rel=1e-3)
    slow = segments(counted(ticks, place), min_speed=0.02)
    assert sum(len(s.inputs) for s in slow) > 39 / BIN


def test_without_running_only_unknown_positions_stay_in_as_nan():
    ticks = np.arange(800)
    place = run_up_and_down(ticks * BIN)
    place[300:340] = np.nan
    (one,) = segments(counted(ticks, place), running_only=False)
    for values in one.targets.values():
        assert torch.isnan(values[:, 0]).nonzero()[:, 0].tolist() == list(range(300, 340))
    assert len(segments(counted(ticks, place), min_speed=0.0)) == 2


def test_spike_times_give_the_same_counts_as_bins_of_them():
    rng = np.random.default_rng(3)
    times = tuple(np.sort(rng.uniform(0, 20, n)) for n in (100, 900))
    looks = np.arange(0, 20.02, 0.02)
    place = run_up_and_down(looks)[:, None]
    whole = SpikeRecording(
        "rat", looks, place, spike_times=times, intervals=np.array([[0.0, 8.0], [10.0, 19.0]])
    )
    found = segments(whole, running_only=False)
    assert [(s.start_seconds, len(s.inputs)) for s in found] == [(0.0, 320), (10.0, 360)]
    counts, _ = bin_spikes(times, 10.0, 19.0, BIN)
    assert np.array_equal(found[1].inputs.numpy(), counts)
    assert found[1].inputs.dtype == torch.float32
    centres = 10.0 + (np.arange(360) + 0.5) * BIN
    at = found[1].targets["position"][:, 0].numpy()
    turn = np.abs(centres % 8 - 0) < 0.03
    np.testing.assert_allclose(at[~turn], run_up_and_down(centres)[~turn], atol=1e-5)


def test_counts_are_added_up_to_coarser_bins_without_mixing_stretches():
    ticks = np.concatenate([np.arange(0, 403), np.arange(500, 901)])
    found = segments(counted(ticks), bin_seconds=0.1, running_only=False)
    assert [len(s.inputs) for s in found] == [100, 100]
    for one, first in zip(found, (0, 500), strict=True):
        four = first + 1 + np.arange(400).reshape(-1, 4)
        assert np.array_equal(one.inputs[:, 0].numpy(), four.sum(axis=1))
        assert one.start_seconds == pytest.approx(first * BIN)
        centres = (first + 2 + 4 * np.arange(100)) * BIN
        np.testing.assert_allclose(
            one.targets["position"][:, 0], run_up_and_down(centres), atol=0.01
        )


def test_coordinates_are_the_target_when_not_linear_and_the_direction_is_along_the_main_axis():
    ticks = np.arange(600)
    up = run_up_and_down(ticks * BIN)
    position = np.column_stack([3.0 * up, -4.0 * up]) + 50
    (one,) = segments(counted(ticks, position), linear=False, running_only=False)
    np.testing.assert_allclose(one.targets["position"].numpy(), position, rtol=1e-5)
    assert float(one.targets["speed"].median()) == pytest.approx(5 * 2 / 8, rel=1e-3)
    assert float(one.targets["direction"][100]) == -1.0
    (line,) = segments(counted(ticks, position), running_only=False)
    assert line.targets["position"].shape == (600, 1)
    assert float(line.targets["position"].min()) == 0.0
    assert float(line.targets["direction"][100]) == -1.0


def test_the_recordings_own_place_comes_before_the_main_axis():
    ticks = np.arange(600)
    place = run_up_and_down(ticks * BIN + BIN / 2)
    without = counted(ticks, np.column_stack([-place, 0 * place]))
    (one,) = segments(without, running_only=False)
    np.testing.assert_allclose(
        one.targets["position"][:, 0], linearise(without.position), atol=1e-6
    )
    assert one.targets["position"][0] == 1
    (one,) = segments(replace(without, place=place), running_only=False)
    np.testing.assert_allclose(one.targets["position"][:, 0], place, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: segments(spiking(spike_times=(np.array([7001.0, 7300.0]),))),
            "clocks do not overlap: spikes run from 7001 to 7300 s, positions from 0 to 19.96 s",
        ),
        (
            lambda: segments(spiking(), min_speed=3.0),
            "at min_speed=3: the fastest speed seen is 0.",
        ),
        (lambda: segments(spiking(), min_seconds=900.0, running_only=False), "longest stretch"),
        (lambda: segments(spiking(), bin_seconds=0.0), "bin_seconds must be a positive number"),
        (lambda: segments(counted(np.arange(99)), bin_seconds=0.03), "must be a multiple"),
        (lambda: segments(counted(np.arange(99)), bin_seconds=0.01), "must be a multiple"),
        (lambda: segments(counted(np.arange(99), circular=True)), "set linear=false"),
        (lambda: counted(np.arange(99), np.full(99, np.nan)), "all 99 positions are NaN"),
        (lambda: counted(np.arange(99) - 50), "counts must be 0 or more, the lowest is -49"),
        (lambda: counted(np.arange(99)[::-1]), "must increase"),
        (lambda: counted(np.full(99, -1)), "all 2 cells are silent"),
        (lambda: counted(np.arange(99), cell_names=("a",)), "1 cell names for 2 cells"),
        (lambda: spiking(spike_times=(np.array([3.0, 2.0]),)), "cell 0 must increase, got 3 s"),
        (lambda: spiking(spike_times=(np.array([3.0, np.nan]),)), "1 values that are not numbers"),
        (lambda: spiking(spike_times=(np.array([]),)), "all 1 cells are silent"),
        (lambda: spiking(intervals=np.array([[3.0, 2.0]])), "intervals must be"),
        (lambda: spiking(place=np.zeros(3)), "place must be"),
        (lambda: spiking(counts=np.zeros((3, 1))), "not both"),
        (lambda: spiking(spike_times=None), "give spike_times, or counts"),
    ],
)
def test_what_cannot_be_used_is_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
