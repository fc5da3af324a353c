"""Losses of packaged presets, for comparison with published ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hydra import compose, initialize_config_module
from torch import Tensor

from solo_ldm.methods.ldm.body import LDM
from solo_ldm.methods.ldm.settings import LDMSettings

# In float64, both for values and for gradients.
CLOSE = {"atol": 1e-9, "rtol": 0.0}

# Of two views: what the network, the predictor and the target make of them.
Views = tuple[Tensor, Tensor]


def preset(name: str, *overrides: str) -> LDMSettings:
    """Return the cell of the grid that a packaged preset names."""
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return LDM.settings(compose(name, overrides=list(overrides)))


def loss_of(settings: LDMSettings, latents: Views, predictions: Views, targets: Views) -> Tensor:
    """Return the loss of a cell, given the outputs before they are projected on the support."""
    objective = settings.build_objective()
    z, p, t = (
        tuple(objective.latent.project(h) for h in pair) for pair in (latents, predictions, targets)
    )
    return objective(
        *z,
        None if settings.predictor == "none" else p,
        None if settings.target == "same" else t,
    ).loss


def value_and_gradients(loss: Callable[[Views, Views, Views], Tensor]) -> tuple[Tensor, Views]:
    """Return a loss of fixed random views, and its gradients in latents and predictions."""
    generator = torch.Generator().manual_seed(3)
    made = [torch.randn(24, 10, generator=generator, dtype=torch.float64) for _ in range(6)]
    leaves = [one.requires_grad_() for one in made[:4]]
    value = loss((leaves[0], leaves[1]), (leaves[2], leaves[3]), (made[4], made[5]))
    gradients = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
    return value.detach(), gradients
