"""What targets are decoded from: the latent state, and the observations for comparison."""

from __future__ import annotations

import torch
from omegaconf import DictConfig
from torch import Tensor

from predictive.data.sequences import TimeSeriesData
from predictive.decoding.smoothing import smooth_causally
from predictive.filtered import Filtered

# Names of features that targets are decoded from; the observations are named by the data's kind.
LATENT_STATE, SPIKES, SIGNALS = "latent state", "spikes", "signals"


def features_of(filtered: Filtered, data: TimeSeriesData, cfg: DictConfig) -> dict[str, Tensor]:
    """Return the features that targets are decoded from, rows of bins by name.

    In bins without an observation, the observations' own row is the mean of the others and their
    means over the past go on.
    """
    found = {
        LATENT_STATE: filtered.rows(filtered.states),
        "latents": filtered.rows(filtered.latents),
    }
    # Only data that is divided into folds is compared with the signals themselves.
    if data.kind != SPIKES and not (data.kind == SIGNALS and "folds" in cfg.data):
        return found
    sequences = filtered.sequences
    finite = sequences.inputs.isfinite().all(dim=-1)
    inputs = torch.where(finite[..., None], sequences.inputs, 0.0)

    def of(values: Tensor) -> Tensor:
        # As in the encoder, the square root stabilises the variance of counts.
        return filtered.rows(values.sqrt() if data.kind == SPIKES else values).to(torch.float32)

    found[data.kind] = of(inputs)
    for seconds in cfg.evaluation.smoothing_seconds:
        known = sequences.mask & finite
        smooth = smooth_causally(inputs, known, sequences.step_seconds, seconds)
        found[f"{data.kind}, {seconds:g} s mean"] = of(smooth)
    missing = ~filtered.rows(finite)
    if bool(missing.any()):
        found[data.kind][missing] = found[data.kind][~missing].mean(dim=0)
    return found
