"""What a predictor is, and what it returns for sequences of latents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from predictive.filtering import Gaussian

# What `Forecast.variables` may return.
Variable = Literal[
    "latents", "states", "predictions", "prediction_variance", "observation_noise", "process_noise"
]


@dataclass(frozen=True, eq=False)
class Forecast:
    """The latents of sequences, their predictions, and the states behind these.

    Args:
        latents: z_t = f(x_t), (B, T, m).
        predictions: p(z_t | z_<t), over (B, T, m), the observation noise included.
        states: the state after z_t, (B, T, n): the filter's mean, or the hidden state of a
            recurrent network.
        state_factor: Cholesky factor of the state's covariance, (B or 1, T, n, n); None where the
            predictor has no posterior.
        observation_noise: variances R of the latents, (B or 1, T, m); None where there is none.
        process_noise: variances Q of the state, (B or 1, T, n); None where there is none.
    """

    latents: Tensor
    predictions: Gaussian
    states: Tensor
    state_factor: Tensor | None = None
    observation_noise: Tensor | None = None
    process_noise: Tensor | None = None

    def variables(self) -> dict[str, Tensor]:
        """Return the inputs of online probes, detached, (B, T, k) each, by name."""
        found = {
            "latents": self.latents,
            "states": self.states,
            "predictions": self.predictions.mean,
            "prediction_variance": self.predictions.variance,
            "observation_noise": self.observation_noise,
            "process_noise": self.process_noise,
        }
        samples, steps = self.latents.shape[:2]
        return {
            name: value.detach().expand(samples, steps, -1)
            for name, value in found.items()
            if value is not None
        }


class Predictor(nn.Module, ABC):
    """A model p(z_t | z_<t) of latents whose parameters come in named parts.

    Attributes:
        parts: names of the groups that `parameter_groups` may return; `optimizer.multipliers` gives
            each a learning rate of its own.
        state_dim: n, features of a state.
    """

    parts: ClassVar[tuple[str, ...]]
    state_dim: int

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the trained parameters by part."""

    @abstractmethod
    def forward(self, latents: Tensor, inputs: Tensor, mask: Tensor | None = None) -> Forecast:
        """Predict sequences of latents.

        Args:
            latents: z, (B, T, m).
            inputs: x, (B, T, F), for noise that depends on them.
            mask: true where there is an observation, (B, T) or (B, T, m); None for all.

        Returns:
            Predictions and states; masked latents are predicted but not used.
        """
