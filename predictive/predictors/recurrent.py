"""A recurrent network as a predictor."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from predictive.filtering import Gaussian
from predictive.networks import VarianceNetwork, mlp
from predictive.predictors.base import Forecast, Predictor
from solo_ldm.config.arguments import Bounds, Depth, Width, checked

Cell = Literal["lstm", "gru", "rnn"]
Variance = Literal["constant", "state", "input_variance"]

_CELLS: dict[str, type[nn.LSTM] | type[nn.GRU] | type[nn.RNN]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn": nn.RNN,
}
_FLOOR = 1e-5


class RecurrentCarry(NamedTuple):
    """What `RecurrentPredictor.advance` passes from bin to bin: output, hidden and cell states."""

    state: Tensor
    hidden: tuple[Tensor, ...]


class RecurrentPredictor(Predictor):
    """Predict latents by a recurrent network with an MLP head.

    h_t = cell(h_{t−1}, z_t),  p(z_t | z_<t) = N(MLP(h_{t−1}), diag v_t),  h_0 = 0.

    Args:
        latent_dim: m, dimension of the latents.
        input_dim: F, features of an observation; needed for variance="input_variance".
        cell: lstm, gru or rnn.
        hidden_dim: units of the cell.
        num_layers: of the recurrent network.
        head_hidden_dim: units of the head's hidden layers.
        head_num_hidden_layers: of the head.
        variance: v_t. "constant": one; "state": softplus of a linear map of h_{t−1};
            "input_variance": from the variance of x_t's features (see `VarianceNetwork`).

    Raises:
        ValueError: an unknown cell or variance, a size below one, no input_dim where it is needed.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517 and their code.
    """

    parts = ("recurrent", "head", "variance")

    @checked
    def __init__(
        self,
        latent_dim: Width,
        input_dim: int | None = None,
        cell: Cell = "lstm",
        hidden_dim: Width = 10,
        num_layers: Depth = 1,
        head_hidden_dim: Width = 20,
        head_num_hidden_layers: Annotated[int, Bounds(0, limit=1000)] = 2,
        variance: Variance = "constant",
    ) -> None:
        super().__init__()
        if variance == "input_variance" and input_dim is None:
            raise ValueError("input_dim: expected a number for variance=input_variance, got None")
        self.latent_dim, self.state_dim = latent_dim, hidden_dim
        self.variance: Variance = variance
        self.recurrent = _CELLS[cell](latent_dim, hidden_dim, num_layers, batch_first=True)
        self.head = mlp(hidden_dim, head_hidden_dim, latent_dim, head_num_hidden_layers)
        self.variance_network: nn.Module | None = None
        if variance == "state":
            self.variance_network = nn.Linear(hidden_dim, latent_dim)
        elif variance == "input_variance":
            self.variance_network = VarianceNetwork(input_dim or 0, latent_dim)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the trained parameters by part."""
        groups = {
            "recurrent": list(self.recurrent.parameters()),
            "head": list(self.head.parameters()),
        }
        if self.variance_network is not None:
            groups["variance"] = list(self.variance_network.parameters())
        return groups

    def forward(self, latents: Tensor, inputs: Tensor, mask: Tensor | None = None) -> Forecast:
        """Run over sequences of latents; see `Predictor`. Masked latents enter as zero."""
        entering = latents
        if mask is not None:
            entering = torch.where(mask if mask.ndim == 3 else mask[..., None], latents, 0.0)
        states, _ = self.recurrent(entering)
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
        mean = self.head(before)
        predictions = Gaussian(mean, self._factor(mean, before, inputs))
        return Forecast(latents, predictions, states)

    def start(self, samples: int) -> RecurrentCarry:
        """Return what a filter of one bin after another begins with; see `advance`.

        Args:
            samples: B, filtered beside each other.
        """
        weight = next(self.recurrent.parameters())
        hidden = weight.new_zeros(self.recurrent.num_layers, samples, self.state_dim)
        pair = isinstance(self.recurrent, nn.LSTM)
        state = weight.new_zeros(samples, self.state_dim)
        return RecurrentCarry(state, (hidden, hidden) if pair else (hidden,))

    def advance(
        self,
        carry: RecurrentCarry,
        latents: Tensor,
        inputs: Tensor,
        seen: Tensor | None = None,
        rolling: bool = False,
    ) -> tuple[RecurrentCarry, Gaussian]:
        """Take in one bin.

        Args:
            carry: of the bin before.
            latents: z_t, (B, m).
            inputs: x_t, (B, F).
            seen: true where there is an observation, (B, m); None for all. Others enter as zero.
            rolling: whether the prediction enters in place of the latent, to forecast.

        Returns:
            The next carry, and the prediction of the latent, over (B, m).
        """
        mean = self.head(carry.state)
        prediction = Gaussian(mean, self._factor(mean, carry.state, inputs))
        entering = latents if seen is None else torch.where(seen, latents, 0.0)
        entering = mean if rolling else entering
        pair = isinstance(self.recurrent, nn.LSTM)
        before = carry.hidden if pair else carry.hidden[0]
        found, hidden = self.recurrent(entering[:, None], before)
        return RecurrentCarry(found[:, 0], hidden if pair else (hidden,)), prediction

    def _factor(self, mean: Tensor, before: Tensor, inputs: Tensor) -> Tensor:
        if self.variance_network is None:
            variance = torch.ones_like(mean)
        elif self.variance == "state":
            variance = softplus(self.variance_network(before)) + _FLOOR
        else:
            variance = self.variance_network(inputs) + _FLOOR
        return torch.diag_embed(variance.sqrt())
