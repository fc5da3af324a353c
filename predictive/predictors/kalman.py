"""The Kalman filter as a predictor that learns its own model."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor, nn

from predictive.filtering import Gaussian, StateSpaceModel, filter_step, kalman_filter
from predictive.networks import VarianceNetwork, mlp
from predictive.predictors.base import Forecast, Predictor
from predictive.predictors.noises import InputNoise, PastNoise, StateNoise
from solo_ldm.config.arguments import Bounds, Positive, Width, checked

ObservationNoise = Literal["constant", "input", "input_variance", "state"]
ProcessNoise = Literal["constant", "errors", "observations_and_predictions"]
InitialState = Literal["fixed", "learned"]


class Carry(NamedTuple):
    """What `KalmanPredictor.advance` passes from bin to bin: the model, the belief, the records."""

    transition: Tensor
    offset: Tensor
    scale: Tensor
    belief: Gaussian
    records: Tensor | None


class Step(NamedTuple):
    """A bin filtered: the prediction of its latent, the belief after it, and the noises R and Q."""

    prediction: Gaussian
    belief: Gaussian
    observation_noise: Tensor
    process_noise: Tensor


class KalmanPredictor(Predictor):
    """Predict latents by a linear-Gaussian model of which transition and noises are learned.

    h_t = A (h_{t−1} − b) + b + N(0, s Q_t),  z_t = D h_t + N(0, s R_t),  h_0 ~ N(m_0, P_0).

    D is the first m rows of the identity, or, with fewer states than latents, the first n columns.
    A is stable by parametrisation: A = M · min(1, r / ρ(M)) with spectral radius ρ and a learned
    matrix M, so that no state grows by more than the factor r a step. Q and R are diagonal, s is a
    learned scalar.

    Args:
        latent_dim: m, dimension of the latents.
        state_dim: n, dimension of the state; the latents' by default.
        input_dim: F, features of an observation; needed for noise that depends on the input.
        observation_noise: R. "constant": one, as the encoder and s set the scale of the latents;
            "input": an MLP of x_t; "input_variance": the variance of x_t's features (see
            `VarianceNetwork`); "state": an MLP of the predicted state.
        process_noise: Q. "constant": learned; "errors": plus an MLP of the last `num_records`
            errors z − ẑ; "observations_and_predictions": plus an MLP of the last z and ẑ.
        initial_state: "fixed", m_0 = 0 and P_0 = I, or "learned".
        noise_hidden_dim: units of the networks behind "input" and "state"; those of the process
            noise have 20.
        num_records: steps that the process noise looks back.
        max_radius: r; above one the state may grow for a while, as an oscillation does between
            two corrections.
        initial_transition: what M starts at, as a multiple of the identity, plus a little noise;
            None for the identity plus more noise, scaled to a spectral radius of 1 / 1.1. Near one
            and with little process noise, learning starts from slow states.
        initial_process_noise: what Q starts at, relative to R.

    Raises:
        ValueError: an unknown kind of noise, a size below one, no input_dim where it is needed.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517 and their code; docs/deviations.md has the differences.
    """

    parts = ("filter", "observation_noise", "process_noise")
    observation_matrix: Tensor

    @checked
    def __init__(
        self,
        latent_dim: Width,
        state_dim: Width | None = None,
        input_dim: int | None = None,
        observation_noise: ObservationNoise = "constant",
        process_noise: ProcessNoise = "constant",
        initial_state: InitialState = "fixed",
        noise_hidden_dim: Width = 100,
        num_records: Width = 10,
        max_radius: Positive = 1.02,
        initial_transition: Annotated[float, Bounds(-10, 10)] | None = None,
        initial_process_noise: Positive = 1.0,
    ) -> None:
        super().__init__()
        state_dim = latent_dim if state_dim is None else state_dim
        if observation_noise.startswith("input") and input_dim is None:
            raise ValueError(
                f"input_dim: expected a number for observation_noise={observation_noise}, got None"
            )
        self.latent_dim, self.state_dim = latent_dim, state_dim
        self.observation_noise: ObservationNoise = observation_noise
        self.process_noise: ProcessNoise = process_noise
        self.max_radius = float(max_radius)

        noise = torch.randn(state_dim, state_dim)
        if initial_transition is None:
            matrix = torch.eye(state_dim) + 0.1 * noise
            matrix = matrix / (1.1 * _spectral_radius(matrix))
        else:
            matrix = initial_transition * torch.eye(state_dim) + 0.02 * noise
        self.matrix = nn.Parameter(matrix)
        self.offset = nn.Parameter(torch.zeros(state_dim))
        self.log_process_noise = nn.Parameter(
            torch.full((state_dim,), math.log(initial_process_noise))
        )
        self.log_joint_scale = nn.Parameter(torch.ones(()))
        learned = initial_state == "learned"
        self.initial_mean = nn.Parameter(torch.zeros(state_dim), requires_grad=learned)
        self.initial_log_variance = nn.Parameter(torch.zeros(state_dim), requires_grad=learned)
        self.register_buffer("observation_matrix", torch.eye(latent_dim, state_dim))

        self.observation_network: nn.Module | None = None
        if observation_noise == "input":
            network = mlp(input_dim or 0, noise_hidden_dim, latent_dim, num_hidden_layers=2)
            self.observation_network = InputNoise(network.append(nn.Softplus(beta=10.0)))
        elif observation_noise == "input_variance":
            self.observation_network = InputNoise(VarianceNetwork(input_dim or 0, latent_dim))
        elif observation_noise == "state":
            self.observation_network = StateNoise(state_dim, latent_dim, noise_hidden_dim)
        self.process_network: PastNoise | None = None
        if process_noise != "constant":
            record_dim = latent_dim if process_noise == "errors" else 2 * latent_dim
            self.process_network = PastNoise(record_dim, num_records, state_dim, hidden_dim=20)

    @property
    def transition(self) -> Tensor:
        """A, (n, n), with spectral radius of at most `max_radius`."""
        radius = _spectral_radius(self.matrix.detach())
        return self.matrix * (self.max_radius / radius).clamp(max=1.0)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the trained parameters by part."""
        groups = {"filter": list(self.parameters(recurse=False))}
        if self.observation_network is not None:
            groups["observation_noise"] = list(self.observation_network.parameters())
        if self.process_network is not None:
            groups["process_noise"] = list(self.process_network.parameters())
        return {
            name: [p for p in parameters if p.requires_grad] for name, parameters in groups.items()
        }

    def forward(self, latents: Tensor, inputs: Tensor, mask: Tensor | None = None) -> Forecast:
        """Filter sequences of latents; see `Predictor`. Masked latents are predicted too."""
        if self.observation_noise == "state" or self.process_noise != "constant":
            return self._step_by_step(latents, inputs, mask)
        model = self.model(inputs)
        posterior = kalman_filter(model, latents, mask)
        return Forecast(
            latents=latents,
            predictions=posterior.predictions,
            states=posterior.states.mean,
            state_factor=posterior.states.factor,
            observation_noise=_as_variances(model.observation_noise),
            process_noise=_as_variances(model.process_noise),
        )

    def model(self, inputs: Tensor) -> StateSpaceModel:
        """Return the state-space model of sequences whose noises depend on the inputs at most.

        Args:
            inputs: x, (B, T, F).

        Raises:
            ValueError: the noises depend on the states or on past errors.
        """
        if self.observation_noise == "state" or self.process_noise != "constant":
            raise ValueError(
                f"observation_noise={self.observation_noise} and process_noise="
                f"{self.process_noise} depend on the filter's states: no model is known beforehand"
            )
        scale = self.log_joint_scale.exp()
        if self.observation_network is None:
            observation = scale.expand(self.latent_dim)
        else:
            observation = scale * self.observation_network(inputs)
        return StateSpaceModel(
            initial_mean=self.initial_mean,
            initial_covariance=self.initial_log_variance.exp().diag(),
            transition=self.transition,
            offset=self.offset,
            observation_matrix=self.observation_matrix,
            process_noise=scale * self.log_process_noise.exp(),
            observation_noise=observation,
        )

    def start(self, samples: int) -> Carry:
        """Return what a filter of one bin after another begins with; see `advance`.

        Args:
            samples: B, filtered beside each other.
        """
        a, b, scale = self.transition, self.offset, self.log_joint_scale.exp()
        belief = Gaussian(
            self.initial_mean.expand(samples, -1),
            (0.5 * self.initial_log_variance).exp().diag().expand(samples, -1, -1),
        )
        past = self.process_network
        records = None if past is None else past.start(samples, self.offset)
        return Carry(a, b, scale, belief, records)

    def advance(
        self, carry: Carry, latents: Tensor, input_noise: Tensor, seen: Tensor | None = None
    ) -> tuple[Carry, Step]:
        """Filter one bin.

        Args:
            carry: of the bin before.
            latents: z_t, (B, m).
            input_noise: of the bin, (B, m); see `input_noise`.
            seen: true where there is an observation, (B, m); None for all.
        """
        a, b, scale, belief, records = carry
        network, past = self.observation_network, self.process_network
        q, r = self.log_process_noise.exp().expand(len(latents), -1), input_noise
        if past is not None and records is not None:
            q = q + past(records)
        if network is not None and self.observation_noise == "state":
            r = network((belief.mean - b) @ a.T + b)
        q, r = scale * q, scale * r
        belief, prediction = filter_step(
            belief, latents, a, b, self.observation_matrix, q, r, mask=seen
        )
        if past is not None and records is not None:
            z = latents if seen is None else torch.where(seen, latents, prediction.mean)
            pair = [z - prediction.mean]
            if self.process_noise == "observations_and_predictions":
                pair = [z, prediction.mean]
            records = past.remember(records, torch.cat(pair, dim=1))
        return carry._replace(belief=belief, records=records), Step(prediction, belief, r, q)

    def input_noise(self, inputs: Tensor) -> Tensor:
        """Return what the inputs (…, F) say of the observation noise, (…, m); ones for nothing."""
        if self.observation_network is None or self.observation_noise == "state":
            return inputs.new_ones(*inputs.shape[:-1], self.latent_dim)
        return self.observation_network(inputs)

    def _step_by_step(self, latents: Tensor, inputs: Tensor, mask: Tensor | None) -> Forecast:
        """Filter where the noise of a step depends on the results of earlier steps."""
        samples, steps, dim = latents.shape
        known = None if mask is None else (mask if mask.ndim == 3 else mask[..., None])
        # Noise of the inputs alone is computed for all steps at once.
        carry, r_of_inputs = self.start(samples), self.input_noise(inputs)
        found: list[tuple[Tensor, ...]] = []
        for t in range(steps):
            seen = None if known is None else known[:, t].expand(samples, dim)
            carry, step = self.advance(carry, latents[:, t], r_of_inputs[:, t], seen)
            found.append((*_parts(step.prediction), *_parts(step.belief), *step[2:]))
        stacked = [torch.stack(values, dim=1) for values in zip(*found, strict=True)]
        predicted_mean, predicted_factor, states, state_factor, r, q = stacked
        predictions = Gaussian(predicted_mean, predicted_factor)
        return Forecast(latents, predictions, states, state_factor, r, q)

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        return (
            f"latent_dim={self.latent_dim}, state_dim={self.state_dim}, "
            f"observation_noise={self.observation_noise!r}, process_noise={self.process_noise!r}, "
            f"max_radius={self.max_radius}"
        )


def _parts(gaussian: Gaussian) -> tuple[Tensor, Tensor]:
    return gaussian.mean, gaussian.factor


def _spectral_radius(matrix: Tensor) -> Tensor:
    # On the CPU: the matrix is small, and eigenvalues on a GPU take longer than the transfer.
    finite = matrix.cpu().isfinite()
    if not finite.all():  # LAPACK may end the process, or never end
        bad = int((~finite).sum())
        raise ValueError(
            f"predictor.matrix: expected a finite transition, got {bad} of {matrix.numel()} values "
            "that are not; lower optimizer.lr or optimizer.multipliers.filter"
        )
    return torch.linalg.eigvals(matrix.cpu()).abs().max().to(matrix.device)


def _as_variances(noise: object) -> Tensor:
    """Return variances with the axes of samples and time."""
    assert isinstance(noise, Tensor)
    return noise if noise.ndim == 3 else noise.reshape(1, 1, -1)
