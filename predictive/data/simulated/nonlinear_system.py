"""Frames of noisy nonlinear systems on the plane: the identification task."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from predictive.data.sequences import TimeSeriesData
from predictive.data.simulated.frames import Rendering, in_frame, noisy, renderer
from predictive.data.simulated.simulation import Seed, Steps, equal_sequences, random_streams
from solo_ldm.config.arguments import Count, NonNegative, Positive, checked
from solo_ldm.config.memory import check_memory

# a, k and θ0 of DESIGN section 5.
_AMPLITUDE = 0.5
_FREQUENCY = 4.0
_ANGLE = -3.0 * math.pi / 8.0


def velocity(position: Tensor) -> Tensor:
    """Return the time derivative of the system: it turns once in 2π s and wobbles four times.

    With polar r and θ, a = 0.5, k = 4, θ0 = −3π/8:
    ẋ = a k cos θ cos(k (θ − θ0)) − r sin θ,  ẏ = a k sin θ cos(k (θ − θ0)) + r cos θ.

    Args:
        position: (…, 2).

    Returns:
        (…, 2), per second.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517.
    """
    x, y = position.unbind(dim=-1)
    angle = torch.atan2(y, x)
    outward = _AMPLITUDE * _FREQUENCY * torch.cos(_FREQUENCY * (angle - _ANGLE))
    return torch.stack([outward * angle.cos() - y, outward * angle.sin() + x], dim=-1)


def runge_kutta_step(position: Tensor, step_seconds: float) -> Tensor:
    """Return the positions (…, 2) one classical fourth-order Runge–Kutta step later."""
    first = velocity(position)
    second = velocity(position + step_seconds / 2 * first)
    third = velocity(position + step_seconds / 2 * second)
    fourth = velocity(position + step_seconds * third)
    return position + step_seconds / 6 * (first + 2 * second + 2 * third + fourth)


@checked
def nonlinear_system(
    *,
    num_train: Count = 10000,
    num_held_out: Count = 256,
    num_steps: Steps = 20,
    step_seconds: Positive = 0.3,
    process_noise: NonNegative = 0.1,
    observation_noise: NonNegative = 0.0,
    rendering: Rendering = "swirl",
    frame_size: Steps = 10,
    num_systems: Count = 1,
    seed: Seed = 0,
) -> TimeSeriesData:
    """Simulate videos of a dot that follows a nonlinear system, or of several systems at once.

    p_{t+1} = Runge–Kutta step of `velocity` from p_t + N(0, process_noise), p_1 uniform on the
    unit circle; several systems are independent, and one random network sees all of them. Frames
    are rendered as in `frames.renderer`, with pixel noise
    N(0, observation_noise). The target is position (2 · num_systems), NaN where the dot has left
    the frame, which then no longer shows where it is.

    Args:
        num_train: sequences to train on.
        num_held_out: sequences to hold out, drawn apart.
        num_steps: frames of a sequence.
        step_seconds: time between frames, one Runge–Kutta step.
        process_noise: variance of a coordinate and a step.
        observation_noise: variance of a pixel.
        rendering: plain, swirl, half_flip or random_network.
        frame_size: pixels of a side.
        num_systems: more than one needs random_network.
        seed: the same seed gives the same data.

    Returns:
        Videos with frame_size² pixels a frame, float32; 400 MB with the defaults. With several
        systems they are signals of as many channels, of which nothing can be seen.

    Raises:
        ValueError: a setting out of its range.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517, and their code, which holds out 32 sequences.
    """
    if num_systems > 1 and rendering != "random_network":
        raise ValueError(
            f"data.rendering: expected random_network with data.num_systems={num_systems}, as a "
            f"frame has one dot, got {rendering}"
        )
    pixels = (num_train + num_held_out) * num_steps * frame_size**2
    check_memory("data.num_train", pixels, remedy="lower it, num_held_out, num_steps or frame_size")
    weights, *streams = random_streams(seed, 3)
    render = renderer(rendering, frame_size, weights, num_inputs=2 * num_systems)
    parts = []
    for count, generator in zip((num_train, num_held_out), streams, strict=True):
        position = _trajectories(
            count * num_systems, num_steps, step_seconds, process_noise, generator
        )
        # systems side by side: x and y of the first, x and y of the second, …
        position = position.unflatten(0, (count, num_systems)).transpose(1, 2).flatten(-2)
        frames = noisy(render, position, observation_noise, generator)
        if rendering != "random_network":
            seen = in_frame(position, frame_size)[..., None]
            position = torch.where(seen, position, torch.nan)
        parts.append(equal_sequences(frames, {"position": position}, step_seconds))
    names = "nonlinear system" if num_systems == 1 else f"{num_systems} nonlinear systems"
    return TimeSeriesData(
        train=parts[0],
        held_out=parts[1],
        kind="frames" if num_systems == 1 else "signals",
        frame_shape=(1, frame_size, frame_size) if num_systems == 1 else None,
        units={"position": ""},
        description=(
            f"{names} ({rendering}), process noise variance {process_noise:g}, "
            f"{num_train} + {num_held_out} sequences of {num_steps} frames"
        ),
    )


def _trajectories(
    count: int,
    num_steps: int,
    step_seconds: float,
    process_noise: float,
    generator: torch.Generator,
) -> Tensor:
    angle = 2 * math.pi * torch.rand(count, generator=generator, dtype=torch.float64)
    position = torch.stack([angle.cos(), angle.sin()], dim=-1)
    path = [position]
    for _ in range(num_steps - 1):
        noise = torch.randn((count, 2), generator=generator, dtype=torch.float64)
        position = runge_kutta_step(position, step_seconds) + math.sqrt(process_noise) * noise
        path.append(position)
    return torch.stack(path, dim=1)
