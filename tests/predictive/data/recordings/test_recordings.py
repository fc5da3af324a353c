from dataclasses import replace

import numpy as np
import pytest
import torch

from predictive.data.recordings.binning import bin_spikes
from predictive.data.recordings.running import linearise
from predictive.data.recordings.segments import segments
from predictive.data.recordings.spikes import SpikeRecording
from predictive.data.splitting import split_blocks

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


def test_kept_pauses_are_inputs_of_one_sequence_whose_targets_are_those_of_the_runs():
    ticks = np.arange(2400)
    place = np.interp(ticks * BIN, [0, 10, 30, 40, 60], [0.0, 3.4, 4.0, 0.0, 0.0])
    runs = segments(counted(ticks, place))
    (whole,) = segments(counted(ticks, place), pauses="keep")
    assert len(whole.inputs) == len(ticks)
    known = torch.isfinite(whole.targets["position"][:, 0])
    for name in ("position", "direction"):
        joined = torch.cat([run.targets[name] for run in runs])
        assert torch.equal(whole.targets[name][known], joined)
    assert torch.isfinite(whole.targets["speed"]).all()
    with pytest.raises(ValueError, match=r"expected runs of 1 s at data.min_speed=0.5, got"):
        segments(counted(ticks, place), pauses="keep", min_speed=0.5)


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
            "expected one clock .* got spikes from 7001 to 7300 s and positions from 0 to 19.96 s",
        ),
        (
            lambda: segments(spiking(), min_speed=3.0),
            "at data.min_speed=3, got at most 0 s, and a speed of at most 0.25; lower",
        ),
        (
            lambda: segments(spiking(), min_seconds=900.0, running_only=False),
            "gap of data.min_seconds=900",
        ),
        (lambda: segments(spiking(), bin_seconds=0.0), "bin_seconds: expected a number above 0"),
        (lambda: segments(counted(np.arange(99)), bin_seconds=0.03), "expected a multiple"),
        (lambda: segments(counted(np.arange(99)), bin_seconds=0.01), "expected a multiple"),
        (lambda: segments(counted(np.arange(99), circular=True)), "expected data.linear=false"),
        (lambda: counted(np.arange(99), np.full(99, np.nan)), "known positions, got 99 of NaN"),
        (
            lambda: counted(np.arange(99) - 50),
            "expected numbers from 0, got -49 in bin 0 of cell 0 .98 such",
        ),
        (lambda: counted(np.arange(99)[::-1]), "expected increasing times"),
        (lambda: counted(np.full(99, -1)), "expected spikes, got 2 silent cells"),
        (lambda: counted(np.arange(99), cell_names=("a",)), "expected 2 cell names, got 1"),
        (lambda: spiking(spike_times=(np.array([3.0, 2.0]),)), "cell 0: expected increasing"),
        (lambda: spiking(spike_times=(np.array([3.0, np.nan]),)), "expected finite times, got 1"),
        (lambda: spiking(spike_times=(np.array([]),)), "expected spikes, got 1 silent cells"),
        (lambda: spiking(intervals=np.array([[3.0, 2.0]])), "expected intervals"),
        (lambda: spiking(place=np.zeros(3)), "expected places"),
        (lambda: spiking(counts=np.zeros((3, 1))), "expected spike_times or counts, got both"),
        (lambda: spiking(spike_times=None), "expected spike_times, or counts"),
    ],
)
def test_what_cannot_be_used_is_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
