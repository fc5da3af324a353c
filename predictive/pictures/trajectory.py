"""The latents of the longest of some filtered sequences, over time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from predictive.filtered import Filtered
from predictive.pictures.latents import latent_rows
from solo_ldm.plotting.page import Rows


def trajectory(held_out: Filtered) -> Callable[..., Rows]:
    """Return the picture of the longest sequence: latents, their predictions, and the state."""
    which = int(held_out.sequences.lengths.argmax())
    length = int(held_out.sequences.lengths[which])
    filtered_mean = filtered_variance = None
    if held_out.state_factor is not None:
        shown = min(held_out.latents.shape[2], held_out.states.shape[2])
        factor = held_out.state_factor
        factor = factor[which if len(factor) > 1 else 0, :length]
        filtered_mean = held_out.states[which, :length, :shown]
        filtered_variance = factor.square().sum(dim=-1)[:, :shown]
    dims = slice(None) if filtered_mean is None else slice(filtered_mean.shape[1])
    return partial(
        latent_rows,
        held_out.sequences.seconds[which, :length],
        held_out.latents[which, :length, dims],
        held_out.predicted_mean[which, :length, dims],
        held_out.predicted_variance[which, :length, dims],
        filtered_mean,
        filtered_variance,
    )
