"""Online probes: decoders trained beside the method on detached latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from predictive.data.module import Batch
from predictive.networks import mlp
from predictive.predictors import Variable
from solo_ldm.config.arguments import Rate, Width, check_arguments

# The target of a probe that reconstructs the observations.
INPUTS = "inputs"


@dataclass
class DecoderConfig:
    """One online probe.

    Args:
        source: its input; see `Forecast.variables`.
        target: the name of a target of the data, or "inputs"; None takes the decoder's name.
        kind: linear or mlp.
        hidden_dim: units of the two hidden layers of an mlp.
        lr: learning rate for 256 sequences a step.
    """

    source: Variable = "states"
    target: str | None = None
    kind: Literal["linear", "mlp"] = "linear"
    hidden_dim: Width = 100
    lr: Rate = 0.5


class OnlineDecoders(nn.Module):
    """Online probes by name; no gradient reaches the method.

    Args:
        configs: by name.
        source_dims: features of each variable of the predictor.
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
                raise ValueError(
                    f"{key}: expected a name that torch does not reserve, got {name!r}"
                )
            check_arguments(key, vars(config), DecoderConfig)
            target = self.targets[name]
            for part, value, known, owner in (
                ("source", config.source, source_dims, "predictor"),
                ("target", target, target_dims, "data"),
            ):
                if value not in known:
                    raise ValueError(
                        f"{key}.{part}: expected one of this {owner}'s ({', '.join(known)}), got "
                        f"{value}; set it or remove the decoder"
                    )
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
        """Return the target of a decoder, (B, T, k), NaN where unknown."""
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
