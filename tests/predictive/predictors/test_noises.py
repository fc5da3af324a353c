"""Noises of the Kalman predictor."""

from __future__ import annotations

import torch

from predictive.predictors.noises import StateNoise


def test_noise_of_the_state_is_an_exponential_within_eight_nats():
    """exp(8 tanh(x / 8)) of the network's output x: the authors' exp(x) near zero, bounded far."""
    noise = StateNoise(state_dim=1, latent_dim=1, hidden_dim=4)
    noise.network = torch.nn.Identity()
    outputs = torch.tensor([-1e4, -4.0, -0.1, 0.0, 0.1, 4.0, 1e4], dtype=torch.float64)[:, None]
    found = noise(outputs)
    expected = (8.0 * (outputs / 8.0).tanh()).exp()
    torch.testing.assert_close(found, expected, atol=0, rtol=1e-12)
    torch.testing.assert_close(found[2:5], outputs[2:5].exp(), atol=0, rtol=1e-5)
    assert found.min() == torch.tensor(-8.0, dtype=torch.float64).exp()
    assert found.max() == torch.tensor(8.0, dtype=torch.float64).exp()
