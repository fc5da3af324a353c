"""Mixtures to separate: of generalised Gaussian sources and of Ornstein–Uhlenbeck processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from scipy.signal import lfilter

from solo_ldm.config.arguments import Bounds, Positive, checked
from solo_ldm.config.memory import check_memory

NumSources = Annotated[int, Bounds(2, limit=1000)]
NumSamples = Annotated[int, Bounds(2)]

# Singular values of a mixing run from 1 down to this, which bounds its condition number.
_SMALLEST_SINGULAR_VALUE = 0.3
_DRAWN = 100

_DEFAULT_SHAPES = (1.0, 8.0, 1.3, 4.0)


@dataclass(frozen=True)
class Problem:
    """Mixtures, and their true sources where these are known.

    Args:
        mixtures: x (T, N), the input of an ICA.
        description: for reports.
        sources: s (T, N), where they are known; of variance one if the mixing is not a rotation.
        mixing: A (N, N) with x = s Aᵀ, where it is known, for sources scaled to variance one.
        truth: the parameters of the sources, a number for each, by name.
        images: true sources as images (N, H, W), where they are images.
        mixed_images: x as images (N, H, W).
        statistics: of images: what x holds, "differences" or "pixels".
        step_seconds: time between samples, where there is time.
    """

    mixtures: np.ndarray
    description: str
    sources: np.ndarray | None = None
    mixing: np.ndarray | None = None
    truth: dict[str, list[float]] = field(default_factory=dict)
    images: np.ndarray | None = None
    mixed_images: np.ndarray | None = None
    statistics: str | None = None
    step_seconds: float | None = None


@checked
def generalised_gaussian(
    num_sources: NumSources = 4,
    num_samples: NumSamples = 10000,
    shapes: Sequence[Positive] | None = None,
    seed: int = 0,
) -> Problem:
    """Mix sources drawn from generalised Gaussian densities of variance one.

    Args:
        num_sources: N.
        num_samples: T.
        shapes: β of each source; 1, 8, 1.3, 4 and again by default. At most one may be Gaussian
            (β = 2) for the sources to be identifiable.
        seed: of the sources and the mixing.

    Raises:
        ValueError: a setting out of its range, or another number of shapes than sources.

    Source:
        |s/α|^β is Gamma(1/β) distributed: Nardon & Pianca, J. Stat. Comput. Simul. 79, 1317 (2009).
    """
    if shapes is None:
        shapes = [_DEFAULT_SHAPES[i % len(_DEFAULT_SHAPES)] for i in range(num_sources)]
    _check_length("generalised_gaussian.shapes", shapes, num_sources)
    _check_samples("generalised_gaussian.num_samples", num_samples, num_sources)
    generator = np.random.default_rng([seed, 0])
    columns = []
    for shape in shapes:
        scale = math.exp(0.5 * (math.lgamma(1 / shape) - math.lgamma(3 / shape)))
        magnitude = generator.gamma(1 / shape, size=num_samples) ** (1 / shape)
        columns.append(scale * magnitude * generator.choice([-1.0, 1.0], size=num_samples))
    sources = np.stack(columns, axis=1)
    matrix = random_mixing(num_sources, seed)
    return Problem(
        mixtures=sources @ matrix.T,
        description=f"{num_sources} generalised Gaussian sources, {num_samples} samples",
        sources=sources,
        mixing=matrix,
        truth={"shape": [float(shape) for shape in shapes]},
    )


@checked
def ornstein_uhlenbeck(
    num_sources: NumSources = 4,
    num_steps: NumSamples = 20000,
    step_seconds: Positive = 0.1,
    time_constants_seconds: Sequence[Positive] | None = None,
    variances: Sequence[Positive] | None = None,
    rotation: bool = False,
    seed: int = 0,
) -> Problem:
    """Mix independent Ornstein–Uhlenbeck processes, sampled exactly at equal steps.

    s_{t+1} = e^(−Δt/τ) s_t + N(0, v (1 − e^(−2Δt/τ))),  s_1 ~ N(0, v)

    Args:
        num_sources: N.
        num_steps: T.
        step_seconds: Δt.
        time_constants_seconds: τ of each source; from 0.2 to 5 by equal factors by default.
        variances: v of each source; from 0.25 to 1 by equal factors by default.
        rotation: mix by a rotation, under which variances are identifiable; else they are not.
        seed: of the sources and the mixing.

    Raises:
        ValueError: a setting out of its range, or lists of another length than num_sources.

    Source:
        Gillespie, Phys. Rev. E 54, 2084 (1996).
    """
    constants, powers = time_constants_seconds, variances
    if constants is None:
        constants = np.geomspace(0.2, 5.0, num_sources).tolist()
    if powers is None:
        powers = np.geomspace(0.25, 1.0, num_sources).tolist()
    _check_length("ornstein_uhlenbeck.time_constants_seconds", constants, num_sources)
    _check_length("ornstein_uhlenbeck.variances", powers, num_sources)
    _check_samples("ornstein_uhlenbeck.num_steps", num_steps, num_sources)
    generator = np.random.default_rng([seed, 0])
    columns = []
    for constant, variance in zip(constants, powers, strict=True):
        noise = generator.normal(scale=math.sqrt(variance), size=num_steps)
        noise[1:] *= math.sqrt(-math.expm1(-2 * step_seconds / constant))
        columns.append(lfilter([1.0], [1.0, -math.exp(-step_seconds / constant)], noise))
    sources = np.stack(columns, axis=1)
    matrix = random_mixing(num_sources, seed, rotation)
    spread = np.sqrt(np.asarray(powers, float))
    how = "a rotation" if rotation else "a random matrix"
    return Problem(
        mixtures=sources @ matrix.T,
        description=f"{num_sources} Ornstein–Uhlenbeck processes, {num_steps} steps of "
        f"{step_seconds:g} s, mixed by {how}",
        sources=sources if rotation else sources / spread,
        mixing=matrix * spread,
        truth={
            "time_constant_seconds": [float(one) for one in constants],
            "variance": [float(one) for one in powers],
        },
        step_seconds=float(step_seconds),
    )


def random_mixing(num_sources: int, seed: int, rotation: bool = False) -> np.ndarray:
    """Return a mixing matrix (N, N) with random singular vectors, or a rotation.

    Of a hundred draws it is the one that mixes most: the largest share of any source in the
    variance of any mixture is smallest.
    """
    generator = np.random.default_rng([seed, 1])
    singular = np.linspace(1.0, 1.0 if rotation else _SMALLEST_SINGULAR_VALUE, num_sources)
    drawn = []
    for _ in range(_DRAWN):
        left, _, right = np.linalg.svd(generator.normal(size=(num_sources, num_sources)))
        drawn.append((left * singular) @ right)
    return min(drawn, key=_largest_share)


def _largest_share(matrix: np.ndarray) -> float:
    square = matrix**2
    return float((square / square.sum(axis=1, keepdims=True)).max())


def _check_samples(key: str, count: int, num_sources: int) -> None:
    if count <= num_sources:
        raise ValueError(f"{key}: expected more than the {num_sources} sources, got {count}")
    check_memory(key, count, num_sources, remedy="lower it", bytes_each=16)


def _check_length(name: str, values: Sequence[float], number: int) -> None:
    if len(values) != number:
        raise ValueError(
            f"{name}: expected one number for each of {number} sources (num_sources), "
            f"got {len(values)}"
        )
