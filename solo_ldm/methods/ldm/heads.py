"""Projectors and predictors of latent distribution matching: perceptrons."""

from __future__ import annotations

import itertools

from torch import nn

from solo_ldm.config.arguments import Count, checked
from solo_ldm.config.memory import check_layers


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
