"""Calibration of predicted Gaussians: likelihood, coverage, and ranks of their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.distributions import Distribution

LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)


class PairScores(NamedTuple):
    """How M targets lie in the Gaussians predicted for them.

    Args:
        log_prob: log N(z; μ, Σ) (M,), in nats, all constants included.
        distance: squared Mahalanobis distance (M,).
        ellipsoid: level of the ellipsoid that z lies on (M,), 0 to 1.
        interval: level of the central interval that each coordinate lies at the end of (M, D).
        error: z − μ (M, D), in the unit of z.
    """

    log_prob: Tensor
    distance: Tensor
    ellipsoid: Tensor
    interval: Tensor
    error: Tensor


@dataclass(frozen=True)
class Calibration:
    """How well predicted Gaussians fit what they predict, over M pairs in D dimensions.

    Args:
        negative_log_likelihood: mean of −log N(z; μ, Σ) / D, in nats a dimension.
        constant_negative_log_likelihood: the same of one diagonal covariance for all samples, the
            mean squared errors of these very pairs: what a covariance that depends on the sample
            has to beat.
        distance_ratio: mean squared Mahalanobis distance divided by D; 1 for a calibrated
            covariance, above where it is too small.
        levels: nominal coverages.
        ellipsoids: share of the pairs within the ellipsoid of each level, in all D dimensions.
        intervals: share of the coordinates within the central interval of each level.
        num_pairs: M.
        dim: D.
    """

    negative_log_likelihood: float
    constant_negative_log_likelihood: float
    distance_ratio: float
    levels: tuple[float, ...]
    ellipsoids: tuple[float, ...]
    intervals: tuple[float, ...]
    num_pairs: int
    dim: int


def mean_variance(gaussian: Distribution) -> Tensor:
    """Return the mean of the predicted variances over dimensions, tr Σ / D (B,)."""
    return gaussian.variance.mean(dim=1)


def score_pairs(gaussian: Distribution, targets: Tensor) -> PairScores:
    """Place targets in the Gaussians predicted for them.

    The level of an ellipsoid (z − μ)ᵀ Σ⁻¹ (z − μ) = q is the probability P(D/2, q/2) that a
    chi-squared variable with D degrees of freedom is at most q; that of an interval μ_d ± e is
    erf(e / (σ_d √2)).

    Args:
        gaussian: M predictions.
        targets: (M, D), in their unit.

    Raises:
        ValueError: in one line: shapes that differ, or no pairs.
    """
    if targets.shape != gaussian.mean.shape or not len(targets):
        raise ValueError(
            "targets: expected one for each prediction, at least one, "
            f"{tuple(gaussian.mean.shape)}, got {tuple(targets.shape)}"
        )
    targets = targets.to(gaussian.mean)
    log_prob = gaussian.log_prob(targets)
    # (z − μ)ᵀ Σ⁻¹ (z − μ) = 2 (log N(μ) − log N(z))
    distance = 2.0 * (gaussian.log_prob(gaussian.mean) - log_prob)
    error = targets - gaussian.mean
    return PairScores(
        log_prob=log_prob,
        distance=distance,
        ellipsoid=torch.special.gammainc(
            torch.full_like(distance, 0.5 * targets.shape[1]), 0.5 * distance
        ),
        interval=torch.erf(error.abs() / (gaussian.stddev * math.sqrt(2.0))),
        error=error,
    )


def calibration(pairs: PairScores, levels: Sequence[float] = LEVELS) -> Calibration:
    """Compare predicted Gaussians with their targets: likelihood, and coverage of the ellipsoids.

    Args:
        pairs: of held-out samples.
        levels: nominal coverages, each in (0, 1).

    Raises:
        ValueError: in one line: a level outside (0, 1).
    """
    if not all(0.0 < level < 1.0 for level in levels):
        raise ValueError(f"levels: expected shares between 0 and 1, got {list(levels)}")
    num_pairs, dim = pairs.error.shape
    constant = 0.5 * (2.0 * math.pi * math.e * pairs.error.square().mean(dim=0)).log().mean()
    return Calibration(
        negative_log_likelihood=-pairs.log_prob.mean().item() / dim,
        constant_negative_log_likelihood=constant.item(),
        distance_ratio=pairs.distance.mean().item() / dim,
        levels=tuple(levels),
        ellipsoids=tuple((pairs.ellipsoid <= one).double().mean().item() for one in levels),
        intervals=tuple((pairs.interval <= one).double().mean().item() for one in levels),
        num_pairs=num_pairs,
        dim=dim,
    )


def rank_correlation(x: Tensor, y: Tensor) -> float:
    """Compute Spearman's rank correlation, ties sharing their mean rank.

    Args:
        x: (M,).
        y: (M,).

    Returns:
        −1 to 1; 0 where one of the two is constant.

    Raises:
        ValueError: in one line, for shapes that differ or fewer than two values.
    """
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise ValueError(
            "rank correlation: expected two equal numbers of values, at least two, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if (x == x[0]).all() or (y == y[0]).all():
        return 0.0
    found: Any = spearmanr(x.detach().cpu().numpy(), y.detach().cpu().numpy())
    return float(found.statistic)


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Compute the chance that a score is higher outside the distribution than inside.

    The area under the receiver operating characteristic, ties counted half.

    Args:
        inside: (m,) scores of samples of the distribution.
        outside: (n,) scores of others.

    Returns:
        0 to 1; 0.5 is chance, lower values mean that scores are higher inside.

    Raises:
        ValueError: in one line, where one of them is empty.

    Source: Mann and Whitney 1947; Hanley and McNeil 1982 for the area.
    """
    if not inside.numel() or not outside.numel():
        raise ValueError(
            f"auroc: expected scores inside and outside, got {inside.numel()} and {outside.numel()}"
        )
    scores = torch.cat([inside.flatten(), outside.flatten()]).detach().cpu().numpy()
    return float(roc_auc_score([0] * inside.numel() + [1] * outside.numel(), scores))
