"""Decoders that learn beside the method, from detached latents, to watch what these hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from predictive.data.module import Batch
from predictive.networks import mlp
from predictive.predictors import VARIABLES

DecoderKind = Literal["linear", "mlp"]

# The target of a decoder that reconstructs what was observed.
INPUTS = "inputs"


@dataclass
class DecoderConfig:
    """One online decoder.

    Args:
        source: which variable it reads; see `Forecast.variables`.
        target: the name of a target of the data, or "inputs"; None takes the decoder's name.
        kind: linear or mlp.
        hidden_dim: units of the two hidden layers of an mlp.
        lr: learning rate for 256 sequences a step.
    """

    source: str = "states"
    target: str | None = None
    kind: str = "linear"
    hidden_dim: int = 100
    lr: float = 0.5


class OnlineDecoders(nn.Module):
    """Named decoders of targets from detached latents; nothing flows back into the method.

    Args:
        configs: by name.
        source_dims: features of each variable that can be read.
        target_dims: features of each target, "inputs" included.

    Raises:
        ValueError: an unknown source, target or kind.
    """

    def __init__(
        self,
        configs: Mapping[str, DecoderConfig],
        source_dims: Mapping[str, int],
        target_dims: Mapping[str, int],
    ) -> None:
        super().__init__()
        self.configs = dict(configs)
        self.targets = {name: c.target or name for name, c in configs.items()}
        self.decoders = nn.ModuleDict()
        for name, config in configs.items():
            key = f"decoders.{name}"
            if "." in name or hasattr(nn.ModuleDict, name):
                raise ValueError(f"{key}: torch takes that name for itself, choose another")
            if config.source not in VARIABLES:
                raise ValueError(
                    f"{key}.source must be one of {', '.join(VARIABLES)}; got {config.source!r}"
                )
            if config.source not in source_dims:
                raise ValueError(
                    f"{key}.source={config.source}: this predictor has none; it has "
                    f"{', '.join(source_dims)}"
                )
            target = self.targets[name]
            if target not in target_dims:
                raise ValueError(
                    f"{key}.target={target}: the data has {', '.join(target_dims)}; name one of "
                    "them or remove the decoder"
                )
            if config.kind not in get_args(DecoderKind):
                raise ValueError(f"{key}.kind must be linear or mlp, got {config.kind!r}")
            layers = 0 if config.kind == "linear" else 2
            sizes = (source_dims[config.source], config.hidden_dim, target_dims[target])
            self.decoders[name] = mlp(*sizes, num_hidden_layers=layers)

    def forward(self, variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each decoder's estimate (B, T, k) of its target."""
        return {
            name: decoder(variables[self.configs[name].source])
            for name, decoder in self.decoders.items()
        }

    def target(self, name: str, batch: Batch) -> Tensor:
        """Return what the decoder of that name is to estimate, (B, T, k), NaN where unknown."""
        if self.targets[name] == INPUTS:
            return batch.inputs.masked_fill(~batch.known[..., None], torch.nan)
        return batch.targets[self.targets[name]]

    def losses(self, estimates: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return each decoder's mean squared error over the bins whose target is known."""
        found = {}
        for name, estimate in estimates.items():
            target = self.target(name, batch)
            known = torch.isfinite(target)
            error = torch.where(known, estimate - torch.where(known, target, 0.0), 0.0)
            found[name] = error.square().sum() / known.sum().clamp_min(1)
        return found
