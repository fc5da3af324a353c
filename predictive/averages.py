"""Means over the past with exponential weights."""

from __future__ import annotations

import torch
from torch import Tensor

# A weight below the rounding error of its numbers ends a sum over the past.
_NEGLIGIBLE = {torch.float64: 1e-17}
_NEGLIGIBLE_IN_SINGLE = 1e-8


def causal_mean(values: Tensor, known: Tensor, decay: float) -> Tensor:
    """Return the weighted mean of the known values up to each step.

    y_t = Σ_{s≤t} a^{t−s} x_s / Σ_{s≤t} a^{t−s} over known steps s, so that y is a weighted mean
    also at the start. Sums over 1, 2, 4 … steps are built from one another: no loop over steps, and
    later steps do not enter, not even by rounding.

    Args:
        values: x, (N, T, F).
        known: true where there is a value, (N, T); others may be NaN.
        decay: a, from 0 to below 1.

    Returns:
        (N, T, F), zero before the first known step.
    """
    kept = known[:, :, None]
    # The weights are summed as one more feature.
    sums = torch.cat([torch.where(kept, values, 0.0), kept.to(values.dtype)], dim=2)
    smallest = _NEGLIGIBLE.get(values.dtype, _NEGLIGIBLE_IN_SINGLE)
    span, weight = 1, decay
    while span < sums.shape[1] and weight >= smallest:
        sums = torch.cat([sums[:, :span], sums[:, span:] + weight * sums[:, :-span]], dim=1)
        span, weight = 2 * span, weight**2
    total = sums[:, :, -1:]
    return torch.where(total > 0.0, sums[:, :, :-1] / total, 0.0)
