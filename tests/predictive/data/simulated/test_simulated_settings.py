"""Settings of simulated data sets: one line for each that is out of its bounds."""

from __future__ import annotations

import pytest

from predictive.data.simulated.moving_dot import moving_dot
from predictive.data.simulated.nonlinear_system import nonlinear_system
from predictive.data.simulated.ornstein_uhlenbeck import (
    ornstein_uhlenbeck,
    ornstein_uhlenbeck_process,
)
from predictive.data.simulated.place_cells import place_cells
from predictive.data.simulated.simulation import random_streams


@pytest.mark.parametrize(
    ("builder", "setting", "words"),
    [
        (moving_dot, {"motion": "spiral"}, "motion: expected figure8, circular or square"),
        (moving_dot, {"num_train": 0}, "num_train: expected a whole number from 1, got 0"),
        (moving_dot, {"num_held_out": 2.5}, "num_held_out"),
        (moving_dot, {"num_steps": 1}, "num_steps: expected a whole number from 2"),
        (moving_dot, {"step_seconds": 0.0}, "step_seconds: expected a number above 0, got 0.0"),
        (moving_dot, {"period_seconds": -1.0}, "period_seconds"),
        (moving_dot, {"random_phase": "yes"}, "random_phase: expected true or false"),
        (moving_dot, {"observation_noise": -0.1}, "observation_noise: expected a number from 0"),
        (moving_dot, {"observation_noise": float("nan")}, "observation_noise"),
        (
            moving_dot,
            {"observation_noise_kind": "big"},
            "observation_noise_kind: expected constant, random or state",
        ),
        (moving_dot, {"process_noise": 0.1}, "process_noise: expected 0 for motion=figure8"),
        (
            moving_dot,
            {"motion": "square", "jump_rate": 0.1},
            "jump_rate: expected 0 for motion=square",
        ),
        (
            moving_dot,
            {"motion": "circular", "jump_rate": 1.5},
            "jump_rate: expected a number from 0",
        ),
        (moving_dot, {"rendering": "blur"}, "rendering: expected plain, swirl"),
        (moving_dot, {"frame_size": 1}, "frame_size: expected a whole number from 2"),
        (moving_dot, {"seed": -1}, "seed: expected a whole number from 0"),
        (nonlinear_system, {"process_noise": "loud"}, "process_noise: expected a number from 0"),
        (nonlinear_system, {"observation_noise": -1}, "observation_noise"),
        (nonlinear_system, {"rendering": None}, "rendering"),
        (nonlinear_system, {"num_train": True}, "num_train"),
        (ornstein_uhlenbeck, {"num_sources": 0}, "num_sources: expected a whole number from 1"),
        (
            ornstein_uhlenbeck,
            {"num_sources": 3},
            "expected one number for each of 3 sources, got 2 and 2",
        ),
        (ornstein_uhlenbeck, {"variances": 1.0}, "variances: expected a list of numbers above 0"),
        (
            ornstein_uhlenbeck,
            {"variances": (1.0, 0.0)},
            "variances: expected a list of numbers above 0",
        ),
        (ornstein_uhlenbeck, {"time_constants_seconds": (1, -1)}, "time_constants_seconds"),
        (ornstein_uhlenbeck, {"num_channels": 1}, "num_channels: expected a whole number from 2"),
        (ornstein_uhlenbeck, {"mixing": "cubic"}, "mixing: expected linear or random_network"),
        (ornstein_uhlenbeck, {"observation_noise": -1}, "observation_noise"),
        (ornstein_uhlenbeck, {"num_steps": 0}, "num_steps"),
        (ornstein_uhlenbeck, {"seed": 1.5}, "seed: expected a whole number from 0, got 1.5"),
        (place_cells, {"num_cells": 0}, "num_cells: expected a whole number from 1"),
        (place_cells, {"track_metres": 0}, "track_metres: expected a number above 0"),
        (place_cells, {"field_width_metres": -1}, "field_width_metres"),
        (place_cells, {"peak_rate_hz": -1}, "peak_rate_hz: expected a number from 0"),
        (place_cells, {"background_hz": -1}, "background_hz"),
        (place_cells, {"directional": 1.1}, "directional: expected a number from 0 to 1, got 1.1"),
        (place_cells, {"theta_depth": 2}, "theta_depth: expected a number from 0 to 1"),
        (place_cells, {"theta_hz": -8}, "theta_hz"),
        (place_cells, {"running_speed": 0}, "running_speed"),
        (place_cells, {"pause_seconds": -1}, "pause_seconds"),
        (place_cells, {"duration_seconds": 0.01}, "duration_seconds: expected at least 2 bins"),
        (place_cells, {"bin_seconds": 0}, "bin_seconds"),
        (place_cells, {"running_only": 1}, "running_only: expected true or false"),
        (place_cells, {"min_speed": 9.0}, "min_speed: expected less than the animal's fastest"),
        (place_cells, {"block_seconds": 0.01}, "block_seconds: expected at least 2 bins"),
        (place_cells, {"block_seconds": 0.5}, "expected a run of 1 s to train on, got none"),
        (place_cells, {"folds": 1}, "folds: expected a whole number from 2"),
        (place_cells, {"fold": 5}, "fold: expected a whole number from 0 to 4"),
        (place_cells, {"seed": -1}, "seed"),
    ],
)
def test_a_setting_out_of_its_range_is_one_line(builder, setting, words):
    with pytest.raises(ValueError, match=words) as error:
        builder(**setting)
    assert "\n" not in str(error.value)


def test_the_process_needs_as_many_variances_as_time_constants():
    with pytest.raises(ValueError, match=r"variances: expected one number for each .* got 1 for 2"):
        ornstein_uhlenbeck_process(1, 5, 0.1, (1.0, 2.0), (1.0,), random_streams(0, 1)[0])
