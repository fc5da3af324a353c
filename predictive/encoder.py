"""The encoder f: from what is observed in a bin to its latent."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from predictive.networks import mlp

Transform = Literal["none", "sqrt"]


class Encoder(nn.Module):
    """z_t = MLP((g(x_t) − μ) / σ), each bin by itself.

    μ is the mean of each feature of g(x) over the training bins and σ their common deviation, so
    that features keep their weights relative to each other; 0 and 1 until `fit_scale` is called.

    Args:
        input_dim: F, features of an observation.
        latent_dim: m.
        hidden_dim: units of the hidden layers.
        num_hidden_layers: from 0, which is a linear map.
        activation: relu, gelu, elu or tanh.
        transform: g. "sqrt" evens out the variance of Poisson counts; "none" leaves inputs alone.
        feature_dropout: probability that a feature is silenced for a whole sequence of a training
            step, the others scaled up: latents then rest on many cells rather than on few.

    Raises:
        ValueError: an unknown activation or transform, a size or probability out of range.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        input_dim: int,
        latent_dim: int,
        hidden_dim: int = 100,
        num_hidden_layers: int = 1,
        activation: str = "relu",
        transform: Transform = "none",
        feature_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if transform not in get_args(Transform):
            raise ValueError(
                f"transform must be one of {', '.join(get_args(Transform))}; got {transform!r}"
            )
        if not 0.0 <= feature_dropout < 1.0:
            raise ValueError(f"feature_dropout must be in [0, 1), got {feature_dropout}")
        self.transform: Transform = transform
        self.feature_dropout = float(feature_dropout)
        self.register_buffer("mean", torch.zeros(input_dim))
        self.register_buffer("scale", torch.ones(()))
        self.network = mlp(input_dim, hidden_dim, latent_dim, num_hidden_layers, activation)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return latents (…, m) of inputs (…, F)."""
        scaled = (self._transformed(inputs) - self.mean) / self.scale
        if self.training and self.feature_dropout > 0.0:
            kept = torch.rand_like(scaled[..., :1, :]) >= self.feature_dropout
            scaled = scaled * kept / (1.0 - self.feature_dropout)
        return self.network(scaled)

    @torch.no_grad()
    def fit_scale(self, bins: Tensor) -> None:
        """Set μ and σ from training bins (M, F); bins that are not finite count as missing."""
        transformed = self._transformed(bins[torch.isfinite(bins).all(dim=1)])
        mean = transformed.mean(dim=0)
        deviation = (transformed - mean).square().mean().sqrt()
        self.mean = mean
        self.scale = torch.where(deviation > 0.0, deviation, 1.0)

    def _transformed(self, inputs: Tensor) -> Tensor:
        return torch.sqrt(inputs.clamp_min(0.0)) if self.transform == "sqrt" else inputs
