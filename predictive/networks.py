"""The small networks of encoders, heads, noises and decoders."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}


def mlp(
    input_dim: int,
    hidden_dim: int,
    output_dim: int,
    num_hidden_layers: int = 1,
    activation: str = "relu",
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
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}")
    sizes = [input_dim, *[hidden_dim] * num_hidden_layers, output_dim]
    if num_hidden_layers < 0 or min(sizes) < 1:
        raise ValueError(
            f"a network needs sizes from 1 and hidden layers from 0, got sizes {sizes} with "
            f"{num_hidden_layers} hidden layers"
        )
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layers += [nn.Linear(wide, narrow), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class VarianceNetwork(nn.Module):
    """Variance of an observation from how far its features lie from their mean.

    d_i = (w_i x_i − mean_j w_j x_j)²,  v = relu(|V| relu(|U| d + a) + c)

    A network that sees squared deviations alone can tell how noisy an input is, hardly what it
    shows. Weights start uniform: v is then the variance over the features.

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
