"""Builders of heads, losses and queues that recipes share or that take more than a line."""

from __future__ import annotations

from typing import Any

import torch
from lightly import loss as losses
from lightly.models.modules.memory_bank import MemoryBankModule
from torch import nn

from solo_ldm.methods.lightly.parts import Leading, Settings

# Losses that can compare the samples of all processes do so where torch lets processes talk.
GATHER = torch.distributed.is_available()


def queue_each_view(settings: Settings) -> nn.Module | None:
    """Return a queue of projections for each of the two large views, or None for size 0."""
    if not settings["queue_size"]:
        return None
    size = (settings["queue_size"], settings["proj_output_dim"])
    return nn.ModuleList([MemoryBankModule(size) for _ in range(2)])


def tico_loss(settings: Settings) -> nn.Module:
    """Return TiCo's loss with its moving covariance (D, D) as a buffer, so that it is saved.

    In lightly it is an attribute, None until the first step, which takes it for zero.
    """
    criterion: Any = losses.TiCoLoss(settings["beta"], settings["rho"], gather_distributed=GATHER)
    del criterion.C
    dim = settings["proj_output_dim"]
    criterion.register_buffer("C", torch.zeros(dim, dim))
    return criterion


def check_whitening(settings: Settings, batch_size: int) -> str | None:
    """Say what keeps W-MSE from whitening parts of a batch, or return None."""
    size, dim = settings["whitening_size"], settings["proj_output_dim"]
    if size < 2 * dim:
        return (
            f"method_kwargs.whitening_size={size} must be at least twice "
            f"method_kwargs.proj_output_dim={dim}"
        )
    if batch_size % size:
        return (
            f"optimizer.batch_size={batch_size} must be a multiple of "
            f"method_kwargs.whitening_size={size}"
        )
    return None


def projector(kind: type[nn.Module], **fixed: Any) -> Any:
    """Return a builder of a projector with one hidden and one output width."""
    return lambda num_inputs, settings: kind(
        num_inputs, settings["proj_hidden_dim"], settings["proj_output_dim"], **fixed
    )


def first_features(num_inputs: int, settings: Settings) -> nn.Module:
    """Return what DirectCLR has in place of a projector; ValueError if there are too few."""
    if settings["loss_dim"] > num_inputs:
        raise ValueError(
            f"method_kwargs.loss_dim={settings['loss_dim']} is more than the {num_inputs} features "
            "of the backbone: lower it"
        )
    return Leading(settings["loss_dim"])


def predictor(kind: type[nn.Module]) -> Any:
    """Return a builder of a predictor with one hidden width."""
    return lambda settings: kind(
        settings["proj_output_dim"], settings["pred_hidden_dim"], settings["proj_output_dim"]
    )


def widths(hidden: int, output: int, predictor: int | None = None) -> dict[str, Any]:
    """Return the settings of a projector and, if its width is given, a predictor."""
    widths = {"proj_hidden_dim": hidden, "proj_output_dim": output}
    return widths if predictor is None else {**widths, "pred_hidden_dim": predictor}


def average(first: float, last: float) -> dict[str, Any]:
    """Return the settings of a moving average."""
    return {"base_tau": first, "final_tau": last}
