"""Errors of the state-space model and its observations are one clear line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from predictive.filtering import (
    Full,
    kalman_filter,
    log_density,
    predict_observations,
    sample_model,
    sample_posterior,
)
from tests.support.predictive.filtering_models import data, random_model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transition": torch.ones(4, 3)}, r"transition: expected shape \(3, 3\).*got \(4, 3\)"),
        ({"transition": torch.ones(3)}, r"transition: expected a matrix, got shape \(3,\)"),
        ({"transition": torch.eye(4).repeat(6, 1, 1)}, r"\(7, 4, 4\).*got \(6, 4, 4\)"),
        ({"offset": torch.ones(5)}, r"offset: expected shape \(4\).*got \(5,\)"),
        ({"offset": torch.full((4,), torch.nan)}, "offset: expected finite values, got NaN"),
        ({"initial_mean": torch.ones(2, 4)}, r"initial_mean: expected shape \(4\) or \(3, 4\)"),
        ({"initial_covariance": -torch.eye(4)}, "initial_covariance: expected positive definite"),
        ({"process_noise": torch.zeros(4)}, "process_noise: expected variances above zero, got 0"),
        (
            {"observation_noise": Full(torch.ones(2, 2))},
            "observation_noise: expected posi",
        ),
        ({"observation_noise": Full(torch.eye(2).tril() + torch.ones(2, 2).tril())}, "symmetric"),
        ({"observation_offset": torch.ones(3)}, r"observation_offset: expected shape \(2\)"),
    ],
)
def test_a_wrong_model_is_one_clear_line(change, message):
    with pytest.raises(ValueError, match=message) as error:
        kalman_filter(replace(random_model(), **change), data()[0])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("z", "mask", "message"),
    [
        (torch.ones(7, 2), None, r"observations: expected .* \(B, T, 2\).*got \(7, 2\)"),
        (torch.ones(3, 7, 3), None, r"got \(3, 7, 3\)"),
        (torch.ones(3, 7, 2, dtype=torch.int64), None, "floating-point"),
        (torch.ones(3, 0, 2), None, "T at least 1"),
        (torch.full((3, 7, 2), torch.nan), None, "mark missing values as false in the mask"),
        (torch.ones(3, 7, 2), torch.ones(2, 7, dtype=torch.bool), r"mask: .* got \(2, 7\)"),
        (torch.ones(3, 7, 2), torch.ones(3, 7), "mask: expected booleans"),
    ],
)
def test_wrong_observations_are_one_clear_line(z, mask, message):
    with pytest.raises(ValueError, match=message) as error:
        kalman_filter(random_model(), z, mask)
    assert "\n" not in str(error.value)


def test_wrong_settings_are_one_clear_line():
    model, (z, _) = random_model(), data()
    with pytest.raises(ValueError, match="method: expected one of auto, sequential, parallel"):
        kalman_filter(model, z, method="fast")
    with pytest.raises(ValueError, match="at least one draw, got 0"):
        sample_posterior(model, z, 0)
    with pytest.raises(ValueError, match="at least one sample and one step, got 0 and 5"):
        sample_model(model, 0, 5)
    with pytest.raises(ValueError, match=r"shape of the Gaussian's mean, \(3, 7, 2\)"):
        log_density(z[:, :3], predict_observations(model, z))


def test_one_that_is_wrong_among_many_is_enough():
    model, (z, _) = random_model(), data()
    variances = torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    with pytest.raises(ValueError, match="process_noise: expected variances above zero, got 0"):
        kalman_filter(replace(model, process_noise=variances), z)
    covariances = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    covariances[1, 2, 2] = -1.0
    with pytest.raises(ValueError, match="smallest eigenvalue of -1;"):
        kalman_filter(replace(model, initial_covariance=covariances), z)
    with pytest.raises(ValueError, match=r"observations: expected .* \(B, T, m\)"):
        kalman_filter(replace(model, observation_matrix=torch.ones(4)), z)
