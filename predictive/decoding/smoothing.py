"""Smoothing of time bins that never looks ahead."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from predictive.decoding.bins import wide

# A weight below the rounding error of float64 ends a sum over the past.
_NEGLIGIBLE = 1e-17


def smooth_causally(
    counts: Tensor, mask: Tensor, step_seconds: float, time_constant_seconds: float
) -> Tensor:
    """Smooth each sequence with an exponential that only looks back.

    y_t = Σ_{s≤t} a^{t−s} x_s / Σ_{s≤t} a^{t−s},  a = exp(−step / time constant),

    sums over the bins of the sequence that the mask keeps; the denominator makes the start, where
    there is little past, a mean as well. Sums over 1, 2, 4 … bins are built from one another, so
    that there is no loop over bins and the future never enters, not even by rounding.

    Args:
        counts: x, (N, T, F).
        mask: true where there is a bin, (N, T).
        step_seconds: duration of a bin.
        time_constant_seconds: time after which a bin's weight is down to 1/e.

    Returns:
        (N, T, F), float64, zero where the mask is false.

    Raises:
        ValueError: shapes that do not fit; a duration that is not positive.
    """
    if counts.ndim != 3 or mask.shape != counts.shape[:2]:
        raise ValueError(
            f"counts must be (sequences, bins, features) and the mask (sequences, bins), got "
            f"{tuple(counts.shape)} and {tuple(mask.shape)}"
        )
    if not (step_seconds > 0.0 and time_constant_seconds > 0.0):
        raise ValueError(
            f"step_seconds and time_constant_seconds must be above 0, got {step_seconds} and "
            f"{time_constant_seconds}"
        )
    kept = mask.to(device="cpu", dtype=torch.bool)[:, :, None]
    # The weights are summed beside the counts, as one more feature.
    sums = torch.cat([torch.where(kept, wide(counts), 0.0), kept.double()], dim=2)
    span = 1
    while span < sums.shape[1]:
        weight = math.exp(-span * step_seconds / time_constant_seconds)
        if weight < _NEGLIGIBLE:
            break
        sums = torch.cat([sums[:, :span], sums[:, span:] + weight * sums[:, :-span]], dim=1)
        span *= 2
    return torch.where(kept, sums[:, :, :-1] / sums[:, :, -1:], 0.0)
