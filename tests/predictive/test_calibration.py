"""Intervals are calibrated on training bins of all phases of what repeats."""

from functools import partial

import pytest
import torch

from predictive.calibration import LEVEL, calibration_bins, fit_interval
from predictive.data.sequences import Sequences
from predictive.decoding.intervals import coverage, decode_with_interval
from predictive.filtered import Filtered

BINS = 100  # of a trial, and of a twentieth of one sequence


def noisy(deviation, seed):
    """Return states (N, T, 2) and what follows from them up to noise of those deviations (N, T)."""
    normal = partial(torch.randn, generator=torch.Generator().manual_seed(seed))
    states = normal(*deviation.shape, 2)
    noise = deviation * normal(*deviation.shape)
    return states, states[..., :1] - states[..., 1:] + noise[..., None]


def filtered(states):
    lengths = torch.full(states.shape[:1], states.shape[1])
    sequences = Sequences(states, lengths, {}, torch.zeros(len(states), dtype=torch.float64))
    return Filtered(sequences, states, states, states, states, None, None)


@pytest.mark.parametrize(
    ("deviation", "what"),
    [
        (torch.tensor([1.0, 0.1]).repeat(10)[:, None].expand(20, BINS), "trials A B A B …"),
        (torch.tensor([1.0, 1.0, 1.0, 0.1]).repeat(5).repeat_interleave(BINS)[None], "five laps"),
    ],
)
def test_intervals_hold_where_the_noise_repeats_with_trials_or_laps(deviation, what):
    states, y = noisy(deviation, seed=0)
    train = filtered(states)
    found = fit_interval(train, train.rows(y), "linear", seed=0)
    assert found is not None
    states, y = (values.flatten(0, 1) for values in noisy(deviation, seed=1))
    interval = decode_with_interval(found[0], states, None, found[1], LEVEL)
    assert 0.92 < coverage(y, interval.low, interval.high).fraction < 0.98, what


@pytest.mark.parametrize("conditions", [2, 3, 4])
def test_trials_of_each_condition_are_calibrated_on_and_fitted_to(conditions):
    for trials in (*range(4 * conditions, 60), 77, 256):
        groups = torch.arange(trials).repeat_interleave(3)
        chosen = calibration_bins(groups, trials)
        assert 0.15 < chosen.double().mean() < 0.4
        for condition in range(conditions):
            share = chosen[groups % conditions == condition].double().mean()
            assert 0.0 < share < 0.7, (trials, condition)
        # Whole trials, so that no neighbours of a bin that is fitted to are among them.
        assert (chosen.view(trials, 3).all(dim=1) == chosen.view(trials, 3).any(dim=1)).all()


def test_a_few_sequences_are_divided_in_time_in_stretches_at_no_period():
    for number in range(1, 8):
        groups = torch.arange(number).repeat_interleave(2000 // number)
        chosen = calibration_bins(groups, number).double()
        assert chosen.mean() == pytest.approx(0.25, abs=0.01)
        assert (chosen.diff().abs().sum() <= 10).all()
        # Of no oscillation slower than two stretches are they all in one phase.
        periods = torch.linspace(2.0, 20.0, 500, dtype=torch.float64) * len(groups) / 20
        phases = 2 * torch.pi * torch.arange(len(groups)) / periods[:, None]
        mean = torch.polar(torch.ones_like(phases), phases) @ chosen.to(torch.complex128)
        assert float(mean.abs().max() / chosen.sum()) < 0.8
