"""Projectors and predictors of latent distribution matching: perceptrons."""

from __future__ import annotations

import itertools

from torch import nn

from solo_ldm.config.arguments import Count, checked
from solo_ldm.config.memory import check_layers
from solo_ldm.methods.ldm.direct import DirectPredictor
from solo_ldm.methods.ldm.settings import LDMSettings
from solo_ldm.methods.ldm.whitening import Whitening


@checked
def perceptron(
    num_inputs: Count,
    num_hidden: Count,
    num_outputs: Count,
    num_layers: Count = 2,
    batch_norm: bool = False,
    output_batch_norm: bool = False,
) -> nn.Sequential:
    """Build Linear (BatchNorm) ReLU … Linear (BatchNorm).

    Args:
        num_inputs: number of input units.
        num_hidden: units of each hidden layer.
        num_outputs: number of output units.
        num_layers: linear layers, at least 1; with 1 there is no hidden layer.
        batch_norm: normalise the hidden layers.
        output_batch_norm: normalise the outputs too, without scale and shift, as SimSiam does.

    Raises:
        ValueError: a number below 1.
    """
    widths = [num_inputs, *[num_hidden] * (num_layers - 1)]
    check_layers([*widths, num_outputs])
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers.append(nn.Linear(before, after))
        layers += [nn.BatchNorm1d(after)] if batch_norm else []
        layers.append(nn.ReLU())
    layers.append(nn.Linear(widths[-1], num_outputs))
    layers += [nn.BatchNorm1d(num_outputs, affine=False)] if output_batch_norm else []
    return nn.Sequential(*layers)


def projector_of(settings: LDMSettings, num_inputs: int) -> nn.Sequential:
    """Build the projector of a cell, from features to latents before they are on the support."""
    projector = perceptron(
        num_inputs,
        settings.proj_hidden_dim,
        settings.proj_output_dim,
        settings.proj_layers,
        settings.proj_batch_norm,
        settings.proj_output_batch_norm and not settings.proj_output_whitening,
    )
    if settings.proj_output_whitening:
        projector.append(Whitening(settings.proj_output_dim))
    return projector


def predictor_of(settings: LDMSettings, num_predicted: int) -> nn.Module | None:
    """Build the predictor of a cell, from latents to `num_predicted` outputs; None without one."""
    dim = settings.proj_output_dim
    if settings.predictor == "linear":
        return nn.Linear(dim, num_predicted)
    if settings.predictor == "mlp":
        hidden, batch_norm = settings.pred_hidden_dim, settings.pred_batch_norm
        return perceptron(dim, hidden, num_predicted, batch_norm=batch_norm)
    if settings.predictor == "direct":
        return DirectPredictor(dim, settings.direct_momentum, settings.direct_ridge)
    return None
