"""Observations of simulated data sets: frames of a dot, random networks, and noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from predictive.data.simulated.simulation import Steps
from solo_ldm.config.arguments import Positive, checked
from solo_ldm.config.memory import check_memory

Rendering = Literal["plain", "swirl", "half_flip", "random_network"]

# Frames show positions from −3 to 3, and the dot is a Gaussian of 1 pixel: DESIGN section 5.
_FIELD_OF_VIEW = 6.0
_BLOB_PIXELS = 1.0
_SWIRL_STRENGTH = 10.0
_SWIRL_RADIUS = 200.0
# Units of a hidden layer of the random network, the authors' number.
_HIDDEN = 5
# Values rendered at once, which bounds the memory beside the frames themselves.
_CHUNK_VALUES = 2**21


@checked
def renderer(
    rendering: Rendering, frame_size: Steps, generator: torch.Generator, num_inputs: int = 2
) -> Callable[[Tensor], Tensor]:
    """Return the function from positions to frames without noise.

    "plain": exp(−((i − u)² + (j − v)²) / 2) at row i and column j, with
    (u, v) = clamp((p + 3) · size / 6, 0, size − 1).
    "swirl": the same, swirled with strength 10 and radius 200.
    "half_flip": y changes its sign where x > 0: the frame jumps where the path does not.
    "random_network": `random_network` of the position, one output a pixel.

    Args:
        rendering: one of the above.
        frame_size: pixels of a side, from 2.
        generator: source of the random network's weights.
        num_inputs: k, that the random network sees; the others see positions on the plane.

    Returns:
        Positions (…, k) -> frames (…, frame_size²), float32, row after row.

    Raises:
        ValueError: a setting out of its range.

    Source:
        The authors' code of Mikulasch & Zenke, arXiv 2605.03517.
    """
    if rendering == "random_network":
        return random_network(num_inputs, frame_size**2, generator)
    if rendering == "swirl":
        matrix = swirl_matrix(frame_size).to(torch.float32).T.contiguous()
        return lambda positions: _blobs(positions, frame_size) @ matrix
    if rendering == "half_flip":
        return lambda positions: _blobs(_half_flipped(positions), frame_size)
    return lambda positions: _blobs(positions, frame_size)


def noisy(
    observe: Callable[[Tensor], Tensor],
    states: Tensor,
    variance: Tensor | float,
    generator: torch.Generator,
) -> Tensor:
    """Observe states and add noise, x_t = g(s_t) + N(0, v_t), in chunks of sequences.

    Args:
        observe: g, from (n, T, k) to (n, T, F), float32.
        states: s, (N, T, k).
        variance: v, a number or (N, T, 1).
        generator: source of the noise; not used when all variances are zero.

    Returns:
        (N, T, F), float32, allocated once.
    """
    num_sequences, num_steps = states.shape[:2]
    deviation = torch.as_tensor(variance, dtype=torch.float32).sqrt()
    is_noisy = bool((deviation > 0).any())
    deviation = deviation.expand(num_sequences, num_steps, 1)
    num_features = observe(states[:1, :1]).shape[-1]
    observed = torch.empty(num_sequences, num_steps, num_features)
    size = max(1, _CHUNK_VALUES // (num_steps * num_features))
    for start in range(0, num_sequences, size):
        part = slice(start, start + size)
        chunk = observe(states[part])
        if is_noisy:
            noise = torch.randn(chunk.shape, generator=generator)
            chunk = torch.addcmul(chunk, deviation[part], noise)
        observed[part] = chunk
    return observed


@checked
def swirl_matrix(
    size: Steps, strength: float = _SWIRL_STRENGTH, radius: Positive = _SWIRL_RADIUS
) -> Tensor:
    """Return the matrix that swirls a square frame; a swirl is linear in the pixels.

    A pixel at distance ρ and angle θ from the centre (size / 2, size / 2) takes its value from
    distance ρ and angle θ + strength · e^(−ρ / r), with r = ln(2) · radius / 5, between four pixels
    linearly. Beyond the border the frame is mirrored at its outermost pixels.

    Args:
        size: pixels of a side, from 2.
        strength: radians by which the centre is turned.
        radius: pixels within which the frame is turned.

    Returns:
        (size², size²), float64; each row sums to one.

    Raises:
        ValueError: a size below 2 or a radius that is not positive.

    Source:
        The equation of scikit-image's example "Swirl", whose `transform.swirl` this equals with
        its defaults of order 1 and reflection.
    """
    check_memory("data.frame_size", size**4, remedy="lower it", bytes_each=16)
    pixels = torch.arange(size, dtype=torch.float64)
    centre = size / 2
    down, right = (a - centre for a in torch.meshgrid(pixels, pixels, indexing="ij"))
    distance = torch.hypot(down, right)
    reach = math.log(2.0) * radius / 5.0
    angle = torch.atan2(down, right) + strength * torch.exp(-distance / reach)
    source = torch.stack([centre + distance * angle.sin(), centre + distance * angle.cos()])
    units = torch.eye(size**2, dtype=torch.float64).reshape(-1, size, size).numpy()
    at = source.flatten(1).numpy()
    columns = [map_coordinates(unit, at, order=1, mode="mirror") for unit in units]
    return torch.from_numpy(np.stack(columns, axis=1))


def random_network(
    num_inputs: int, num_outputs: int, generator: torch.Generator
) -> Callable[[Tensor], Tensor]:
    """Return a fixed random network k–h–h–h–h–F, invertible on its image.

    x ← LeakyReLU(W x + b) four times with orthogonal W, then V x; h = max(5, k) units. Biases and
    V are uniform in ±1/√fan-in, as torch's linear layers start.

    Args:
        num_inputs: k.
        num_outputs: F.
        generator: source of the weights.

    Returns:
        Inputs (…, k) -> outputs (…, F), float32.

    Source:
        The authors' code of Mikulasch & Zenke, arXiv 2605.03517, which has k = 2 and h = 5.
    """
    width = max(_HIDDEN, num_inputs)

    def uniform(fan_in: int, *shape: int) -> Tensor:
        bound = 1.0 / math.sqrt(fan_in)
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)

    hidden = []
    for fan_in in (num_inputs, width, width, width):
        weight = torch.nn.init.orthogonal_(torch.empty(width, fan_in), generator=generator)
        hidden.append((weight, uniform(fan_in, width)))
    output = uniform(width, num_outputs, width)

    def network(inputs: Tensor) -> Tensor:
        x = inputs.to(torch.float32)
        for weight, bias in hidden:
            x = torch.nn.functional.leaky_relu(torch.nn.functional.linear(x, weight, bias))
        return torch.nn.functional.linear(x, output)

    return network


def in_frame(positions: Tensor, frame_size: int) -> Tensor:
    """Return whether positions (…, 2) are inside the frame rather than drawn at its edge."""
    pixel = _pixels(positions, frame_size)
    return ((pixel >= 0) & (pixel <= frame_size - 1)).all(dim=-1)


def _pixels(positions: Tensor, size: int) -> Tensor:
    return (positions.to(torch.float32) + _FIELD_OF_VIEW / 2) * size / _FIELD_OF_VIEW


def _blobs(positions: Tensor, size: int) -> Tensor:
    # The Gaussian is a product of one over rows and one over columns.
    pixel = _pixels(positions, size).clamp(0, size - 1)
    apart = torch.arange(size) - pixel[..., None]
    rows, columns = torch.exp(-apart.square() / (2 * _BLOB_PIXELS**2)).unbind(dim=-2)
    return (rows[..., :, None] * columns[..., None, :]).flatten(-2)


def _half_flipped(positions: Tensor) -> Tensor:
    x, y = positions.unbind(dim=-1)
    return torch.stack([x, torch.where(x > 0, -y, y)], dim=-1)
