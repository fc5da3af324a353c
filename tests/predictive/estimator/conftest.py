"""A simulated recording, and an estimator trained on it for a moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from predictive import KalmanSSL, RecurrentSSL

# As little as trains.
SMALL: dict[str, Any] = {
    "max_epochs": 2,
    "hidden_dim": 8,
    "latent_dim": 3,
    "decoder": "linear",
    "device": "cpu",
}


@pytest.fixture(scope="session")
def recording() -> tuple[np.ndarray, np.ndarray]:
    """Counts (600, 12) of place cells, and the place."""
    place = np.sin(np.arange(600) * 0.025 * 5.3)
    rates = np.exp(-8.0 * (place[:, None] - np.linspace(-1, 1, 12)) ** 2)
    return np.random.default_rng(0).poisson(2.0 * rates).astype(float), place


@pytest.fixture(scope="session")
def kalman(recording) -> KalmanSSL:
    return KalmanSSL(**SMALL).fit(*recording)


@pytest.fixture(scope="session")
def recurrent(recording) -> RecurrentSSL:
    return RecurrentSSL(**SMALL, state_dim=5).fit(*recording)
