"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable

from predictive.data.moving_dot import moving_dot
from predictive.data.nonlinear_system import nonlinear_system
from predictive.data.ornstein_uhlenbeck import ornstein_uhlenbeck
from predictive.data.place_cells import place_cells
from predictive.data.recordings import recording
from predictive.data.sequences import TimeSeriesData

DATASETS: dict[str, Callable[..., TimeSeriesData]] = {
    "moving_dot": moving_dot,
    "nonlinear_system": nonlinear_system,
    "ornstein_uhlenbeck": ornstein_uhlenbeck,
    "place_cells": place_cells,
    "recording": recording,
}
