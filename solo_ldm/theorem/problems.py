"""Three sources in time, and their nonlinear observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

NUM_SOURCES, NUM_OBSERVED = 3, 6

# Conditional means: the slope, the slope of a source that depends on itself alone, and a rotation
# (60° about the diagonal) by which every source depends on all: one without noise is still driven.
_GAIN, _GAIN_ALONE = 1.0, 2.0
_ROTATION = ((2 / 3, -1 / 3, 2 / 3), (2 / 3, 2 / 3, -1 / 3), (-1 / 3, 2 / 3, 2 / 3))

# Of a bimodal residual: the distance of either mode from zero. The modes are Gaussian, with the
# variance that makes the total variance one.
_MODE = 0.95

# u(s2) = amplitude · cos(frequency · s2) of the shear, and radians per unit of radius of the swirl.
_SHEAR_AMPLITUDE, _SHEAR_FREQUENCY = 1.2, 2.0
_SWIRL = 0.5

# Steps until the process is stationary: it is bounded by tanh, and mixes fast.
_BURN_IN = 40


Residuals = Literal["gaussian", "bimodal"]


@dataclass(frozen=True)
class Case:
    """What a case changes about the sources; the rest depends on the seed alone.

    Args:
        title: for reports.
        recovers: whether the theorem says that the sources are identified.
        residuals: their distribution, of variance one and mean zero.
        noisy: which of the three sources have residuals.
        predicted: which have varying conditional means; None for all, in one rotated system.
        alternatives: wrong latents to compare the loss of, names in `alternatives.ALTERNATIVES`.
        affected: indexes of the sources that these change, from 0.
    """

    title: str
    recovers: bool
    residuals: Residuals = "gaussian"
    noisy: tuple[float, float, float] = (1.0, 1.0, 1.0)
    predicted: tuple[float, float, float] | None = None
    alternatives: tuple[str, ...] = ()
    affected: tuple[int, ...] = (0, 1, 2)


CASES: dict[str, Case] = {
    "holds": Case("all assumptions hold", True, alternatives=("warp", "shear", "swirl")),
    "non_gaussian": Case(
        "residuals are bimodal", False, residuals="bimodal", alternatives=("warp",)
    ),
    "singular": Case(
        "source 2 has no noise",
        False,
        noisy=(1.0, 0.0, 1.0),
        alternatives=("shear",),
        affected=(0,),
    ),
    "blind": Case(
        "sources 1 and 2 are not predicted",
        False,
        predicted=(0.0, 0.0, 1.0),
        alternatives=("swirl",),
        affected=(0, 1),
    ),
}


def shear(sources: Tensor, sign: float = 1.0) -> Tensor:
    """Return (s1 ± u(s2), s2, s3), which preserves volume; its inverse has the other sign."""
    first, second, third = sources.unbind(dim=-1)
    moved = first + sign * _SHEAR_AMPLITUDE * torch.cos(_SHEAR_FREQUENCY * second)
    return torch.stack([moved, second, third], dim=-1)


def swirl(sources: Tensor) -> Tensor:
    """Rotate (s1, s2) by an angle that grows with their radius.

    It preserves volume, and the standard Gaussian distribution of (s1, s2).
    """
    first, second, third = sources.unbind(dim=-1)
    angle = _SWIRL * torch.hypot(first, second)
    cosine, sine = angle.cos(), angle.sin()
    turned = (cosine * first - sine * second, sine * first + cosine * second, third)
    return torch.stack(turned, dim=-1)


@dataclass(frozen=True)
class Problem:
    """The sources of a case and their mixing; the mixing depends on the seed alone.

    s' = m(s) + ε with unit variances of ε where there is noise, and

        m(s) = S( R tanh(S⁻¹ s) ),     S the shear, R a rotation
        m_i(s) = 2 tanh(s_i) or 0       in cases that predict only some sources

    With S in the means, S⁻¹ s also has additive noise where s2 has none. The observations are
    x = Q [y; sin(W y + b)], y = swirl(s). This is injective, as Q is orthogonal, y is one of its
    arguments, and the swirl has an inverse. √det(JᵀJ) ≥ 1 for the Jacobian J (6 × 3).

    Args:
        name: of the case, in `CASES`.
        seed: of the mixing.

    Raises:
        ValueError: another name.
    """

    name: str
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in CASES:
            raise ValueError(f"case: expected one of {', '.join(CASES)}, got {self.name!r}")

    @property
    def case(self) -> Case:
        """The case of this name."""
        return CASES[self.name]

    def mean(self, sources: Tensor) -> Tensor:
        """Return m(s), the conditional means (..., 3) of the next sources."""
        if self.case.predicted is not None:
            return _GAIN_ALONE * sources.tanh() * sources.new_tensor(self.case.predicted)
        rotation = sources.new_tensor(_ROTATION)
        return shear(_GAIN * shear(sources, -1.0).tanh() @ rotation.T)

    def residuals(self, num_samples: int, generator: torch.Generator) -> Tensor:
        """Draw ε (num_samples, 3)."""
        shape = (num_samples, NUM_SOURCES)
        drawn = torch.randn(shape, generator=generator)
        if self.case.residuals == "bimodal":
            side = torch.randint(2, shape, generator=generator) * 2.0 - 1.0
            drawn = _MODE * side + (1.0 - _MODE**2) ** 0.5 * drawn
        return drawn * torch.tensor(self.case.noisy)

    def follow(self, sources: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the sources of the next step, given those of this one, (B, 3) each."""
        return self.mean(sources) + self.residuals(len(sources), generator)

    def pairs(self, num_samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw neighbours in time, s and s' (num_samples, 3), of independent stationary series."""
        before = after = torch.randn(num_samples, NUM_SOURCES, generator=generator)
        for _ in range(_BURN_IN):
            before, after = after, self.follow(after, generator)
        return before, after

    def observe(self, sources: Tensor) -> Tensor:
        """Return x = g(s), (B, 6), for sources (B, 3)."""
        generator = torch.Generator().manual_seed(self.seed)
        weight = 0.7 * torch.randn(NUM_SOURCES, NUM_SOURCES, generator=generator)
        offset = torch.randn(NUM_SOURCES, generator=generator)
        square = torch.randn(NUM_OBSERVED, NUM_OBSERVED, generator=generator)
        orthogonal = torch.linalg.qr(square).Q
        weight, offset, orthogonal = (p.to(sources) for p in (weight, offset, orthogonal))
        inner = swirl(sources)
        return torch.cat([inner, torch.sin(inner @ weight.T + offset)], dim=-1) @ orthogonal.T
