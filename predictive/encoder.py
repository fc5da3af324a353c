"""The encoder f: from what is observed up to a bin to its latent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from predictive.averages import causal_mean
from predictive.data.sequences import as_floats
from predictive.networks import Activation, FrameBackbone, Pooling, mlp
from solo_ldm.config.arguments import Bounds, Count, NonNegative, Width, checked

Transform = Literal["none", "sqrt"]

# Inputs of which the scale is computed at once; of more it is summed over parts of them.
_AT_ONCE = 2**26


class Encoder(nn.Module):
    """z_t = MLP((g(x_t) − μ) / σ), or of x_t and x̄_t together, x̄ the mean over the past.

    With a backbone, z_t = MLP(backbone((g(x_t) − μ) / σ)): it sees frames (C, H, W), and x̄_t as
    further channels.

    x̄_t = Σ_{s≤t} a^{t−s} x_s / Σ_{s≤t} a^{t−s} with a = exp(−1 / history) over the observed bins of
    the sequence, or of the training window. μ is the mean of each feature of g over the training
    bins and σ the standard deviation that all features share, which keeps their relative scales; 0
    and 1 until `fit_scale` is called.

    Args:
        input_dim: F, features of an observation.
        latent_dim: m.
        hidden_dim: units of the hidden layers.
        num_hidden_layers: from 0, which is a linear map.
        activation: relu, gelu, elu or tanh.
        transform: g. "sqrt" stabilises the variance of Poisson counts; "none" is the identity.
        feature_dropout: probability that a feature is set to its mean in a bin of the training, the
            others scaled up, so that latents do not depend on few cells.
        standardise: whether `fit_scale` sets μ and σ.
        history: time constant of x̄, in bins; 0 for x_t alone. g of a bin with a spike or none is
            linear; of a mean it is not, and evens out rates as it should.
        backbone: a network of images before the MLP, one of `solo_ldm.backbones`; None for none.
        backbone_kwargs: its arguments.
        pooling: of its maps; None keeps where in a frame something is, "own" is the network's.
        frame_shape: channels, rows and columns of a frame; the configuration may leave them to
            the data.

    Raises:
        ValueError: an unknown activation or transform, a size or probability out of range; a
            backbone without frames, or one that does not take them.
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
        history: NonNegative = 0.0,
        backbone: str | None = None,
        backbone_kwargs: Mapping[str, Any] | None = None,
        pooling: Pooling | None = None,
        frame_shape: Sequence[Count] | None = None,
    ) -> None:
        super().__init__()
        self.transform: Transform = transform
        self.feature_dropout = float(feature_dropout)
        self.standardise = standardise
        self.decay = math.exp(-1.0 / history) if history > 0.0 else 0.0
        channels = 2 if history > 0.0 else 1
        self.input_dim = input_dim
        self.register_buffer("mean", torch.zeros(channels * input_dim))
        self.register_buffer("scale", torch.ones(()))
        self.backbone = None
        num_features = channels * input_dim
        if backbone is not None:
            self.backbone = FrameBackbone(
                backbone, input_dim, frame_shape, channels, dict(backbone_kwargs or {}), pooling
            )
            num_features = self.backbone.num_features
        self.network = mlp(num_features, hidden_dim, latent_dim, num_hidden_layers, activation)

    def forward(
        self, inputs: Tensor, observed: Tensor | None = None, there: Tensor | None = None
    ) -> Tensor:
        """Return latents (B, T, m) of sequences (B, T, F).

        Args:
            inputs: finite.
            observed: true where an input was observed, (B, T); None for all.
            there: true where a backbone has a frame to see, (B, T); None for all.
        """
        return self.encode(inputs, self._past(inputs, observed), there)

    def encode(
        self, inputs: Tensor, past: Tensor | None = None, there: Tensor | None = None
    ) -> Tensor:
        """Return latents (…, m) of x (…, F) and, with a history, x̄ (…, F)."""
        scaled = (self._transformed(inputs, past) - self.mean) / self.scale
        if self.training and self.feature_dropout > 0.0:
            # Drawn anew in each bin: what lasts could be read off one bin and predicted in the
            # next, so that latents would tell which features were dropped.
            kept = torch.rand_like(scaled[..., : self.input_dim]) >= self.feature_dropout
            kept = kept if past is None else torch.cat([kept, kept], dim=-1)
            scaled = scaled * kept / (1.0 - self.feature_dropout)
        return self.network(scaled if self.backbone is None else self.backbone(scaled, there))

    @torch.no_grad()
    def fit_scale(self, inputs: Tensor, mask: Tensor) -> None:
        """Set μ and σ from the bins of training sequences.

        Args:
            inputs: (N, T, F); bins that are not finite count as missing.
            mask: true where there is a bin, (N, T).
        """
        if not self.standardise:
            return
        if inputs.numel() <= _AT_ONCE:
            transformed = self._rows(inputs, mask)
            mean = transformed.mean(dim=0)
            deviation = (transformed - mean).square().mean().sqrt()
        else:
            # Of a long video as floats there are several copies at once.
            count, total, square = 0, torch.zeros_like(self.mean).double(), 0.0
            for one, here in zip(inputs[:, None], mask[:, None], strict=True):
                rows = self._rows(one, here).double()
                count, total = count + len(rows), total + rows.sum(dim=0)
                square = square + rows.square().sum()
            mean = total / count
            deviation = (square / (count * len(mean)) - mean.square().mean()).clamp_min(0.0).sqrt()
            mean, deviation = mean.to(self.mean.dtype), deviation.to(self.scale.dtype)
        self.mean = mean
        self.scale = torch.where(deviation > 0.0, deviation, 1.0)

    def _rows(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Return g of the known bins of sequences, (M, F)."""
        known = mask & torch.isfinite(inputs).all(dim=-1)
        inputs = as_floats(inputs)
        past = self._past(inputs, known)
        return self._transformed(inputs[known], None if past is None else past[known])

    @property
    def neutral(self) -> Tensor:
        """The input (F,) of which each value counts as the mean, as a feature dropped out does."""
        mean = self.mean[: self.input_dim]
        return mean.square() if self.transform == "sqrt" else mean

    def _past(self, inputs: Tensor, observed: Tensor | None) -> Tensor | None:
        """Return x̄ of sequences (B, T, F), None without a history."""
        if self.decay == 0.0:
            return None
        if observed is None:
            observed = inputs.new_ones(inputs.shape[:2], dtype=torch.bool)
        return causal_mean(inputs, observed, self.decay)

    def _transformed(self, inputs: Tensor, past: Tensor | None) -> Tensor:
        both = inputs if past is None else torch.cat([inputs, past], dim=-1)
        return torch.sqrt(both.clamp_min(0.0)) if self.transform == "sqrt" else both
