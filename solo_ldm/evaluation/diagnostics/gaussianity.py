"""How Gaussian features are: their norms, their coordinates, and their projections."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from solo_ldm.entropy.sliced import SlicedGaussianEntropy
from solo_ldm.evaluation.diagnostics.power_law import ROUNDING_SHARE
from solo_ldm.evaluation.features import check_finite, check_vectors
from solo_ldm.numerics import product, widen
from solo_ldm.pairs import small_gram

# Samples that a principal direction takes: of fewer, whitened samples are as far from each other as
# they can be, whatever the distribution.
SAMPLES_PER_DIRECTION = 10

# D'Agostino & Stephens 1986, table 4.7: exceeded by 5 % of Gaussian samples of which mean and
# variance are estimated.
CRITICAL_5_PERCENT = 0.752

_FEWEST = 20


class Gaussianity(NamedTuple):
    """How Gaussian N samples of dimension D are; compare it with that of `gaussian_like`.

    Args:
        norm_variation: standard deviation of ‖x − mean‖ over its mean.
        isotropic_norm_variation: (2 D)^(−1/2), nearly that of N(0, I).
        normal_coordinates: share of the coordinates that the test of Anderson and Darling does not
            reject at 5 %; 0.95 of a Gaussian sample.
        anderson_darling: median of its statistic A² over the coordinates; about 0.34 of a Gaussian
            sample.
        excess_kurtosis: median of it over the coordinates; 0 of a Gaussian.
        sliced: statistic of the sliced test of whitened samples against N(0, I); grows with N for
            samples that are not Gaussian.
        num_directions: principal directions that were whitened.
        num_constant: coordinates that are the same for all samples, which are left out.
        num_samples: N.
    """

    norm_variation: float
    isotropic_norm_variation: float
    normal_coordinates: float
    anderson_darling: float
    excess_kurtosis: float
    sliced: float
    num_directions: int
    num_constant: int
    num_samples: int


def gaussianity(features: Tensor, num_slices: int = 256) -> Gaussianity:
    """Measure how far features are from a Gaussian sample.

    Norms:        sd ‖x − x̄‖ / mean ‖x − x̄‖; of N(0, I) in D dimensions nearly (2 D)^(−1/2).
    Coordinates:  with y_(i) the sorted standardised values of a coordinate,
                  A² = (1 + 0.75/N + 2.25/N²) · ( −N − (1/N) Σ_i (2i − 1) [ log Φ(y_(i))
                       + log Φ(−y_(N+1−i)) ] )
    Slices:       minus `SlicedGaussianEntropy` of samples that are whitened in their leading
                  min(N / 10, rank) principal directions: Epps and Pulley's statistic of random
                  projections against N(0, 1). Further directions are too few samples' to whiten.
                  Mixtures show in them; many independent coordinates of any shape do not.

    Args:
        features: (N, D), N at least 20, finite.
        num_slices: projections.

    Returns:
        The measures. What they are for a Gaussian of the same covariance, which N and D decide, is
        `gaussianity(gaussian_like(features))`.

    Raises:
        ValueError: in one line: another shape, numbers that are not finite, or samples that are all
            equal.

    Source: the norms and the coordinates after "InfoNCE induces Gaussian distribution" (ICLR 2026);
    D'Agostino & Stephens 1986; Epps & Pulley 1983 in slices: arXiv 2511.08544.
    """
    check_vectors("features", features, at_least=_FEWEST)
    check_finite("features", features)
    x = widen(features.detach())
    centred = x - x.mean(dim=0)
    num_samples, num_dims = x.shape
    spread = centred.square().mean(dim=0)
    varies = spread > ROUNDING_SHARE * spread.max()
    if not spread.max() > ROUNDING_SHARE * x.square().mean():
        raise ValueError("features: expected samples that differ, got all equal; has it collapsed?")
    norms = centred.norm(dim=1)
    y = centred[:, varies] / spread[varies].sqrt()
    statistic = anderson_darling(centred[:, varies])
    white = _whitened(centred)
    sliced = SlicedGaussianEntropy("plane", num_slices=num_slices)
    return Gaussianity(
        norm_variation=(norms.std() / norms.mean()).item(),
        isotropic_norm_variation=(2 * num_dims) ** -0.5,
        normal_coordinates=(statistic < CRITICAL_5_PERCENT).double().mean().item(),
        anderson_darling=statistic.median().item(),
        excess_kurtosis=(y.pow(4).mean(dim=0) - 3.0).median().item(),
        sliced=-sliced.estimate(white).item(),
        num_directions=white.shape[1],
        num_constant=num_dims - int(varies.sum()),
        num_samples=num_samples,
    )


def gaussian_like(features: Tensor, seed: int = 0) -> Tensor:
    """Draw as many samples of a Gaussian with the mean and the covariance of features.

        x' = mean + (N − 1)^(−1/2) Σ_i g_i (x_i − mean),    g ~ N(0, I)

    Args:
        features: (N, D), N at least 2.
        seed: of g.

    Returns:
        (N, D) in the precision of statistics; of the mean and the covariance of `features` in
        expectation.

    Raises:
        ValueError: in one line: another shape.
    """
    check_vectors("features", features, at_least=2)
    x = widen(features.detach())
    mean = x.mean(dim=0)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(len(x), len(x), generator=generator, dtype=torch.float64).to(x)
    return mean + product(weights, x - mean) / math.sqrt(len(x) - 1)


def anderson_darling(features: Tensor) -> Tensor:
    """Compute Anderson and Darling's statistic of normality of each coordinate.

    The equation is that of `gaussianity`.

    Args:
        features: (N, D) of coordinates that vary, N at least 2, finite.

    Returns:
        A² (D,), corrected for the number of samples, not negative; above 0.752 for 5 % of Gaussian
        samples. Not finite for a coordinate that does not vary.

    Raises:
        ValueError: in one line: another shape, or numbers that are not finite.

    Source: Anderson & Darling 1954; the correction is D'Agostino & Stephens' (1986).
    """
    check_vectors("features", features, at_least=2)
    check_finite("features", features)
    x, count = widen(features.detach()), len(features)
    y = ((x - x.mean(dim=0)) / x.std(dim=0)).sort(dim=0).values
    odd = torch.arange(1, 2 * count, 2, dtype=y.dtype, device=y.device)[:, None]
    log_shares = torch.special.log_ndtr(y) + torch.special.log_ndtr(-y.flip(0))
    statistic = -count - (odd * log_shares).mean(dim=0)
    return statistic * (1.0 + 0.75 / count + 2.25 / count**2)


def _whitened(centred: Tensor) -> Tensor:
    """Return the leading principal components (N, m), each of unit variance."""
    num_samples, num_dims = centred.shape
    values, vectors = torch.linalg.eigh(small_gram(centred))
    most = max(1, num_samples // SAMPLES_PER_DIRECTION)
    count = min(most, int((values > ROUNDING_SHARE * values[-1]).sum()))
    leading = vectors[:, -count:]
    # Of XXᵀ the vectors are the components themselves, of XᵀX the directions.
    components = leading if num_samples < num_dims else centred @ leading
    return components * (math.sqrt(num_samples) / components.norm(dim=0))
