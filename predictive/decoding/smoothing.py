"""Causal smoothing of time bins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from predictive.averages import causal_mean
from predictive.decoding.bins import wide
from solo_ldm.config.arguments import Positive, checked


@checked
def smooth_causally(
    counts: Tensor, mask: Tensor, step_seconds: Positive, time_constant_seconds: Positive
) -> Tensor:
    """Smooth each sequence with a causal exponential kernel.

    y_t = Σ_{s≤t} a^{t−s} x_s / Σ_{s≤t} a^{t−s},  a = exp(−step / time constant),

    sums over the unmasked bins of the sequence; see `causal_mean`.

    Args:
        counts: x, (N, T, F).
        mask: true where there is a bin, (N, T).
        step_seconds: duration of a bin.
        time_constant_seconds: time in which a bin's weight falls to 1/e.

    Returns:
        (N, T, F), float64; it stays where the mask is false, and is zero before the first bin.

    Raises:
        ValueError: shapes that do not fit; a duration that is not positive.
    """
    if counts.ndim != 3 or mask.shape != counts.shape[:2]:
        raise ValueError(
            "counts and mask: expected (sequences, bins, features) and (sequences, bins), got "
            f"{tuple(counts.shape)} and {tuple(mask.shape)}"
        )
    kept = mask.to(device="cpu", dtype=torch.bool)
    decay = math.exp(-step_seconds / time_constant_seconds)
    return causal_mean(wide(counts), kept, decay)
