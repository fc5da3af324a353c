"""Fluorescence of simulated place cells, as a microscope sees it."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from scipy.signal import lfilter

from predictive.data.sequences import Sequences, TimeSeriesData
from predictive.data.simulated.place_cells import place_cells
from predictive.data.simulated.simulation import Seed, random_streams
from solo_ldm.config.arguments import Bounds, Count, NonNegative, Positive, Share, checked


@checked
def calcium(
    *,
    num_cells: Count = 60,
    track_metres: Positive = 1.6,
    field_width_metres: Positive = 0.15,
    peak_rate_hz: NonNegative = 12.0,
    background_hz: NonNegative = 0.5,
    directional: Share = 0.6,
    running_speed: Positive = 0.4,
    pause_seconds: NonNegative = 2.0,
    duration_seconds: Positive = 1200.0,
    bin_seconds: Positive = 0.04,
    decay_seconds: Positive = 0.5,
    spike_response: Positive = 0.2,
    response_noise: NonNegative = 0.1,
    lost_frames: Share = 0.01,
    block_seconds: Positive = 20.0,
    folds: Annotated[int, Bounds(2)] = 5,
    fold: Annotated[int, Bounds(0)] = 0,
    seed: Seed = 0,
) -> TimeSeriesData:
    """Simulate dF/F of the cells of `place_cells`, in pauses as well.

    c_t = exp(−Δt / decay) c_{t−1} + n_t,   x_t = response · c_t + N(0, noise²),

    n_t the spikes of a frame, c_0 = 0. Frames are lost at random; all cells are then NaN.

    Args:
        num_cells: as in `place_cells`, like the arguments up to duration_seconds and from
            block_seconds on.
        bin_seconds: Δt, of a frame.
        decay_seconds: time in which the indicator's response falls to 1/e.
        spike_response: dF/F of a spike.
        response_noise: standard deviation of dF/F.
        lost_frames: share of frames that are lost.

    Returns:
        dF/F with num_cells features, float32, and the targets of `place_cells`.

    Raises:
        ValueError: as `place_cells`.
    """
    # The first three streams are those of the cells, the animal and the spikes.
    noise, losses = random_streams(seed, 5)[3:]
    spikes = place_cells(
        num_cells=num_cells,
        track_metres=track_metres,
        field_width_metres=field_width_metres,
        peak_rate_hz=peak_rate_hz,
        background_hz=background_hz,
        directional=directional,
        theta_depth=0.0,
        running_speed=running_speed,
        pause_seconds=pause_seconds,
        duration_seconds=duration_seconds,
        bin_seconds=bin_seconds,
        running_only=False,
        block_seconds=block_seconds,
        folds=folds,
        fold=fold,
        seed=seed,
    )
    parts = (spikes.train, spikes.held_out)
    inputs = [part.inputs.clone() for part in parts]
    pieces = sorted(
        (float(start), which, i)
        for which, part in enumerate(parts)
        for i, start in enumerate(part.start_seconds)
    )
    # Blocks follow one another without a gap: the response to the last spikes goes on.
    remaining = np.zeros((1, num_cells))
    decay = math.exp(-bin_seconds / decay_seconds)
    for _, which, i in pieces:
        length = int(parts[which].lengths[i])
        counts = parts[which].inputs[i, :length].numpy()
        response, remaining = lfilter([1.0], [1.0, -decay], counts, axis=0, zi=remaining)
        seen = spike_response * torch.tensor(response, dtype=torch.float32)
        seen += response_noise * torch.randn(seen.shape, generator=noise)
        seen[torch.rand(length, generator=losses) < lost_frames] = torch.nan
        inputs[which][i, :length] = seen
    train, held_out = (
        Sequences(values, part.lengths, part.targets, part.start_seconds, part.step_seconds)
        for values, part in zip(inputs, parts, strict=True)
    )
    return TimeSeriesData(
        train=train,
        held_out=held_out,
        kind="signals",
        units=spikes.units,
        description=f"dF/F of {spikes.description}",
    )
