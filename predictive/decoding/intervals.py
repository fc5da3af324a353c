"""Decoded targets with an interval, from the posterior of the states that they are decoded from.

The states are h ~ N(mean, L Lᵀ) and a target is y = g(h) + e, with g the decoder and e its
residual. With m_t and v_t the mean and variance of g(h) in bin t,

    interval = m_t + (quantiles of u) · (v_t + σ²)^½,   u = (y − m) / (v + σ²)^½ on other bins:

the posterior gives the relative width in each bin, a calibration set the absolute one. The
quantiles are those of u and not of a Gaussian: residuals of real recordings have heavy tails (a
decoder that jumps to the other end of the track), and the posterior of an approximate model is too
narrow or too wide; calibration corrects both. The shape of the posterior, such as two modes of a
nonlinear decoder, is lost.

Source:
    Split conformal prediction with a normalised score: Vovk, Gammerman & Shafer, "Algorithmic
    Learning in a Random World" (2005); Lei et al., arXiv 1604.04173, section 5.2. Its guarantee
    is for exchangeable bins; bins of a recording are correlated, so check the `coverage`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import torch
from torch import Tensor

from predictive.data.targets import TargetKind
from predictive.decoding.bins import wide
from predictive.decoding.fit import Decoder
from solo_ldm.config.arguments import Bounds, checked

# Numbers in memory for a chunk of bins: samples of states or of a perceptron's layer.
_CHUNK_NUMBERS = 2_000_000
_DEFAULT_SAMPLES = 200
_NUMBERS = TargetKind()
# Of the standard normal: 97.5 % of it lies below; for Wilson's interval of a fraction.
_NORMAL_QUANTILE = 1.959963984540054


@dataclass(frozen=True, eq=False)
class ResidualModel:
    """The residuals of a decoder on a calibration set; see `fit_residual`.

    Args:
        variance: σ², beside that of the posterior, (k,).
        standardised: u of each calibration bin, sorted, (C, k).
    """

    variance: Tensor
    standardised: Tensor


@dataclass(frozen=True, eq=False)
class DecodedInterval:
    """Decoded targets (M, k) with the ends of their interval, (M, k) each, in target units."""

    mean: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True, eq=False)
class Coverage:
    """How often targets lie in their intervals; see `coverage`.

    Args:
        fraction: of bins and dimensions inside.
        per_dim: fraction of bins inside, (k,).
        low: lower end of the 95 % interval of `fraction`.
        high: upper end.
        num_bins: bins with a known target.
        num_effective: number of independent bins with the same standard error.
    """

    fraction: float
    per_dim: Tensor
    low: float
    high: float
    num_bins: int
    num_effective: float


def fit_residual(
    decoder: Decoder,
    mean: Tensor,
    factor: Tensor | None,
    targets: Tensor,
    num_samples: int = _DEFAULT_SAMPLES,
    seed: int = 0,
    target: TargetKind = _NUMBERS,
) -> ResidualModel:
    """Measure the residuals of a decoder beyond the variance that the posterior explains.

    σ² = max(0, mean_t (y_t − m_t)² − mean_t v_t) for each dimension, and the sorted
    u_t = (y_t − m_t) / (v_t + σ²)^½. Where the posterior's variance exceeds the errors, σ² is 0 and
    the u are small, so that intervals keep their coverage.

    Args:
        decoder: fitted on other bins, where its errors are not biased downwards. Contiguous parts
            of the training data, left out of `fit_linear` and `fit_mlp`, suit.
        mean: posterior means of the states, (C, n).
        factor: their Cholesky factors L, (C, n, n), or (1, n, n) common to all; None where states
            have no posterior.
        targets: y, (C, k); bins with NaN are left out.
        num_samples: as in `decode_with_interval`, like seed.
        seed: of the draws.
        target: what the target is; y are its columns. The residuals of angles are arcs.

    Raises:
        ValueError: shapes that do not fit, fewer than two bins with a known target.
    """
    y = wide(targets)
    if y.ndim != 2 or mean.ndim != 2 or len(y) != len(mean):
        raise ValueError(
            "states and targets: expected (bins, dimensions) over the same bins, got "
            f"{tuple(mean.shape)} and {tuple(y.shape)}"
        )
    known = y.isfinite().all(dim=1)
    if int(known.sum()) < 2:
        raise ValueError(
            "targets: expected at least 2 calibration bins with a known target, got "
            f"{int(known.sum())} of {len(y)}; enlarge the calibration set"
        )
    decoded, spread = _decoded_moments(decoder, mean, factor, num_samples, seed, target)
    error, spread = (target.near(y, decoded) - decoded)[known], spread[known]
    variance = (error.square().mean(dim=0) - spread.mean(dim=0)).clamp(min=0.0)
    # A decoder without errors has u = 0.
    deviation = (spread + variance).sqrt()
    standardised = torch.where(deviation > 0.0, error / deviation, 0.0)
    return ResidualModel(variance, standardised.sort(dim=0).values)


def fewest_calibration_bins(level: float) -> int:
    """Return how many calibration bins an interval of that level needs: 39 for 0.95."""
    # Rounded, because 1 - 0.95 is a little more than 0.05.
    return math.ceil(2.0 / (1.0 - level) - 1e-6) - 1


@checked
def decode_with_interval(
    decoder: Decoder,
    mean: Tensor,
    factor: Tensor | None,
    residual: ResidualModel,
    level: Annotated[float, Bounds(above=0, below=1)] = 0.95,
    num_samples: int = _DEFAULT_SAMPLES,
    seed: int = 0,
    target: TargetKind = _NUMBERS,
) -> DecodedInterval:
    """Decode states with an interval that covers the target in a fraction `level` of bins.

    States are drawn, h_s = mean + L ε_s, and decoded; see the module for the interval. The ends
    are the u of ranks ⌊(C + 1)(1 − level) / 2⌋ and ⌈(C + 1)(1 + level) / 2⌉ of C; an interval need
    not be symmetric.

    Args:
        decoder: from states to targets.
        mean: posterior means of the states, (M, n).
        factor: their Cholesky factors, (M, n, n) or (1, n, n), or None, as in `fit_residual`.
        residual: of the same decoder.
        level: in (0, 1).
        num_samples: draws of ε, even and at least 2 n, the same for all bins. They come in pairs of
            opposite sign with covariance exactly I, so that mean and variance are exact for a
            linear decoder.
        seed: of the draws.
        target: as in `fit_residual`. Mean and ends are values: of an angle (M, 1), the ends beyond
            [0, P) where the arc crosses 0.

    Raises:
        ValueError: shapes or settings out of range, too few calibration bins for the level.
    """
    num_calibration = len(residual.standardised)
    # Rounded, because 1 - 0.95 is a little more than 0.05.
    rank = math.floor(round((num_calibration + 1) * (1.0 - level) / 2.0, 9))
    if rank < 1:
        raise ValueError(
            f"level: expected at least {fewest_calibration_bins(level)} calibration bins for "
            f"{level}, got {num_calibration}; enlarge the calibration set or lower the level"
        )
    decoded, spread = _decoded_moments(decoder, mean, factor, num_samples, seed, target)
    deviation = (spread + residual.variance).sqrt()
    low, high = residual.standardised[rank - 1], residual.standardised[-rank]
    return DecodedInterval(decoded, decoded + low * deviation, decoded + high * deviation)


def coverage(targets: Tensor, low: Tensor, high: Tensor) -> Coverage:
    """Count how often targets lie in their intervals, with the uncertainty of that fraction.

    Neighbouring bins are correlated. Wilson's interval of the fraction is therefore that of M / τ
    bins instead of M, τ = 1 + 2 Σ_lag ρ, ρ the autocorrelation of being inside, summed over pairs
    of lags until a pair is negative. Where all or no targets are inside, the autocorrelation is
    undefined, and τ = 1 makes the interval too narrow.

    Args:
        targets: (M, k), in the order of time; bins with NaN are left out.
        low: (M, k).
        high: (M, k).

    Raises:
        ValueError: shapes that differ, no bin with a known target.

    Source:
        Wilson (1927), "Probable inference, the law of succession, and statistical inference";
        the truncated sum: Geyer (1992), "Practical Markov chain Monte Carlo", section 3.3.
    """
    if targets.ndim != 2 or targets.shape != low.shape or targets.shape != high.shape:
        raise ValueError(
            "targets, low and high: expected the same shape (bins, dimensions), got "
            f"{tuple(targets.shape)}, {tuple(low.shape)} and {tuple(high.shape)}"
        )
    y, low, high = (wide(part) for part in (targets, low, high))
    known = y.isfinite().all(dim=1)
    if not known.any():
        raise ValueError(f"targets: expected a known one in some bin, got none in {len(y)}")
    inside = ((y >= low) & (y <= high))[known].double()
    count = len(inside)
    effective = count / _correlation_time(inside.mean(dim=1))
    fraction = float(inside.mean())
    squared = _NORMAL_QUANTILE**2
    centre = (fraction + squared / (2.0 * effective)) / (1.0 + squared / effective)
    reach = math.sqrt(
        squared * fraction * (1.0 - fraction) / effective + (squared / (2.0 * effective)) ** 2
    ) / (1.0 + squared / effective)
    return Coverage(
        fraction=fraction,
        per_dim=inside.mean(dim=0),
        low=max(0.0, centre - reach),
        high=min(1.0, centre + reach),
        num_bins=count,
        num_effective=effective,
    )


def _correlation_time(values: Tensor) -> float:
    """Return 1 + 2 Σ ρ of a series (M,), at least 1 and at most M."""
    centred = values - values.mean()
    if not centred.any():
        return 1.0
    size = 2 * len(centred)
    products = torch.fft.irfft(torch.fft.rfft(centred, n=size).abs().square(), n=size)
    correlation = products[: len(centred)] / products[0]
    pairs = correlation[: len(centred) // 2 * 2].reshape(-1, 2).sum(dim=1)
    ends = (pairs < 0.0).nonzero()
    last = int(ends[0]) if len(ends) else len(pairs)
    return min(float(len(values)), max(1.0, float(2.0 * pairs[:last].sum() - 1.0)))


def _decoded_moments(
    decoder: Decoder,
    mean: Tensor,
    factor: Tensor | None,
    num_samples: int,
    seed: int,
    target: TargetKind,
) -> tuple[Tensor, Tensor]:
    """Return mean and variance over the posterior of the decoded states, (M, k) each."""
    mean = wide(mean)
    circular = target.name == "circular"
    if factor is None:
        values = decoder.predict(mean)
        values = target.value(values) if circular else values
        return values, torch.zeros_like(values)
    factor = wide(factor)
    num_states = mean.shape[1]
    if factor.shape not in {(len(mean), num_states, num_states), (1, num_states, num_states)}:
        raise ValueError(
            f"factor: expected (bins or 1, states, states) for means {tuple(mean.shape)}, got "
            f"{tuple(factor.shape)}"
        )
    draws = _draws(num_samples, num_states, seed)
    width = max(num_states, *(len(bias) for _, bias in getattr(decoder, "layers", [(0, mean[0])])))
    size = max(1, _CHUNK_NUMBERS // (num_samples * width))
    # Filled in place: small results kept between the large chunks would fragment the memory.
    found = mean.new_empty(2, len(mean), 1 if circular else decoder.predict(mean[:1]).shape[1])
    factors = factor.expand(len(mean), -1, -1).split(size)
    for chunk, roots, moments in zip(mean.split(size), factors, found.split(size, 1), strict=True):
        values = decoder.predict(chunk + torch.einsum("mij,sj->smi", roots, draws))
        centre = values.mean(dim=0)
        moments[0] = target.value(centre) if circular else centre
        arcs = target.apart(target.value(values), moments[0]) if circular else values
        moments[1] = arcs.square().mean(dim=0) if circular else values.var(dim=0, correction=0)
    return found[0], found[1]


@lru_cache(maxsize=8)
def _draws(num_samples: int, num_states: int, seed: int) -> Tensor:
    """Return standard normal draws (S, n) whose mean is 0 and whose covariance is I exactly."""
    if num_samples % 2 or num_samples < 2 * num_states:
        raise ValueError(
            f"num_samples: expected an even number from {2 * num_states}, twice the states, got "
            f"{num_samples}"
        )
    generator = torch.Generator().manual_seed(seed)
    half = torch.randn(num_samples // 2, num_states, generator=generator, dtype=torch.float64)
    root = torch.linalg.cholesky(half.mT @ half / len(half))
    half = torch.linalg.solve_triangular(root, half.mT, upper=False).mT
    return torch.cat([half, -half])
