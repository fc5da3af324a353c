"""Small networks for encoders, heads, noises and decoders."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from solo_ldm.config.arguments import Bounds, Count, checked
from solo_ldm.config.memory import check_layers

Activation = Literal["relu", "gelu", "elu", "tanh"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}


@checked
def mlp(
    input_dim: Count,
    hidden_dim: Count,
    output_dim: Count,
    num_hidden_layers: Annotated[int, Bounds(0)] = 1,
    activation: Activation = "relu",
) -> nn.Sequential:
    """Return a multi-layer perceptron; with no hidden layers it is linear.

    Args:
        input_dim: features in.
        hidden_dim: units of each hidden layer.
        output_dim: features out.
        num_hidden_layers: from 0.
        activation: relu, gelu, elu or tanh, after each hidden layer.

    Raises:
        ValueError: an unknown activation or a size below one.
    """
    sizes = [input_dim, *[hidden_dim] * num_hidden_layers, output_dim]
    check_layers(sizes)
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layers += [nn.Linear(wide, narrow), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class VarianceNetwork(nn.Module):
    """Variance of an observation from how far its features lie from their mean.

    d_i = (w_i x_i − mean_j w_j x_j)²,  v = relu(|V| relu(|U| d + a) + c)

    A network of squared deviations reads how noisy an input is, and little of its content. The
    initial weights are uniform: v is then the variance over the features.

    Args:
        input_dim: features of an observation.
        output_dim: variances to return.

    Source:
        The authors' code of Mikulasch & Zenke, arXiv 2605.03517.
    """

    def __init__(self, input_dim: int, output_dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(input_dim))
        self.inner = nn.Parameter(torch.full((input_dim, input_dim), 1.0 / input_dim))
        self.inner_bias = nn.Parameter(torch.zeros(input_dim))
        self.outer = nn.Parameter(torch.full((output_dim, input_dim), 1.0 / input_dim))
        self.outer_bias = nn.Parameter(torch.zeros(output_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return variances (…, output_dim), at least zero, of observations (…, input_dim)."""
        scaled = self.scale * x
        deviation = (scaled - scaled.mean(dim=-1, keepdim=True)).square()
        hidden = torch.relu(nn.functional.linear(deviation, self.inner.abs(), self.inner_bias))
        return torch.relu(nn.functional.linear(hidden, self.outer.abs(), self.outer_bias))
