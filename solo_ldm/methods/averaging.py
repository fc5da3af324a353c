"""Projectors and predictors: perceptrons, and a copy of a network that follows it slowly."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def perceptron(
    num_inputs: int,
    num_hidden: int,
    num_outputs: int,
    num_layers: int = 2,
    batch_norm: bool = False,
    output_batch_norm: bool = False,
) -> nn.Sequential:
    """Build Linear (BatchNorm) ReLU … Linear (BatchNorm).

    Args:
        num_inputs: units.
        num_hidden: units of each hidden layer.
        num_outputs: units.
        num_layers: linear layers, at least 1; with 1 there is no hidden layer.
        batch_norm: normalise the hidden layers.
        output_batch_norm: normalise the outputs too, without scale and shift, as SimSiam does.

    Raises:
        ValueError: a number of layers below 1.
    """
    if num_layers < 1:
        raise ValueError(f"a projector needs at least 1 layer, got {num_layers}")
    widths = [num_inputs, *[num_hidden] * (num_layers - 1)]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers.append(nn.Linear(before, after))
        layers += [nn.BatchNorm1d(after)] if batch_norm else []
        layers.append(nn.ReLU())
    layers.append(nn.Linear(widths[-1], num_outputs))
    layers += [nn.BatchNorm1d(num_outputs, affine=False)] if output_batch_norm else []
    return nn.Sequential(*layers)


class MovingAverage(nn.Module):
    """A copy of networks whose weights are a moving average of theirs: the target of BYOL.

    θ̄ ← τ θ̄ + (1 − τ) θ, with τ rising from its first to its last value over the training:
    τ(t) = τ₁ − (τ₁ − τ₀) (cos(π t / T) + 1) / 2.

    Buffers (running statistics) are the copy's own: it sees the same images in training mode.

    Args:
        networks: by name; each is an attribute of this module.
        first: τ₀, in [0, 1].
        last: τ₁, in [0, 1].

    Raises:
        ValueError: τ outside [0, 1].

    Source:
        Grill et al., BYOL, arXiv 2006.07733, section 3.3.
    """

    def __init__(self, networks: Mapping[str, nn.Module], first: float, last: float) -> None:
        super().__init__()
        for name, value in (("base_tau", first), ("final_tau", last)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie between 0 and 1, got {value}")
        self.first, self.last = float(first), float(last)
        self.names = tuple(networks)
        for name, network in networks.items():
            self.add_module(name, copy.deepcopy(network).requires_grad_(False))

    def tau(self, progress: float) -> float:
        """Return τ when a share of the training is done."""
        return self.last - (self.last - self.first) * (math.cos(math.pi * progress) + 1.0) / 2.0

    @torch.no_grad()
    def update(self, networks: Mapping[str, nn.Module], progress: float) -> None:
        """Move towards the networks by one step.

        Args:
            networks: those that this is the average of.
            progress: share of the training that is done, 0 to 1.
        """
        tau = self.tau(progress)
        averages, values = [], []
        for name in self.names:
            averages += list(self.get_submodule(name).parameters())
            values += [value.detach() for value in networks[name].parameters()]
        torch._foreach_lerp_(averages, values, 1.0 - tau)  # pyright: ignore

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Pass `x` through the copies in their order."""
        for name in self.names:
            x = self.get_submodule(name)(x)
        return x
