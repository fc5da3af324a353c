"""Every kind of both predictors, small, and what is compared of their forecasts."""

from __future__ import annotations

from itertools import product
from typing import get_args

import torch
from torch import Tensor

from predictive.predictors import Forecast, KalmanPredictor, RecurrentPredictor
from predictive.predictors.kalman import ObservationNoise, ProcessNoise
from predictive.predictors.recurrent import Cell, Variance

SAMPLES, STEPS, LATENTS, STATES, FEATURES = 3, 9, 2, 3, 4

KALMAN = [
    f"kalman/{observation}/{process}"
    for observation, process in product(get_args(ObservationNoise), get_args(ProcessNoise))
]
RECURRENT = [
    f"recurrent/{cell}/{variance}" for cell, variance in product(get_args(Cell), get_args(Variance))
]
ALL = [*KALMAN, *RECURRENT]


def predictor(kind: str, **settings) -> KalmanPredictor | RecurrentPredictor:
    """A predictor in float64; networks have weights large enough for their inputs to matter."""
    family, first, second = kind.split("/")
    if family == "kalman":
        settings = {"state_dim": STATES, "num_records": 3, "noise_hidden_dim": 8, **settings}
        made = KalmanPredictor(
            LATENTS, input_dim=FEATURES, observation_noise=first, process_noise=second, **settings
        )
    else:
        settings = {"hidden_dim": 5, **settings}
        made = RecurrentPredictor(
            LATENTS, input_dim=FEATURES, cell=first, variance=second, **settings
        )
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return made.double()


def sequences(steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Latents and inputs."""
    shape = (SAMPLES, steps)
    z = torch.randn(*shape, LATENTS, dtype=torch.float64)
    return z, torch.randn(*shape, FEATURES, dtype=torch.float64)


def depends_on_input(kind: str) -> bool:
    """Whether p(z_t | z_<t) reads x_t, as noise that the input shows does."""
    return "/input" in kind


def density(forecast: Forecast) -> list[Tensor]:
    """Mean and covariance of p(z_t | z_<t), with an axis of samples of full length."""
    gaussian = forecast.predictions
    samples, steps, dim = gaussian.mean.shape
    return [gaussian.mean, gaussian.covariance.expand(samples, steps, dim, dim)]


def found(forecast: Forecast) -> list[Tensor]:
    """All that a forecast says beside the latents, (B, T, …) each."""
    samples, steps, _ = forecast.latents.shape
    others = (
        forecast.states,
        forecast.state_factor,
        forecast.observation_noise,
        forecast.process_noise,
    )
    expanded = [x.expand(samples, steps, *x.shape[2:]) for x in others if x is not None]
    return [*density(forecast), *expanded]
