"""The Kalman filter and smoother against those of statsmodels."""

from __future__ import annotations

import pytest
import torch
from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

from predictive.filtering import kalman_smoother, log_likelihood
from tests.support.predictive.filtering_models import (
    KINDS,
    LATENTS,
    MASKS,
    SAMPLES,
    STATES,
    STEPS,
    at,
    close,
    data,
    matrix,
    of,
    random_model,
)


def statsmodels_smoother(model, sample, z):
    """Their smoother of one sample.

    Their state starts at the first observation, as N(A m_0 + …, A P_0 Aᵀ + Q), and their
    transition and process noise of step t lead to step t + 1; the last ones lead nowhere.
    """

    def at_step(name, t, ndim):
        value = getattr(model, name)
        return at(matrix(value) if name.endswith("noise") else value, sample, t, ndim)

    def series(name, ndim, first=0):
        steps = [min(t, STEPS - 1) for t in range(first, STEPS + first)]
        return torch.stack([at_step(name, t, ndim) for t in steps], dim=-1)

    a, b = series("transition", 2, first=1), series("offset", 1, first=1)
    theirs = KalmanSmoother(k_endog=LATENTS, k_states=STATES, k_posdef=STATES)
    theirs.bind(z.numpy())
    for name, value in {
        "design": series("observation_matrix", 2),
        "obs_intercept": series("observation_offset", 1),
        "obs_cov": series("observation_noise", 2),
        "transition": a,
        "state_intercept": b - torch.einsum("ijt,jt->it", a, b),
        "selection": torch.eye(STATES, dtype=z.dtype)[..., None],
        "state_cov": series("process_noise", 2, first=1),
    }.items():
        theirs[name] = value.numpy()
    a, b = at_step("transition", 0, 2), at_step("offset", 0, 1)
    theirs.initialize_known(
        (a @ (model.initial_mean - b) + b).numpy(),
        (a @ model.initial_covariance @ a.T + at_step("process_noise", 0, 2)).numpy(),
    )
    return theirs.smooth()


@pytest.mark.parametrize("method", ["sequential", "parallel"])
@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_filter_and_smoother_equal_statsmodels(kind, masked, method):
    model, (z, mask) = random_model(kind), data(masked)
    ours = kalman_smoother(model, z, mask, method)
    total = log_likelihood(model, z, mask, method)
    known = torch.isfinite(z)
    for i in range(SAMPLES):
        theirs = statsmodels_smoother(model, i, z[i])
        close(ours.filtered.log_likelihood[i], torch.from_numpy(theirs.llf_obs))
        close(total[i].item(), theirs.llf_obs.sum())
        for gaussian, name in (
            (ours.filtered.states, "filtered_state"),
            (ours.filtered.predicted_states, "predicted_state"),
            (ours.states, "smoothed_state"),
            (ours.filtered.predictions, "forecasts"),
        ):
            covariance = "forecasts_error_cov" if name == "forecasts" else f"{name}_cov"
            means, covariances = getattr(theirs, name), getattr(theirs, covariance)
            for t in range(STEPS):
                if name == "forecasts" and not known[i, t].all():
                    continue  # they forecast only what is observed
                close(
                    of(gaussian, i, t),
                    (torch.tensor(means[..., t]), torch.tensor(covariances[..., t])),
                )
