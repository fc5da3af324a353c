"""`RecurrentSSL`: latents that a recurrent network predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictive.estimator.states import LatentSSL
from predictive.predictors import RecurrentPredictor


class RecurrentSSL(LatentSSL):
    """Latents of any series whose future a recurrent network predicts.

    z_t = f(x_t),  p(z_t | z_<t) = N(MLP(h_{t−1}), I),  h_t = cell(h_{t−1}, z_t): as `KalmanSSL`,
    with dynamics that need not be linear, and without covariances of the states, so that nothing
    can be smoothed or sampled and intervals of y are those of the decoder alone.

    Args:
        latent_dim: m, dimension of the latents; by the rule of `KalmanSSL` where None.
        state_dim: n, units of the cell.
        hidden_dim: as in `KalmanSSL`, like all that follows but cell.
        input_transform: see there.
        feature_dropout: see there.
        history: see there.
        cell: "gru", "lstm" or "rnn".
        entropy: see there.
        window: see there.
        stride: see there.
        batch_size: see there.
        learning_rate: see there.
        max_epochs: see there.
        bin_seconds: see there.
        decoder: see there.
        target: see there.
        output: what `transform` returns: "states" or "latents".
        device: see there.
        random_state: see there.
        verbose: see there.
        settings: see there.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517.
    """

    _method = "recurrent"

    def __init__(
        self,
        latent_dim: int | None = None,
        state_dim: int = 32,
        *,
        hidden_dim: int = 100,
        input_transform: str | None = None,
        feature_dropout: float | None = None,
        history: float | None = None,
        cell: str = "gru",
        entropy: str = "logdet",
        window: int | None = None,
        stride: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 0.02,
        max_epochs: int | None = None,
        bin_seconds: float | None = None,
        decoder: str = "mlp",
        target: Any = None,
        output: str = "states",
        device: str = "auto",
        random_state: Any = 0,
        verbose: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.state_dim = state_dim
        self.hidden_dim = hidden_dim
        self.input_transform = input_transform
        self.feature_dropout = feature_dropout
        self.history = history
        self.cell = cell
        self.entropy = entropy
        self.window = window
        self.stride = stride
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.bin_seconds = bin_seconds
        self.decoder = decoder
        self.target = target
        self.output = output
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.settings = settings

    def _smoothed(self, X: Any) -> NoReturn:
        raise ValueError("output: expected states or latents of a recurrent network, got smoothed")

    @torch.no_grad()
    def _ahead(self, values: NDArray[np.float32], steps: int) -> tuple[Tensor, Tensor | None]:
        # From bin to bin, each prediction taken for the latent.
        predictor = self.method_.predictor
        assert isinstance(predictor, RecurrentPredictor)
        carry, found = predictor.start(1), []
        inputs = torch.from_numpy(values)
        seen = torch.isfinite(inputs).all(dim=1, keepdim=True)
        inputs = torch.where(seen, inputs, 0.0)
        latents = self.method_.encoder(inputs[None], seen.T)[0]
        for one in zip(
            latents.split(1), inputs.split(1), seen.expand_as(latents).split(1), strict=True
        ):
            carry, _ = predictor.advance(carry, *one)
        nothing = torch.zeros(1, values.shape[1])
        for _ in range(steps):
            carry, _ = predictor.advance(carry, carry.state, nothing, rolling=True)
            found.append(carry.state[0])
        return torch.stack(found), None

    def _predictor(self, chosen: Mapping[str, Any], step_seconds: float | None) -> dict[str, Any]:
        return {}
