"""A time-series data set and a predictor of a user's own, as small as they can be."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from predictive.data.sequences import TimeSeriesData
from predictive.data.simulated.simulation import equal_sequences
from predictive.filtering import Gaussian
from predictive.predictors import Forecast, Predictor
from solo_ldm.config.arguments import Bounds, Count, checked


@checked
def sine(
    *, num_train: Count = 16, frequency: Annotated[float, Bounds(above=0)] = 1.0, seed: int = 0
) -> TimeSeriesData:
    """Sines of one frequency and random phase in two channels."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for count in (num_train, 4):
        phase = torch.rand(count, 1, generator=generator) + 0.05 * frequency * torch.arange(30.0)
        inputs = torch.stack([phase.mul(6.28).sin(), phase.mul(6.28).cos()], dim=-1)
        parts.append(equal_sequences(inputs, {"phase": inputs.clone()}, 0.05))
    return TimeSeriesData(*parts, kind="signals", units={"phase": ""}, description="sines")


class Persistence(Predictor):
    """p(z_t | z_<t) = N(a z_{t−1}, v I), a and v learned."""

    parts = ("memory",)

    def __init__(self, latent_dim: int, input_dim: int | None = None, initial: float = 0.5) -> None:
        super().__init__()
        self.state_dim = latent_dim
        self.factor = nn.Parameter(torch.tensor(float(initial)))
        self.log_deviation = nn.Parameter(torch.zeros(latent_dim))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"memory": [self.factor, self.log_deviation]}

    def forward(self, latents: Tensor, inputs: Tensor, mask: Tensor | None = None) -> Forecast:
        before = torch.cat([torch.zeros_like(latents[:, :1]), latents[:, :-1]], dim=1)
        root = self.log_deviation.exp().diag().expand(*latents.shape[:2], -1, -1)
        return Forecast(latents, Gaussian(self.factor * before, root), latents)
