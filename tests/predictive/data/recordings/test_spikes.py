"""Spikes counted in bins, and positions at their times."""

import time

import numpy as np
import pytest

from predictive.data.recordings.binning import bin_spikes
from predictive.data.recordings.running import linearise, position_at, velocity


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
        ([0.1, np.nan], 0.1, "expected finite times"),
        ([0.2, 0.1], 0.1, "expected increasing times, got 0.2 s before 0.1 s"),
        ([0.1], 0.0, "bin_seconds: expected a number above 0"),
        ([0.1], -1.0, "bin_seconds: expected a number above 0"),
        ([0.1], float("nan"), "bin_seconds: expected a number above 0"),
        ([0.1], 5.0, "bin_seconds: expected at most the 1 s from 0 to 1, got 5"),
    ],
)
def test_spikes_that_cannot_be_binned_are_one_line(times, seconds, message):
    with pytest.raises(ValueError, match=message) as error:
        bin_spikes([np.array(times)], 0.0, 1.0, seconds)
    assert "\n" not in str(error.value)


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
    with pytest.raises(ValueError, match="expected a track with at least two different positions"):
        linearise(position)


def test_velocity_is_exact_at_constant_speed_and_never_reaches_over_unknown_positions():
    position = np.arange(100.0)[:, None] * 0.05
    position[40:50] = np.nan
    position[50:] += 100.0
    found = velocity(position, 0.025)[:, 0]
    assert np.array_equal(np.isnan(found), np.isnan(position[:, 0]))
    np.testing.assert_allclose(found[~np.isnan(found)], 2.0)
