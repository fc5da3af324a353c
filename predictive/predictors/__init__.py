"""Predictors of latents: each returns p(z_t | z_<t) and the states behind it."""

from predictive.predictors.forecast import VARIABLES, Forecast
from predictive.predictors.kalman import KalmanPredictor
from predictive.predictors.recurrent import RecurrentPredictor

Predictor = KalmanPredictor | RecurrentPredictor

PREDICTORS: dict[str, type[KalmanPredictor] | type[RecurrentPredictor]] = {
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
