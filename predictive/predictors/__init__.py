"""Predictors of latents: each returns p(z_t | z_<t) and the states behind it."""

from predictive.predictors.base import Forecast, Predictor, Variable
from predictive.predictors.kalman import KalmanPredictor
from predictive.predictors.recurrent import RecurrentPredictor

PREDICTORS: dict[str, type[Predictor]] = {
    "kalman": KalmanPredictor,
    "recurrent": RecurrentPredictor,
}

__all__ = [
    "PREDICTORS",
    "Forecast",
    "KalmanPredictor",
    "Predictor",
    "RecurrentPredictor",
    "Variable",
]
