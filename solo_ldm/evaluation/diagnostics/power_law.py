"""The power law of an eigenspectrum, and the rank up to which it holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

# Of the largest eigenvalue: a standard deviation of a hundred-thousandth of the largest is rounding
# in a network of float32.
ROUNDING_SHARE = 1e-10

# Ranks that are left out at the beginning where there are enough, as Stringer et al. do: the first
# directions rarely follow a law.
_SKIPPED, _SKIPPED_SHARE = 10, 8

# The fewest ranks that a law is fitted to, or that decide where it ends.
_LEAST = 5

# Beyond its cut-off a spectrum falls at least this many times as steeply, and by as much more.
_STEEPER, _STEEPER_BY = 2.0, 1.0


class PowerLaw(NamedTuple):
    """λ_k = scale · k^(−exponent), fitted to ranks `first` to `last`.

    Args:
        exponent: α, above zero for a spectrum that falls.
        scale: of the law at k = 1, in the unit of the eigenvalues.
        r_squared: share of the variance of log λ_k that the law explains over these ranks.
        first: rank, from 1.
        last: rank.
        cutoff: the last rank before the spectrum leaves the law or drops to rounding.
        num_above_rounding: eigenvalues above 1e-10 of the largest.
    """

    exponent: float
    scale: float
    r_squared: float
    first: int
    last: int
    cutoff: int
    num_above_rounding: int


def power_law(
    eigenvalues: Tensor, first: int | None = None, last: int | None = None
) -> PowerLaw | None:
    """Fit a power law to an eigenspectrum, and find the rank at which it ends.

        (α, c) = argmin Σ_k (log λ_k − c + α log k)² / k,    k = first … last

    The weights 1/k make every factor of k count alike. Eigenvalues of at most 1e-10 of the largest
    are rounding and never used. The cut-off is the rank κ of the broken law

        log λ_k = c − α log k − γ max(0, log k − log κ)

    with the least squared error over all ranks from `first`, if beyond it the spectrum is at least
    twice as steep, and steeper by one (α + γ ≥ 2 α and γ ≥ 1); otherwise it is the last rank above
    rounding. Eigenvalues of few samples (fewer than about ten times the dimensions) fall too
    steeply at high ranks: read exponents of equal numbers of samples beside each other.

    Args:
        eigenvalues: (D,) descending, not negative, as of `covariance_spectrum`.
        first: rank that the fit begins at; None for 11, or for an eighth of the ranks above
            rounding, plus one, if that is less.
        last: rank that it ends at; None for the cut-off.

    Returns:
        The law; None where fewer than five eigenvalues from `first` are above rounding.

    Raises:
        ValueError: in one line: eigenvalues that are not finite, negative or not descending, or a
            range of fewer than three of the ranks above rounding.

    Source: the fit is that of Stringer et al., Nature 571 (2019), and of α-ReQ, Agrawal et al.
    2022, who choose the range by hand; the rule for the cut-off is ours.
    """
    values = eigenvalues.detach().cpu().double().numpy()
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(
            f"eigenvalues: expected (D,) finite and not negative, got {tuple(eigenvalues.shape)}"
            " with others; see covariance_spectrum"
        )
    if (np.diff(values) > 0).any():
        raise ValueError("eigenvalues: expected descending order, got another; sort them first")
    usable = int((values > ROUNDING_SHARE * values[:1].sum()).sum())
    start = 1 + min(_SKIPPED, usable // _SKIPPED_SHARE) if first is None else first
    if not (start >= 1 and (last is None or start + 2 <= last <= usable)):
        raise ValueError(
            f"first, last: expected ranks 1 to {usable}, at least three, got {start} and {last}"
        )
    if usable - start + 1 < _LEAST:
        return None
    ranks = np.arange(start, usable + 1)
    x, y = np.log(ranks), np.log(values[start - 1 : usable])
    cutoff = start + _break(x, y, 1.0 / np.sqrt(ranks))
    stop = cutoff if last is None else last
    count = stop - start + 1
    x, y, weights = x[:count], y[:count], 1.0 / ranks[:count]
    x_mean, y_mean = np.average(x, weights=weights), np.average(y, weights=weights)
    slope = (weights * (x - x_mean) * (y - y_mean)).sum() / (weights * (x - x_mean) ** 2).sum()
    missed = (weights * (y - y_mean - slope * (x - x_mean)) ** 2).sum()
    total = (weights * (y - y_mean) ** 2).sum()
    return PowerLaw(
        exponent=float(-slope),
        scale=float(np.exp(y_mean - slope * x_mean)),
        # A spectrum that is constant but for rounding is a law of exponent zero.
        r_squared=float(1.0 - missed / total) if total > 1e-12 * weights.sum() else 1.0,
        first=start,
        last=stop,
        cutoff=cutoff,
        num_above_rounding=usable,
    )


def _break(x: np.ndarray, y: np.ndarray, roots: np.ndarray) -> int:
    """Return the place of the last point on the first of two lines; the last one for one line.

    The gain of a break over one line is that of a hinge, which is regressed on what the line
    leaves: all of them at once.

    Args:
        x: log k (n,).
        y: log λ_k (n,).
        roots: of the weights (n,).
    """
    last = len(x) - 1
    places = np.arange(_LEAST - 1, last - 1)
    if not len(places):
        return last
    line = np.stack([np.ones_like(x), x], axis=1) * roots[:, None]
    basis, _ = np.linalg.qr(line)
    hinges = np.maximum(0.0, x[:, None] - x[places]) * roots[:, None]
    rest = roots * y - basis @ (basis.T @ (roots * y))
    left = hinges - basis @ (basis.T @ hinges)
    best = int(np.argmax((left.T @ rest) ** 2 / (left**2).sum(axis=0)))
    columns = np.concatenate([line, hinges[:, [best]]], axis=1)
    _, before, change = np.linalg.lstsq(columns, roots * y, rcond=None)[0]
    steeper = -change >= max(_STEEPER_BY, (_STEEPER - 1.0) * -before)
    return int(places[best]) if steeper else last
