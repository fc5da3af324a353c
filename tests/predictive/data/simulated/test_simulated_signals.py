"""Simulated Ornstein–Uhlenbeck signals and place cells."""

from __future__ import annotations

import math

import pytest
import torch

from predictive.data.simulated.ornstein_uhlenbeck import (
    ornstein_uhlenbeck,
    ornstein_uhlenbeck_process,
)
from predictive.data.simulated.place_cells import place_cells, place_fields
from predictive.data.simulated.simulation import random_streams

FIELDS = {
    "num_cells": 30,
    "track_metres": 1.6,
    "field_width_metres": 0.15,
    "peak_rate_hz": 12.0,
    "background_hz": 0.5,
    "directional": 0.6,
}


def bins(sequences, name):
    """Return a target or the inputs of all bins, (n, k)."""
    values = sequences.inputs if name == "inputs" else sequences.targets[name]
    return values[sequences.mask]


def test_sources_have_the_variance_and_autocovariance_of_the_process_from_the_first_step():
    constants, variances = (0.5, 0.1), (2.0, 0.5)
    generator = random_streams(0, 1)[0]
    x = ornstein_uhlenbeck_process(20000, 12, 0.1, constants, variances, generator)
    tau, v = torch.tensor(constants).double(), torch.tensor(variances).double()
    # A covariance over 20,000 sequences has a standard error of at most 1 % of the variance.
    for first in (0, 6):
        for lag in (0, 1, 3, 5):
            covariance = (x[:, first] * x[:, first + lag]).mean(dim=0)
            expected = v * torch.exp(-0.1 * lag / tau)
            assert ((covariance - expected).abs() / v).max() < 0.04
    assert (x[..., 0] * x[..., 1]).mean().abs() < 0.03


def test_one_long_sample_is_as_good_as_many():
    x = ornstein_uhlenbeck_process(1, 20000, 0.1, [0.1], [3.0], random_streams(1, 1)[0])[0, :, 0]
    assert x.var().item() == pytest.approx(3.0, rel=0.05)
    lagged = (x[1:] * x[:-1]).mean() / 3.0
    assert lagged.item() == pytest.approx(math.exp(-1.0), abs=0.04)


def test_linear_signals_are_the_sources_times_one_matrix_of_condition_two():
    data = ornstein_uhlenbeck(
        num_sources=3,
        time_constants_seconds=[1.0, 0.5, 0.2],
        variances=[1.0, 1.0, 1.0],
        num_channels=7,
        observation_noise=0.0,
    )
    mixings = []
    for part in (data.train, data.held_out):
        sources, signals = bins(part, "sources").double(), bins(part, "inputs").double()
        mixing = torch.linalg.lstsq(sources, signals).solution
        torch.testing.assert_close(sources @ mixing, signals, atol=1e-5, rtol=0)
        mixings.append(mixing)
    torch.testing.assert_close(*mixings, atol=1e-5, rtol=0)
    singular = torch.linalg.svdvals(mixings[0])
    assert (singular[0] / singular[-1]).item() == pytest.approx(2.0, rel=1e-4)
    assert mixings[0].square().sum().item() == pytest.approx(7.0, rel=1e-4)


def test_channel_noise_has_its_variance_and_a_random_network_is_not_linear():
    data, clean = (
        ornstein_uhlenbeck(mixing="random_network", observation_noise=noise, num_held_out=1)
        for noise in (0.3, 0.0)
    )
    assert torch.equal(data.train.targets["sources"], clean.train.targets["sources"])
    noise = data.train.inputs - clean.train.inputs
    assert noise.var().item() == pytest.approx(0.3, rel=0.02)
    signals = bins(clean.train, "inputs").double()
    sources = torch.nn.functional.pad(bins(clean.train, "sources").double(), (0, 1), value=1.0)
    fit = sources @ torch.linalg.lstsq(sources, signals).solution
    assert ((signals - fit).var() / signals.var()).item() > 1e-3


def test_directional_cells_have_another_field_in_each_direction_and_the_rest_the_same():
    fields = place_fields(**FIELDS, generator=random_streams(0, 1)[0])
    for values in (fields.centres, fields.widths, fields.peaks):
        differs = values[:, 0] != values[:, 1]
        assert differs[:18].all()
        assert not differs[18:].any()
    assert fields.centres.min() >= 0
    assert fields.centres.max() <= 1.6


