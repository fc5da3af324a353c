"""A Gaussian with predicted mean and covariance: one view given the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, autocast

from solo_ldm.latents.base import LatentModel, positive
from solo_ldm.numerics import narrow, widen

Covariance = Literal["diagonal", "low_rank", "full"]

# Largest share of a dimension's variance that others explain. The rest keeps the eigenvalues of a
# correlation matrix at 0.01 or more, so that float64 inverts it to ten digits.
_MOST_COMMON = 0.99


@dataclass(frozen=True)
class PredictedGaussian:
    """B Gaussians N(μ, S R S) in D dimensions, S = diag(σ), R a correlation matrix.

    R is the identity, diag(1 − ‖v_d‖²) + V Vᵀ with the rows v_d of `factor`, or `correlation`.

    Args:
        mean: μ (B, D).
        std: σ (B, D), standard deviation of each dimension.
        factor: V (B, D, r), rows shorter than 1; None without.
        correlation: R (B, D, D), unit diagonal, positive definite; None without.
    """

    mean: Tensor
    std: Tensor
    factor: Tensor | None = None
    correlation: Tensor | None = None

    def __getitem__(self, rows: Tensor | slice) -> PredictedGaussian:
        """Return some of the Gaussians."""
        return PredictedGaussian(
            self.mean[rows],
            self.std[rows],
            None if self.factor is None else self.factor[rows],
            None if self.correlation is None else self.correlation[rows],
        )

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z; μ, Σ) (B,), in nats, all dimensions and constants included."""
        distance, log_det = self._parts(z)
        return -0.5 * (distance + log_det + self.mean.shape[1] * math.log(2.0 * math.pi))

    def mahalanobis(self, z: Tensor) -> Tensor:
        """Return (z − μ)ᵀ Σ⁻¹ (z − μ) (B,): chi-squared with D degrees of freedom if z ~ N."""
        return self._parts(z)[0]

    def entropy(self) -> Tensor:
        """Return ½ log det(2πe Σ) (B,), in nats."""
        log_det = self._parts(self.mean)[1]
        return 0.5 * (log_det + self.mean.shape[1] * math.log(2.0 * math.pi * math.e))

    def _parts(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return squared Mahalanobis distances and log-determinants, both (B,)."""
        error = (z - self.mean) / self.std
        log_det = 2.0 * self.std.log().sum(dim=1)
        if self.correlation is not None:
            lower = torch.linalg.cholesky(self.correlation)
            white = torch.linalg.solve_triangular(lower, error[..., None], upper=False)
            log_det = log_det + 2.0 * lower.diagonal(dim1=1, dim2=2).log().sum(dim=1)
            return white.square().sum(dim=(1, 2)), log_det
        if self.factor is None:
            return error.square().sum(dim=1), log_det
        # Woodbury's identity and the matrix determinant lemma: only r × r matrices are inverted.
        own = 1.0 - self.factor.square().sum(dim=2)
        scaled = self.factor / own[..., None]
        identity = torch.eye(scaled.shape[2], dtype=scaled.dtype, device=scaled.device)
        lower = torch.linalg.cholesky(identity + self.factor.mT @ scaled)
        common = torch.linalg.solve_triangular(lower, scaled.mT @ error[..., None], upper=False)
        distance = (error.square() / own).sum(dim=1) - common.square().sum(dim=(1, 2))
        log_det = log_det + own.log().sum(dim=1)
        return distance, log_det + 2.0 * lower.diagonal(dim1=1, dim2=2).log().sum(dim=1)


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

    def __init__(
        self,
        covariance: Covariance = "diagonal",
        covariance_rank: int = 4,
        smallest_std: float = 0.1,
        largest_std: float = 2.0,
        covariance_warm_up: float = 0.1,
    ) -> None:
        super().__init__()
        kinds = get_args(Covariance)
        if covariance not in kinds:
            raise ValueError(f"covariance must be one of {', '.join(kinds)}; got {covariance!r}")
        if int(covariance_rank) < 1:
            raise ValueError(f"covariance_rank must be at least 1, got {covariance_rank}")
        self.smallest_std = positive(smallest_std, "smallest_std")
        self.largest_std = positive(largest_std, "largest_std")
        if not self.smallest_std < self.largest_std:
            raise ValueError(
                f"smallest_std must be below largest_std, got {smallest_std} and {largest_std}"
            )
        if not 0.0 <= float(covariance_warm_up) <= 1.0:
            raise ValueError(
                f"covariance_warm_up must lie between 0 and 1, got {covariance_warm_up}"
            )
        self.covariance: Covariance = covariance
        self.rank = int(covariance_rank)
        self.warm_up = float(covariance_warm_up)
        self.share = 0.0
        self.at(0.0)

    def at(self, progress: float) -> None:
        """Set the share of the predicted covariance for a share of the training that is done."""
        self.share = 1.0 if self.warm_up == 0.0 else min(1.0, progress / self.warm_up)

    def project(self, h: Tensor) -> Tensor:
        """Return `h` (B, D) as it is: every point of the plane is a latent."""
        return h

    def prediction_dim(self, dim: int) -> int:
        """Return 2D and the numbers of R: none, D·r or D(D − 1)/2.

        Raises:
            ValueError: a rank above D.
        """
        if self.covariance == "low_rank" and self.rank > dim:
            raise ValueError(
                f"covariance_rank must be at most {dim}, the dimensions of the latents, "
                f"got {self.rank}"
            )
        correlations = {"diagonal": 0, "low_rank": dim * self.rank, "full": dim * (dim - 1) // 2}
        return 2 * dim + correlations[self.covariance]

    def gaussian(self, predicted: Tensor, dim: int) -> PredictedGaussian:
        """Return the Gaussians of a predictor's outputs, in float64 where there is one.

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
            return PredictedGaussian(mean, std)
        if self.covariance == "low_rank":
            # Of length about 1 whatever the rank, as the numbers themselves.
            rows = rest.unflatten(1, (dim, self.rank)) / math.sqrt(self.rank)
            longest = math.sqrt(_MOST_COMMON * self.share)
            rows = longest * _squash(rows, rows.square().sum(dim=2, keepdim=True))
            return PredictedGaussian(mean, std, factor=rows)
        return PredictedGaussian(mean, std, correlation=self._correlation(rest, dim))

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

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        rank = f", covariance_rank={self.rank}" if self.covariance == "low_rank" else ""
        return (
            f"covariance={self.covariance!r}{rank}, smallest_std={self.smallest_std}, "
            f"largest_std={self.largest_std}, covariance_warm_up={self.warm_up}"
        )


def _squash(x: Tensor, squared_length: Tensor) -> Tensor:
    """Return x / √(1 + ‖x‖²): slope 1 at zero, length below 1, and a slope that never vanishes."""
    return x * (1.0 + squared_length).rsqrt()
