"""The encoder f: from what is observed in a bin to its latent."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from predictive.networks import Activation, mlp
from solo_ldm.config.arguments import Bounds, Count, Width, checked

Transform = Literal["none", "sqrt"]


class Encoder(nn.Module):
    """z_t = MLP((g(x_t) − μ) / σ), each bin by itself.

    μ is the mean of each feature of g(x) over the training bins and σ the standard deviation that
    all features share, which keeps their relative scales; 0 and 1 until `fit_scale` is called.

    Args:
        input_dim: F, features of an observation.
        latent_dim: m.
        hidden_dim: units of the hidden layers.
        num_hidden_layers: from 0, which is a linear map.
        activation: relu, gelu, elu or tanh.
        transform: g. "sqrt" stabilises the variance of Poisson counts; "none" is the identity.
        feature_dropout: probability that a feature is set to its mean for a whole training
            sequence, the others scaled up, so that latents do not depend on few cells.
        standardise: whether `fit_scale` sets μ and σ.

    Raises:
        ValueError: an unknown activation or transform, a size or probability out of range.
    """

    mean: Tensor
    scale: Tensor

    @checked
    def __init__(
        self,
        input_dim: Count,
        latent_dim: Width,
        hidden_dim: Width = 100,
        num_hidden_layers: Annotated[int, Bounds(0, limit=1000)] = 1,
        activation: Activation = "relu",
        transform: Transform = "none",
        feature_dropout: Annotated[float, Bounds(0, below=1)] = 0.0,
        standardise: bool = True,
    ) -> None:
        super().__init__()
        self.transform: Transform = transform
        self.feature_dropout = float(feature_dropout)
        self.standardise = standardise
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
        if not self.standardise:
            return
        transformed = self._transformed(bins[torch.isfinite(bins).all(dim=1)])
        mean = transformed.mean(dim=0)
        deviation = (transformed - mean).square().mean().sqrt()
        self.mean = mean
        self.scale = torch.where(deviation > 0.0, deviation, 1.0)

    @property
    def neutral(self) -> Tensor:
        """The input (F,) of which each value counts as the mean, as a feature dropped out does."""
        return self.mean.square() if self.transform == "sqrt" else self.mean

    def _transformed(self, inputs: Tensor) -> Tensor:
        return torch.sqrt(inputs.clamp_min(0.0)) if self.transform == "sqrt" else inputs
