"""The linear-Gaussian state-space model as pure functions on batched tensors.

    h_t = A_t (h_{t−1} − b_t) + b_t + N(0, Q_t)
    z_t = D_t h_t + c_t + N(0, R_t),      t = 1 … T,   h_0 ~ N(m_0, P_0)

Index t of a prediction always means p(z_t | z_<t). Everything is differentiable once with
respect to the model and the observations. Arithmetic is done in float64 where the device has it
and cast back to the type of the observations; without float64 (Apple's MPS) covariances stay
positive definite, but an observation that shrinks a variance a million times is inexact.

Covariances never depend on the values that were observed. Where transition, observation matrix,
noises, initial covariance and mask are common to the samples they are therefore computed once
and returned with a batch size of 1.
"""

from predictive.filtering.inference import (
    kalman_filter,
    kalman_smoother,
    log_likelihood,
    predict_observations,
)
from predictive.filtering.sampling import sample_model, sample_posterior
from predictive.filtering.steps import condition, filter_step, predict
from predictive.filtering.types import (
    FilterPosterior,
    Full,
    Gaussian,
    Method,
    Noise,
    SmootherPosterior,
    StateSpaceModel,
    log_density,
)

__all__ = [
    "FilterPosterior",
    "Full",
    "Gaussian",
    "Method",
    "Noise",
    "SmootherPosterior",
    "StateSpaceModel",
    "condition",
    "filter_step",
    "kalman_filter",
    "kalman_smoother",
    "log_density",
    "log_likelihood",
    "predict",
    "predict_observations",
    "sample_model",
    "sample_posterior",
]
