"""Frames of a dot on a figure 8, a circle or a square, with noise of several kinds."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from predictive.data.sequences import TimeSeriesData
from predictive.data.simulated.frames import Rendering, noisy, renderer
from predictive.data.simulated.simulation import Seed, Steps, equal_sequences, random_streams
from solo_ldm.config.arguments import Count, NonNegative, Positive, Share, checked
from solo_ldm.config.memory import check_memory

Motion = Literal["figure8", "circular", "square"]
NoiseKind = Literal["constant", "random", "state"]

# The authors' settings of each motion; their square takes steps of 0.2 s.
_PERIOD_SECONDS = {"figure8": 1.0, "circular": 2.0, "square": 4.0}
_JUMP_RADIANS = math.radians(135.0)
# This share of the mean is taken from the exponential noise level, so that some frames are clean.
_CLEAN_SHARE = 0.3


@checked
def moving_dot(
    *,
    motion: Motion = "figure8",
    num_train: Count = 800,
    num_held_out: Count = 64,
    num_steps: Steps = 100,
    step_seconds: Positive = 0.1,
    period_seconds: Positive | None = None,
    random_phase: bool = True,
    observation_noise: NonNegative = 0.01,
    observation_noise_kind: NoiseKind = "constant",
    process_noise: NonNegative = 0.0,
    jump_rate: Share = 0.0,
    rendering: Rendering = "plain",
    frame_size: Steps = 10,
    seed: Seed = 0,
) -> TimeSeriesData:
    """Simulate videos of a dot that moves on a known path.

    figure8: (cos θ, sin θ cos θ) with θ = π t / T, so that one figure takes 2 T.
    circular: the dot turns by 2π Δt / T, N(0, process_noise) is added to both coordinates and the
    dot put back on the unit circle; with probability jump_rate it then turns by 135°.
    square: from (1, −1) along the sides of [−1, 1]², counter-clockwise, each in T / 4.

    Pixels get noise N(0, v), with v the observation_noise ("constant"),
    max(0, Exponential(observation_noise) − 0.3 observation_noise) of each frame ("random"), or
    observation_noise · |x + 1| / 2 ("state"). Frames are rendered as in `frames.renderer`.

    Targets are position (2), noise_variance (1), on the square also phase_position (2), the point
    (cos, sin) of the same phase on a circle, and on a circle with jumps also jump (1), which is
    1 in the frame after a jump.

    Args:
        motion: figure8, circular or square.
        num_train: sequences to train on.
        num_held_out: sequences to hold out, drawn apart.
        num_steps: frames of a sequence.
        step_seconds: Δt.
        period_seconds: T; None takes 1 s for figure8, 2 s for circular and 4 s for square.
        random_phase: start each sequence anywhere on the path, evenly in time.
        observation_noise: variance of a pixel.
        observation_noise_kind: constant, random or state.
        process_noise: variance of a coordinate and a step; circular motion alone.
        jump_rate: probability of a jump in a step; circular motion alone.
        rendering: plain, swirl, half_flip or random_network.
        frame_size: pixels of a side.
        seed: the same seed gives the same data.

    Returns:
        Videos with frame_size² pixels a frame, float32.

    Raises:
        ValueError: a setting out of its range, or one that the motion does not have.

    Source:
        The authors' code of Mikulasch & Zenke, arXiv 2605.03517; the random phase is ours.
    """
    if period_seconds is None:
        period_seconds = _PERIOD_SECONDS[motion]
    for name, value in (("process_noise", process_noise), ("jump_rate", jump_rate)):
        if value > 0 and motion != "circular":
            raise ValueError(f"{name}: expected 0 for motion={motion}, got {value}; use circular")
    pixels = (num_train + num_held_out) * num_steps * frame_size**2
    check_memory("data.num_train", pixels, remedy="lower it, num_held_out, num_steps or frame_size")
    weights, *streams = random_streams(seed, 3)
    render = renderer(rendering, frame_size, weights)
    periods = torch.arange(num_steps, dtype=torch.float64) * (step_seconds / period_seconds)
    parts = []
    for count, generator in zip((num_train, num_held_out), streams, strict=True):
        phase = torch.zeros(count, 1, dtype=torch.float64)
        if random_phase:
            phase = torch.rand(phase.shape, generator=generator, dtype=torch.float64)
        if motion == "figure8":
            targets = {"position": _figure8(periods / 2 + phase)}
        elif motion == "square":
            phases = periods + phase
            targets = {"position": _square(phases), "phase_position": _circle(2 * math.pi * phases)}
        else:
            turn = 2 * math.pi * step_seconds / period_seconds
            targets = _circular(phase, num_steps, turn, process_noise, jump_rate, generator)
        variance = _noise_variance(
            targets["position"], observation_noise, observation_noise_kind, generator
        )
        frames = noisy(render, targets["position"], variance, generator)
        targets["noise_variance"] = variance
        parts.append(equal_sequences(frames, targets, step_seconds))
    return TimeSeriesData(
        train=parts[0],
        held_out=parts[1],
        kind="frames",
        frame_shape=(1, frame_size, frame_size),
        units=dict.fromkeys(parts[0].targets, ""),
        description=(
            f"moving dot, {motion} ({rendering}), pixel noise variance {observation_noise:g} "
            f"({observation_noise_kind}), {num_train} + {num_held_out} sequences of {num_steps} "
            f"frames"
        ),
    )


def _circle(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def _figure8(figures: Tensor) -> Tensor:
    angle = 2 * math.pi * figures
    return torch.stack([angle.cos(), angle.sin() * angle.cos()], dim=-1)


def _square(rounds: Tensor) -> Tensor:
    sides = 4 * rounds
    side = sides.floor().long().remainder(4)
    along = 2 * sides.remainder(1.0) - 1
    corner = torch.ones_like(along)
    x = torch.stack([corner, -along, -corner, along], dim=-1)
    y = torch.stack([along, corner, -along, -corner], dim=-1)
    pick = side[..., None]
    return torch.cat([x.gather(-1, pick), y.gather(-1, pick)], dim=-1)


def _circular(
    phase: Tensor,
    num_steps: int,
    turn: float,
    process_noise: float,
    jump_rate: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    # By symmetry, noise and projection onto the circle act alike at every angle. The angle is
    # therefore a sum of independent steps, each the angle of (1, 0) + noise.
    count = phase.shape[0]
    shape = (count, num_steps - 1)
    noise = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
    outward, sideward = noise * math.sqrt(process_noise)
    step = turn + torch.atan2(sideward, 1 + outward)
    jump = torch.rand(shape, generator=generator, dtype=torch.float64) < jump_rate
    step = torch.cat([2 * math.pi * phase, step + jump * _JUMP_RADIANS], dim=1)
    targets = {"position": _circle(step.cumsum(dim=1))}
    if jump_rate > 0:
        targets["jump"] = torch.nn.functional.pad(jump.to(torch.float64), (1, 0))[..., None]
    return targets


def _noise_variance(
    position: Tensor, level: float, kind: NoiseKind, generator: torch.Generator
) -> Tensor:
    if kind == "state":
        return level * (position[..., :1] + 1).abs() / 2
    constant = torch.full_like(position[..., :1], level)
    if kind == "constant" or level == 0:
        return constant
    drawn = torch.empty_like(constant).exponential_(1.0, generator=generator)
    return level * (drawn - _CLEAN_SHARE).clamp(min=0)
