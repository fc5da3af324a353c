"""Causal smoothing of time bins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from predictive.decoding.bins import wide
from solo_ldm.config.arguments import Positive, checked

# A weight below the rounding error of float64 ends a sum over the past.
_NEGLIGIBLE = 1e-17


@checked
def smooth_causally(
    counts: Tensor, mask: Tensor, step_seconds: Positive, time_constant_seconds: Positive
) -> Tensor:
    """Smooth each sequence with a causal exponential kernel.

    y_t = Σ_{s≤t} a^{t−s} x_s / Σ_{s≤t} a^{t−s},  a = exp(−step / time constant),

    sums over the unmasked bins of the sequence, so that y is a weighted mean also at the start.
    Sums over 1, 2, 4 … bins are built from one another: no loop over bins, and later bins do not
    enter, not even by rounding.

    Args:
        counts: x, (N, T, F).
        mask: true where there is a bin, (N, T).
        step_seconds: duration of a bin.
        time_constant_seconds: time in which a bin's weight falls to 1/e.

    Returns:
        (N, T, F), float64, zero where the mask is false.

    Raises:
        ValueError: shapes that do not fit; a duration that is not positive.
    """
    if counts.ndim != 3 or mask.shape != counts.shape[:2]:
        raise ValueError(
            "counts and mask: expected (sequences, bins, features) and (sequences, bins), got "
            f"{tuple(counts.shape)} and {tuple(mask.shape)}"
        )
    kept = mask.to(device="cpu", dtype=torch.bool)[:, :, None]
    # The weights are summed as one more feature.
    sums = torch.cat([torch.where(kept, wide(counts), 0.0), kept.double()], dim=2)
    span = 1
    while span < sums.shape[1]:
        weight = math.exp(-span * step_seconds / time_constant_seconds)
        if weight < _NEGLIGIBLE:
            break
        sums = torch.cat([sums[:, :span], sums[:, span:] + weight * sums[:, :-span]], dim=1)
        span *= 2
    return torch.where(kept, sums[:, :, :-1] / sums[:, :, -1:], 0.0)
