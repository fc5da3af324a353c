"""Noises of the Kalman predictor that depend on the input, the state or the filter's past."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from predictive.networks import VarianceNetwork, mlp

# Variances stay above this share of the joint scale, so that the filter never divides by zero.
_FLOOR = 1e-5

# Log-variances that come from a network stay within exp(±8) of the joint scale.
_MOST_LOG_VARIANCE = 8.0

# The largest variance that past errors may add to the process noise, in joint scales; ten, as in
# the authors' code.
_MOST_PROCESS_NOISE = 10.0


class InputNoise(nn.Module):
    """R_t = softplus(MLP(x_t)): observation noise that the input itself shows.

    Args:
        input_dim: features of an observation.
        latent_dim: m.
        hidden_dim: units of the two hidden layers.
    """

    def __init__(self, input_dim: int, latent_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.network = mlp(input_dim, hidden_dim, latent_dim, num_hidden_layers=2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return variances (B, T, m) of inputs (B, T, F)."""
        return softplus(self.network(inputs), beta=10.0) + _FLOOR


class InputVarianceNoise(nn.Module):
    """R_t from the variance of the input's features; see `VarianceNetwork`.

    Args:
        input_dim: features of an observation.
        latent_dim: m.
    """

    def __init__(self, input_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.network = VarianceNetwork(input_dim, latent_dim)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return variances (B, T, m) of inputs (B, T, F)."""
        return self.network(inputs) + _FLOOR


class StateNoise(nn.Module):
    """R_t = exp(MLP(h⁻_t)): observation noise that depends on where the state is expected.

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

    A record is what the filter found at an earlier step: the error z − ẑ, or z and ẑ. The record
    of step t itself is not among them: p(z_t | z_<t) must not know z_t.

    Args:
        record_dim: features of a record.
        num_records: k, how far back the network looks, in steps.
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
        """Return the records with one more (B, r) and without the oldest; nothing flows back."""
        return torch.cat([records[:, self.record_dim :], record.detach()], dim=1)

    def forward(self, records: Tensor) -> Tensor:
        """Return variances (B, n) for records (B, k · r)."""
        return _MOST_PROCESS_NOISE * torch.sigmoid(self.network(records))
