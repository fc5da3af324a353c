"""Noises of the Kalman predictor that depend on the input, the state or past errors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from predictive.networks import mlp

# Least variance, relative to the joint scale: the filter divides by it.
_FLOOR = 1e-5

# Log-variances of a network are within ±8 of that of the joint scale.
_MOST_LOG_VARIANCE = 8.0

# Largest variance that past errors add to the process noise, relative to the joint scale, as in the
# authors' code.
_MOST_PROCESS_NOISE = 10.0


class InputNoise(nn.Module):
    """R_t = network(x_t) + floor: observation noise that depends on the input.

    Args:
        network: from observations (…, F) to variances (…, m), at least zero.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Return variances (B, T, m) of inputs (B, T, F)."""
        return self.network(inputs) + _FLOOR


class StateNoise(nn.Module):
    """R_t = exp(MLP(h⁻_t)): observation noise that depends on the predicted state.

    Args:
        state_dim: n.
        latent_dim: m.
        hidden_dim: units of the hidden layer.
    """

    def __init__(self, state_dim: int, latent_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.network = mlp(state_dim, hidden_dim, latent_dim)

    def forward(self, predicted_state: Tensor) -> Tensor:
        """Return variances (B, m) for predicted states (B, n)."""
        bounded = _MOST_LOG_VARIANCE * torch.tanh(
            self.network(predicted_state) / _MOST_LOG_VARIANCE
        )
        return bounded.exp()


class PastNoise(nn.Module):
    """Q_t = 10 · sigmoid(MLP(the last k records)), added to the constant process noise.

    A record of an earlier step is the error z − ẑ, or z and ẑ. That of step t is not among them,
    since p(z_t | z_<t) must not depend on z_t.

    Args:
        record_dim: features of a record.
        num_records: k, steps that the network sees.
        state_dim: n.
        hidden_dim: units of the hidden layer.
    """

    def __init__(self, record_dim: int, num_records: int, state_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.num_records = num_records
        self.record_dim = record_dim
        self.network = mlp(record_dim * num_records, hidden_dim, state_dim)

    def start(self, samples: int, like: Tensor) -> Tensor:
        """Return empty records (B, k · r) for the first step."""
        return like.new_zeros(samples, self.num_records * self.record_dim)

    def remember(self, records: Tensor, record: Tensor) -> Tensor:
        """Return the records with a new one (B, r), detached, in place of the oldest."""
        return torch.cat([records[:, self.record_dim :], record.detach()], dim=1)

    def forward(self, records: Tensor) -> Tensor:
        """Return variances (B, n) for records (B, k · r)."""
        return _MOST_PROCESS_NOISE * torch.sigmoid(self.network(records))
