"""Predictors of latents: each returns p(z_t | z_<t) and the states behind it."""

from predictive.predictors.base import VARIABLES, Forecast, Predictor
from predictive.predictors.kalman import KalmanPredictor
from predictive.predictors.recurrent import RecurrentPredictor

PREDICTORS: dict[str, type[Predictor]] = {
    "kalman": KalmanPredictor,
    "recurrent": RecurrentPredictor,
}

__all__ = [
    "PREDICTORS",
    "VARIABLES",
    "Forecast",
    "KalmanPredictor",
    "Predictor",
    "RecurrentPredictor",
]
