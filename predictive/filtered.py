"""Latents and states of whole sequences, and their bins as rows."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from predictive.data.module import as_batch
from predictive.data.sequences import Sequences
from predictive.filtering import Gaussian, kalman_smoother
from predictive.method import PredictiveMethod
from predictive.predictors import KalmanPredictor

# Values of a covariance held at a time, over sequences, bins and state dimensions.
_MOST_VALUES = 50_000_000


@dataclass(frozen=True, eq=False)
class Filtered:
    """Latents, predictions and states of sequences, on the CPU, detached.

    Args:
        sequences: the inputs.
        latents: f(x), (N, T, m).
        predicted_mean: of z_t given z_<t, (N, T, m).
        predicted_variance: the same, with the observation noise.
        states: (N, T, n).
        state_factor: Cholesky factors of the states' covariances, (N or 1, T, n, n), or None.
        observation_noise: variances, (N or 1, T or 1, m), or None.
    """

    sequences: Sequences
    latents: Tensor
    predicted_mean: Tensor
    predicted_variance: Tensor
    states: Tensor
    state_factor: Tensor | None
    observation_noise: Tensor | None

    @property
    def known(self) -> Tensor:
        """True where there is a bin, (N, T)."""
        return self.sequences.mask

    def rows(self, values: Tensor) -> Tensor:
        """Return values (N or 1, T or 1, …) of the bins that exist as rows (M, …)."""
        samples, steps = self.known.shape
        return values.expand(samples, steps, *values.shape[2:])[self.known]

    def groups(self) -> Tensor:
        """Return the number of its sequence for each row, (M,)."""
        samples, steps = self.known.shape
        return torch.arange(samples)[:, None].expand(samples, steps)[self.known]

    def spread(self, rows: Tensor) -> Tensor:
        """Return rows (M, k) as sequences (N, T, k), NaN where there is no bin."""
        laid = torch.full((*self.known.shape, rows.shape[1]), torch.nan, dtype=rows.dtype)
        laid[self.known] = rows
        return laid


_FIELDS = [one.name for one in fields(Filtered)[1:]]


@torch.no_grad()
def filter_sequences(
    method: PredictiveMethod, sequences: Sequences, device: torch.device
) -> Filtered:
    """Run a method over whole sequences, in batches.

    Args:
        method: left in evaluation mode, on the device.
        sequences: to filter.
        device: what to compute on.
    """
    method.eval().to(device)
    steps, dim = sequences.inputs.shape[1], method.predictor.state_dim
    at_once = max(1, min(256, _MOST_VALUES // (steps * dim**2)))
    parts: dict[str, list[Tensor]] = {name: [] for name in _FIELDS}
    sizes = []
    for start in range(0, len(sequences), at_once):
        batch = as_batch(sequences.select(slice(start, start + at_once)))
        moved = batch._replace(inputs=batch.inputs.to(device), known=batch.known.to(device))
        forecast = method.forecast(moved)
        sizes.append(len(batch.inputs))
        found = (
            forecast.latents,
            forecast.predictions.mean,
            forecast.predictions.variance.expand_as(forecast.latents),
            forecast.states,
            forecast.state_factor,
            forecast.observation_noise,
        )
        for values, value in zip(parts.values(), found, strict=True):
            values += [] if value is None else [value.cpu()]
    merged: dict[str, Any] = {name: _together(values, sizes) for name, values in parts.items()}
    return Filtered(sequences, **merged)


@torch.no_grad()
def smooth_sequences(method: PredictiveMethod, filtered: Filtered) -> list[Gaussian]:
    """Return the states of each sequence given all of its bins, over (1, T_i, n), on the CPU.

    Args:
        method: whose predictor is a Kalman filter with noise that depends on the inputs at most.
        filtered: the sequences, filtered by it.

    Raises:
        ValueError: in one line: another predictor, or noise that depends on the states.
    """
    predictor = method.cpu().predictor
    if not isinstance(predictor, KalmanPredictor):
        raise ValueError("method: expected kalman, whose states can be smoothed, got another")
    found = []
    for number, length in enumerate(filtered.sequences.lengths.tolist()):
        batch = as_batch(filtered.sequences.select([number]))
        latents = filtered.latents[number : number + 1, :length]
        mask = batch.known[:, :length] if batch.missing else None
        posterior = kalman_smoother(predictor.model(batch.inputs[:, :length]), latents, mask)
        found.append(posterior.states)
    return found


def with_lost_features(method: PredictiveMethod, sequences: Sequences) -> tuple[Sequences, Tensor]:
    """Let features that are NaN in all bins of a sequence count as their mean over the training.

    An encoder needs every feature, and a bin that lacks one counts as missing. A feature that was
    lost for a whole sequence would leave nothing of it.

    Returns:
        The sequences, and which features were lost, (N, F).
    """
    lost = (~torch.isfinite(sequences.inputs) | ~sequences.mask[..., None]).all(dim=1)
    lost &= ~lost.all(dim=1, keepdim=True)
    if not bool(lost.any()):
        return sequences, lost
    filled = lost[:, None] & sequences.mask[..., None]
    inputs = torch.where(filled, method.encoder.neutral.cpu(), sequences.inputs)
    return replace(sequences, inputs=inputs), lost


def _together(parts: list[Tensor], sizes: list[int]) -> Tensor | None:
    """Join parts of the given sizes; a value shared by all samples keeps one row."""
    if not parts:
        return None
    if all(len(part) == 1 < size for part, size in zip(parts, sizes, strict=True)):
        return parts[0]
    pairs = zip(parts, sizes, strict=True)
    return torch.cat([part.expand(size, *part.shape[1:]) for part, size in pairs])
