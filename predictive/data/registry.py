"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable

from predictive.data.recordings.recording import recording
from predictive.data.sequences import TimeSeriesData
from predictive.data.simulated.calcium import calcium
from predictive.data.simulated.moving_dot import moving_dot
from predictive.data.simulated.nonlinear_system import nonlinear_system
from predictive.data.simulated.ornstein_uhlenbeck import ornstein_uhlenbeck
from predictive.data.simulated.place_cells import place_cells
from predictive.data.video.frames import frames

DATASETS: dict[str, Callable[..., TimeSeriesData]] = {
    "calcium": calcium,
    "frames": frames,
    "moving_dot": moving_dot,
    "nonlinear_system": nonlinear_system,
    "ornstein_uhlenbeck": ornstein_uhlenbeck,
    "place_cells": place_cells,
    "recording": recording,
}
