"""A Gaussian with predicted mean and covariance: one view given the other."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, autocast
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from solo_ldm.config.arguments import Count, Positive, Share, checked
from solo_ldm.latents.base import LatentModel
from solo_ldm.numerics import narrow, widen

Covariance = Literal["diagonal", "low_rank", "full"]

# Largest share of a dimension's variance that others explain. The rest keeps the eigenvalues of a
# correlation matrix at 0.01 or more, so that float64 inverts it to ten digits.
_MOST_COMMON = 0.99


class ConditionalGaussian(LatentModel):
    """One view given the other is Gaussian, with a mean and a covariance that depend on it.

    log p(z2 | z1) = (1/D) log N(z2; μ(z1), Σ(z1)) + ½ log 2π,   Σ = S R S,  S = diag(σ)

    the log-density a dimension, in nats, without its constant: the scale of the log-determinant and
    of the nearest-neighbour entropies. A kernel entropy on the plane counts all dimensions together
    and matches with method_kwargs.entropy_weight = 1/D.

    With detached targets and no entropy, this is the objective with the plug-in estimate
    H[z2 | z1] = −E log p̄(z2 | z̄1) (bars: held constant) of the conditional entropy: the gradients
    of both terms with respect to z2 cancel, and those with respect to μ and Σ remain.

    A predictor outputs D numbers for μ, D for σ, and those for R. Standard deviations are bounded
    by log σ = m + h u / √(h² + u²), m and h the middle and half the width of the bounds in the
    logarithm: u = 0 is their geometric mean, where the slope is 1, and far out the slope falls
    as u⁻³ rather than exponentially, so that a prediction at the bound can return. R is

        diagonal:  I
        low_rank:  diag(1 − ‖v_d‖²) + V Vᵀ,  V (D, r), ‖v_d‖² < 0.99
        full:      0.01 I + 0.99 C Cᵀ,       C lower triangular with rows of length 1

    so that σ is the standard deviation of each dimension in all three and no direction has less
    than a hundredth of the variance it would have without correlations. All numbers of R at zero
    give R = I. During the warm-up the Gaussian moves from σ = eᵐ, R = I to the predicted one:
    log σ − m and R − I are multiplied by a share that rises linearly from 0 to 1.

    Args:
        covariance: diagonal, low_rank or full.
        covariance_rank: r ≥ 1, for low_rank.
        smallest_std: of a dimension, in the unit of z.
        largest_std: of a dimension, in the unit of z.
        covariance_warm_up: share of the training until the covariance is the predicted one, 0 to 1.

    Raises:
        ValueError: an unknown covariance, bounds that are not 0 < smallest < largest, a rank below
            1, a warm-up outside [0, 1].

    Source:
        Nix & Weigend 1994, "Estimating the mean and variance of the target probability
        distribution"; Mikulasch & Zenke, arXiv 2605.03517, for stop-gradient as an entropy.
    """

    support = "plane"
    needs_predictor = True

    @checked
    def __init__(
        self,
        covariance: Covariance = "diagonal",
        covariance_rank: Count = 4,
        smallest_std: Positive = 0.1,
        largest_std: Positive = 2.0,
        covariance_warm_up: Share = 0.1,
    ) -> None:
        super().__init__()
        if not smallest_std < largest_std:
            raise ValueError(
                f"smallest_std: expected less than largest_std={largest_std}, got {smallest_std}"
            )
        self.covariance: Covariance = covariance
        self.covariance_rank = covariance_rank
        self.smallest_std, self.largest_std = smallest_std, largest_std
        self.covariance_warm_up = covariance_warm_up
        self.at(0.0)

    def at(self, progress: float) -> None:
        """Set the share of the predicted covariance for a share of the training that is done."""
        warm_up = self.covariance_warm_up
        self.share = 1.0 if warm_up == 0.0 else min(1.0, progress / warm_up)

    def prediction_dim(self, dim: int) -> int:
        """Return 2D and the numbers of R: none, D·r or D(D − 1)/2.

        Raises:
            ValueError: a rank above D.
        """
        rank = self.covariance_rank
        if self.covariance == "low_rank" and rank > dim:
            raise ValueError(
                f"covariance_rank: expected at most {dim}, the dimensions of the latents, "
                f"got {rank}"
            )
        correlations = {"diagonal": 0, "low_rank": dim * rank, "full": dim * (dim - 1) // 2}
        return 2 * dim + correlations[self.covariance]

    def gaussian(self, predicted: Tensor, dim: int) -> Distribution:
        """Return the B Gaussians of a predictor's outputs, in float64 where there is one.

        Args:
            predicted: the predictor's outputs (B, prediction_dim(D)): μ, u of σ, numbers of R.
            dim: D.

        Raises:
            ValueError: another number of outputs than `prediction_dim`.
        """
        expected = self.prediction_dim(dim)
        if predicted.ndim != 2 or predicted.shape[1] != expected:
            raise ValueError(
                f"a {self.covariance} covariance in {dim} dimensions needs predictions of shape "
                f"(B, {expected}), got {tuple(predicted.shape)}"
            )
        mean, raw, rest = widen(predicted).split((dim, dim, expected - 2 * dim), dim=1)
        low, high = math.log(self.smallest_std), math.log(self.largest_std)
        half = 0.5 * (high - low)
        ratio = raw / half
        std = (0.5 * (high + low) + self.share * half * _squash(ratio, ratio.square())).exp()
        if self.covariance == "diagonal":
            return Independent(Normal(mean, std, validate_args=False), 1)
        if self.covariance == "low_rank":
            # Of length about 1 whatever the rank, as the numbers themselves.
            rank = self.covariance_rank
            rows = rest.unflatten(1, (dim, rank)) / math.sqrt(rank)
            longest = math.sqrt(_MOST_COMMON * self.share)
            rows = longest * _squash(rows, rows.square().sum(dim=2, keepdim=True))
            own = std.square() * (1.0 - rows.square().sum(dim=2))
            factor = std[..., None] * rows
            return LowRankMultivariateNormal(mean, factor, own, validate_args=False)
        root = std[..., None] * torch.linalg.cholesky(self._correlation(rest, dim))
        return MultivariateNormal(mean, scale_tril=root, validate_args=False)

    def _correlation(self, numbers: Tensor, dim: int) -> Tensor:
        """Return R (B, D, D) of D(D − 1)/2 numbers a sample."""
        identity = torch.eye(dim, dtype=numbers.dtype, device=numbers.device)
        row, column = torch.tril_indices(dim, dim, -1, device=numbers.device)
        rows = identity.repeat(len(numbers), 1, 1)
        rows[:, row, column] = numbers / math.sqrt(dim)
        rows = rows / rows.norm(dim=2, keepdim=True)
        common = _MOST_COMMON * self.share
        return (1.0 - common) * identity + common * (rows @ rows.mT)

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return (1/D) log N(z2; μ, Σ) + ½ log 2π for each pair.

        Args:
            z1: a predictor's outputs for z2 (B, prediction_dim(D)).
            z2: latents (B, D).

        Returns:
            (B,), nats a dimension, less the constant −½ log 2π.

        Raises:
            ValueError: shapes that do not fit.
        """
        if z2.ndim != 2 or len(z1) != len(z2):
            raise ValueError(
                "a prediction for each latent (B, D) is expected; "
                f"got {tuple(z1.shape)} for {tuple(z2.shape)}"
            )
        dim = z2.shape[1]
        with autocast(z2.device.type, enabled=False):
            value = self.gaussian(z1, dim).log_prob(widen(z2)) / dim
            return narrow(value + 0.5 * math.log(2.0 * math.pi), z2)


def _squash(x: Tensor, squared_length: Tensor) -> Tensor:
    """Return x / √(1 + ‖x‖²): slope 1 at zero, length below 1, and a slope that never vanishes."""
    return x * (1.0 + squared_length).rsqrt()
