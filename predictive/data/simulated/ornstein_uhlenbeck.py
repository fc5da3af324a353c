"""Independent Ornstein–Uhlenbeck sources, and signals that mix them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from predictive.data.sequences import TimeSeriesData
from predictive.data.simulated.frames import noisy, random_network
from predictive.data.simulated.simulation import Seed, Steps, equal_sequences, random_streams
from solo_ldm.config.arguments import Count, NonNegative, Positive, checked
from solo_ldm.config.memory import check_memory

Mixing = Literal["linear", "random_network"]

# Singular values of a linear mixing run from 1 down to this, so that every seed gives a mixing
# that is oblique but easily inverted.
_SMALLEST_SINGULAR_VALUE = 0.5


@checked
def ornstein_uhlenbeck_process(
    num_sequences: Count,
    num_steps: Count,
    step_seconds: Positive,
    time_constants_seconds: Sequence[Positive],
    variances: Sequence[Positive],
    generator: torch.Generator,
) -> Tensor:
    """Sample independent Ornstein–Uhlenbeck processes at equal steps, exactly.

    s_{t+1} = e^(−Δt/τ) s_t + N(0, v (1 − e^(−2Δt/τ))),  s_1 ~ N(0, v): the stationary process
    with autocovariance v e^(−lag/τ).

    Args:
        num_sequences: N.
        num_steps: T.
        step_seconds: Δt.
        time_constants_seconds: τ of each of the k sources.
        variances: v of each source.
        generator: source of randomness.

    Returns:
        s, (N, T, k), float64.

    Raises:
        ValueError: a setting out of its range, or lists of different lengths.

    Source:
        Gillespie, Phys. Rev. E 54, 2084 (1996).
    """
    if len(time_constants_seconds) != len(variances) or not len(variances):
        raise ValueError(
            "variances: expected one number for each of the time_constants_seconds, got "
            f"{len(variances)} for {len(time_constants_seconds)}"
        )
    tau = torch.tensor(list(time_constants_seconds), dtype=torch.float64)
    deviation = torch.tensor(list(variances), dtype=torch.float64).sqrt()
    decay = torch.exp(-step_seconds / tau)
    shape = (num_steps, num_sequences, len(tau))
    path = torch.randn(shape, generator=generator, dtype=torch.float64) * deviation
    path[1:] *= torch.sqrt(-torch.expm1(-2 * step_seconds / tau))
    for before, after in pairwise(path):
        after.addcmul_(decay, before)
    return path.transpose(0, 1).contiguous()


@checked
def ornstein_uhlenbeck(
    *,
    num_sources: Count = 2,
    time_constants_seconds: Sequence[Positive] = (1.0, 0.2),
    variances: Sequence[Positive] = (1.0, 1.0),
    num_train: Count = 256,
    num_held_out: Count = 64,
    num_steps: Steps = 200,
    step_seconds: Positive = 0.05,
    mixing: Mixing = "linear",
    num_channels: Count = 10,
    observation_noise: NonNegative = 0.01,
    seed: Seed = 0,
) -> TimeSeriesData:
    """Simulate signals that mix independent Ornstein–Uhlenbeck sources.

    x_t = g(s_t) + N(0, observation_noise), s as in `ornstein_uhlenbeck_process`. g is a matrix
    with random singular vectors, singular values evenly from 1 to ½ and then scaled so that
    a channel has on average the variance of a source ("linear"), or `frames.random_network`.
    The target is sources (num_sources).

    Args:
        num_sources: k.
        time_constants_seconds: of each source.
        variances: of each source.
        num_train: sequences to train on.
        num_held_out: sequences to hold out, drawn apart but mixed alike.
        num_steps: samples of a sequence.
        step_seconds: time between samples.
        mixing: linear or random_network.
        num_channels: signals, at least as many as sources.
        observation_noise: variance of a channel's noise.
        seed: the same seed gives the same data.

    Returns:
        Signals with num_channels features, float32.

    Raises:
        ValueError: a setting out of its range, or lists of a length other than num_sources.
    """
    if num_channels < num_sources:
        raise ValueError(
            f"data.num_channels: expected a whole number from {num_sources}, the number of "
            f"sources, got {num_channels}"
        )
    if not len(time_constants_seconds) == len(variances) == num_sources:
        raise ValueError(
            f"time_constants_seconds, variances: expected one number for each of {num_sources} "
            f"sources, got {len(time_constants_seconds)} and {len(variances)}"
        )
    numbers = (num_train + num_held_out) * num_steps * num_channels
    remedy = "lower it, num_held_out, num_steps or num_channels"
    check_memory("data.num_train", numbers, remedy=remedy)
    weights, *streams = random_streams(seed, 3)
    if mixing == "linear":
        mix = _linear_mixing(num_sources, num_channels, weights)
    else:
        mix = random_network(num_sources, num_channels, weights)
    parts = []
    for count, generator in zip((num_train, num_held_out), streams, strict=True):
        sources = ornstein_uhlenbeck_process(
            count, num_steps, step_seconds, time_constants_seconds, variances, generator
        )
        signals = noisy(mix, sources, observation_noise, generator)
        parts.append(equal_sequences(signals, {"sources": sources}, step_seconds))
    return TimeSeriesData(
        train=parts[0],
        held_out=parts[1],
        kind="signals",
        units={"sources": ""},
        description=(
            f"{num_sources} Ornstein–Uhlenbeck sources in {num_channels} channels ({mixing}), "
            f"{num_train} + {num_held_out} sequences of {num_steps} steps"
        ),
    )


def _linear_mixing(
    num_sources: int, num_channels: int, generator: torch.Generator
) -> Callable[[Tensor], Tensor]:
    matrix = torch.randn(num_channels, num_sources, generator=generator, dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    singular = torch.linspace(1.0, _SMALLEST_SINGULAR_VALUE, num_sources, dtype=torch.float64)
    singular *= math.sqrt(num_channels) / singular.norm()
    matrix = ((left * singular) @ right).to(torch.float32)
    return lambda sources: sources.to(torch.float32) @ matrix.T
