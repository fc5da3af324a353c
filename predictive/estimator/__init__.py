"""The scikit-learn face of `solo-ldm predictive`: estimators of arrays."""

from predictive.estimator.kalman import KalmanSSL
from predictive.estimator.recurrent import RecurrentSSL

__all__ = ["KalmanSSL", "RecurrentSSL"]
