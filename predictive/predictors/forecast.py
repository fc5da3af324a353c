"""What a predictor says of a sequence of latents."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from predictive.filtering import Gaussian


@dataclass(frozen=True, eq=False)
class Forecast:
    """The latents of sequences, what was predicted of them, and the states behind it.

    Args:
        latents: z_t = f(x_t), (B, T, m).
        predictions: p(z_t | z_<t), over (B, T, m), the observation noise included.
        states: what is known of the state after z_t: the filter's mean, or the hidden state of a
            recurrent network, (B, T, n).
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
        """Return what online decoders may read, detached, (B, T, k) each."""
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


# Names that `Forecast.variables` may return.
VARIABLES = (
    "latents",
    "states",
    "predictions",
    "prediction_variance",
    "observation_noise",
    "process_noise",
)
