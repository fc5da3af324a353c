"""A copy of a network that follows it slowly: the target of BYOL and its kin."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from solo_ldm.config.arguments import Share, checked


class MovingAverage(nn.Module):
    """A copy of networks whose weights are an exponential moving average of theirs.

    θ̄ ← τ θ̄ + (1 − τ) θ, with τ rising from its first to its last value over the training:
    τ(t) = τ₁ − (τ₁ − τ₀) (cos(π t / T) + 1) / 2.

    Buffers (running statistics) are not averaged: the copy runs on the same images, in training
    mode, and keeps its own.

    Args:
        networks: by name; each copy is an attribute of this module.
        first: τ₀, in [0, 1].
        last: τ₁, in [0, 1].

    Raises:
        ValueError: τ outside [0, 1].

    Source:
        Grill et al., BYOL, arXiv 2006.07733, section 3.3.
    """

    @checked
    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        first: Share,
        last: Share,
    ) -> None:
        super().__init__()
        self.first, self.last = float(first), float(last)
        self.names = tuple(networks)
        for name, network in networks.items():
            self.add_module(name, copy.deepcopy(network).requires_grad_(False))

    def tau(self, progress: float) -> float:
        """Return τ at a share of the training, 0 to 1."""
        return self.last - (self.last - self.first) * (math.cos(math.pi * progress) + 1.0) / 2.0

    @torch.no_grad()
    def update(self, networks: Mapping[str, nn.Module], progress: float) -> None:
        """Move towards the networks by one step.

        Args:
            networks: the ones given to the constructor, after a step of the optimiser.
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


def progress(trainer: Any, steps_more: int = 0) -> float:
    """Return which share of the optimiser's steps is done, 0 to 1.

    Args:
        trainer: Lightning's.
        steps_more: steps beyond those that the trainer has counted: 1 right after a step.
    """
    total = max(1, trainer.estimated_stepping_batches)
    return (trainer.global_step + steps_more) / total