def test_cells_spike_at_their_peak_rate_at_their_place_and_as_the_gaussian_says_beside_it():
    data = place_cells(**FIELDS, theta_depth=0.0, duration_seconds=2400.0, seed=5)
    fields = place_fields(**FIELDS, generator=random_streams(5, 3)[0])
    position, counts = bins(data.train, "position"), bins(data.train, "inputs")
    upward = bins(data.train, "direction") > 0
    assert (counts == counts.round()).all()
    assert counts.min() == 0
    scores = []
    for way, chosen in ((0, upward), (1, ~upward)):
        apart = (position - fields.centres[:, way]).abs() / fields.widths[:, way]
        at_a_width = (apart - 1).abs() < 0.1
        for near, bump in ((apart < 0.1, 0.9983), (at_a_width, 0.6065), (apart > 4.0, 0.0)):
            here = (near & chosen).float()
            rate = 0.5 + bump * fields.peaks[:, way]
            expected = 0.025 * rate * here.sum(dim=0)
            spikes = (counts * here).sum(dim=0)
            seen = expected > 5
            scores.append(((spikes - expected) / expected.sqrt())[seen])
            assert seen.sum() > 10
            assert (spikes.sum() / expected.sum()).item() == pytest.approx(1.0, abs=0.1)
    # Counts of a Poisson law are as far from their means as their deviations say.
    score = torch.cat(scores)
    assert score.abs().max() < 5
    assert score.std().item() == pytest.approx(1.0, abs=0.25)


def test_theta_modulates_all_cells_at_its_frequency_and_depth():
    data = place_cells(theta_depth=0.5, theta_hz=7.0)
    phase = 2 * math.pi * 7.0 * data.train.seconds[data.train.mask]
    total = bins(data.train, "inputs").sum(dim=1).double()
    # The first Fourier coefficient of 1 + d cos is d / 2.
    depth = 2 * (total * torch.exp(-1j * phase)).mean() / total.mean()
    assert depth.real.item() == pytest.approx(0.5, abs=0.04)
    assert depth.imag.item() == pytest.approx(0.0, abs=0.04)


def test_no_sequence_reaches_across_a_block_and_folds_hold_out_each_block_once():
    parts = [place_cells(fold=fold, duration_seconds=600.0) for fold in range(5)]
    for fold, data in enumerate(parts):
        for part, held_out in ((data.train, False), (data.held_out, True)):
            first = part.start_seconds + 0.5 * 0.025
            last = first + (part.lengths - 1) * 0.025
            block = (first / 20.0).floor()
            assert torch.equal(block, (last / 20.0).floor())
            assert ((block % 5 == fold) == held_out).all()
    totals = {int(d.train.lengths.sum() + d.held_out.lengths.sum()) for d in parts}
    assert totals == {sum(int(d.held_out.lengths.sum()) for d in parts)}


def test_running_only_leaves_runs_of_at_least_a_second_that_follow_the_velocity():
    data = place_cells()
    for part in (data.train, data.held_out):
        assert bins(part, "speed").min() > 0.05
        assert bins(part, "direction").abs().eq(1).all()
        assert part.lengths.min() >= 40
    part, inside = data.train, data.train.mask[:, 1:]
    position, direction, speed = (
        part.targets[n][..., 0] for n in ("position", "direction", "speed")
    )
    assert bins(part, "position").min() >= 0
    assert bins(part, "position").max() <= 1.6
    way = position.diff(dim=1)[inside]
    mean_speed = (speed[:, 1:] + speed[:, :-1])[inside] / 2
    torch.testing.assert_close(
        way, mean_speed * direction[:, 1:][inside] * 0.025, atol=1e-5, rtol=0
    )
    assert (direction[:, 1:] == direction[:, :-1])[inside].all()
    assert 0.3 < speed[part.mask].mean() < 0.5
    assert speed[part.mask].std() > 0.05


def test_kept_pauses_are_inputs_without_a_position():
    kept, whole = place_cells(pauses="keep"), place_cells(running_only=False)
    assert torch.equal(kept.train.inputs, whole.train.inputs)
    speed, position = bins(whole.train, "speed"), bins(whole.train, "position")
    expected = torch.where(speed > 0.05, position, torch.nan)
    torch.testing.assert_close(
        bins(kept.train, "position"), expected, rtol=0, atol=0, equal_nan=True
    )
    assert 0.1 < expected.isnan().float().mean() < 0.5


def test_with_pauses_the_animal_waits_at_the_ends_and_has_no_direction():
    data = place_cells(running_only=False, background_hz=2.0, pause_seconds=3.0)
    part = data.train
    assert (part.lengths == 800).all()
    pauses = bins(part, "speed")[:, 0] == 0
    assert torch.equal(pauses, bins(part, "direction")[:, 0].isnan())
    position = bins(part, "position")[pauses, 0]
    assert ((position == 0) | ((position - 1.6).abs() < 1e-6)).all()
    # Of a lap of 4 s and a pause of 3 s.
    assert pauses.float().mean().item() == pytest.approx(3 / 7, abs=0.1)
    silent = bins(part, "inputs")[pauses].mean() / 0.025
    assert silent.item() == pytest.approx(2.0, rel=0.03)


def test_no_pause_and_a_session_shorter_than_a_lap_are_fine():
    restless = place_cells(pause_seconds=0.0, duration_seconds=60.0, folds=3)
    assert restless.train.lengths.tolist() == [800, 800]
    short = place_cells(duration_seconds=3.0, block_seconds=1.5, folds=2, running_speed=0.2)
    assert short.train.lengths.tolist() == [60]
