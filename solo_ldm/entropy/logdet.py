"""Log-determinant estimates of entropy: that of the Gaussian with the batch's covariance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from solo_ldm.config.arguments import Positive, checked
from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.latents.base import Support
from solo_ldm.pairs import small_gram

# Added to the ridge as a share of the trace, so that Cholesky succeeds in float64 on singular
# covariances of any size; far below the ridge for latents of ordinary scale.
_RELATIVE_RIDGE = 1e-12
# Devices that lack torch.cholesky_inverse in some of the versions of torch that we allow.
_WITHOUT_INVERSE = ("mps",)


class LogDetEntropy(EntropyEstimator):
    """Entropy of a Gaussian with the batch's covariance, exactly, by Cholesky.

    H = (1/2D) log det(Cov(z) + ε I), Cov with divisor B − 1, D the number of (stacked) features.

    With more features than samples the B×B Gram matrix is factorised instead:
    log det(XᵀX + ε I_D) = log det(XXᵀ + ε I_B) + (D − B) log ε.

    Args:
        support: "plane" or "sphere". On the sphere the value is a surrogate: the covariance is
            taken in the surrounding space.
        ridge: ε, in squared units of z.

    Raises:
        ValueError: ε is not above zero; fewer than two samples.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517; the estimator of CorInfoMax (Ozsoy et al.,
        arXiv 2209.07999).
    """

    @checked
    def __init__(self, support: Support = "plane", ridge: Positive = 1e-6) -> None:
        super().__init__(support)
        self.ridge = ridge

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return the value of samples (B, D) as a scalar; see the class for the equation."""
        return log_det_ridge(scatter_root(z), self.ridge) / (2.0 * z.shape[1])

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        """Return D · value + (D/2) log 2πe, less the bias of a Wishart log-determinant.

        The bias, ½ [ Σ_{i=1..D} ψ((B − i)/2) + D log(2 / (B − 1)) ], is that of Gaussian samples
        and is only defined for B > D; with fewer samples it is left out and the ridge dominates.
        On the sphere the result is an upper bound in the surrounding space.
        """
        stacked = dim * num_views
        nats = stacked * value + 0.5 * stacked * math.log(2.0 * math.pi * math.e)
        if num_samples <= stacked:
            return nats
        halves = (num_samples - torch.arange(1, stacked + 1, dtype=torch.float64)) / 2.0
        log_scale = stacked * math.log(2.0 / (num_samples - 1))
        return nats - 0.5 * (torch.digamma(halves).sum().item() + log_scale)


class LogDetExpansionEntropy(EntropyEstimator):
    """The log-determinant expanded to second order about the diagonal of the covariance.

    H = (1/2D) [ Σ_d log v_d − ½ Σ_{a≠b} corr_ab² ], v_d = Cov_dd + ε and
    corr_ab = Cov_ab / √(v_a v_b): variances up, correlations down, no factorisation.

    Args:
        support: "plane" or "sphere".
        ridge: ε, in squared units of z.

    Raises:
        ValueError: ε is not above zero; fewer than two samples.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517, with the second-order term of
        log det(I + A) = tr A − ½ tr A² + …; docs/deviations.md says how the authors' code differs.
    """

    @checked
    def __init__(self, support: Support = "plane", ridge: Positive = 1e-6) -> None:
        super().__init__(support)
        self.ridge = ridge

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return the value of samples (B, D) as a scalar; see the class for the equation."""
        root = scatter_root(z)
        variance = root.square().sum(dim=0)
        correlations = sum_of_squares_off_diagonal(root * (variance + self.ridge).rsqrt())
        log_det = torch.log(variance + self.ridge).sum() - 0.5 * correlations
        return log_det / (2.0 * z.shape[1])

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        """Return D · value + (D/2) log 2πe: the Gaussian entropy, to second order in correlations.

        The spurious correlations of B samples lower it by D(D − 1) / (4 (B − 1)) on average.
        """
        stacked = dim * num_views
        return stacked * value + 0.5 * stacked * math.log(2.0 * math.pi * math.e)


def scatter_root(z: Tensor) -> Tensor:
    """Return X = (Z − mean) / √(B − 1) of samples (B, D): XᵀX is their covariance."""
    return (z - z.mean(dim=0)) / math.sqrt(z.shape[0] - 1)


def sum_of_squares_off_diagonal(x: Tensor) -> Tensor:
    """Return Σ_{a≠b} (XᵀX)_ab² of `x` (B, D), from the smaller Gram matrix."""
    return small_gram(x).square().sum() - x.square().sum(dim=0).square().sum()


def log_det_ridge(x: Tensor, ridge: float) -> Tensor:
    """Return log det(XᵀX + ε I_D) of `x` (B, D) by Cholesky of the smaller Gram matrix.

    Args:
        x: (B, D), in statistics precision (see `solo_ldm.numerics.widen`).
        ridge: ε > 0, in squared units of x. A 1e-12th of the trace is added to it.

    Returns:
        A scalar, finite for every finite x whose squares are representable.
    """
    gram = small_gram(x)
    size, dim = gram.shape[0], x.shape[1]
    epsilon = ridge + _RELATIVE_RIDGE * gram.diagonal().sum()
    log_det: Tensor = _LogDet.apply(gram + torch.diag_embed(epsilon.expand(size)))  # pyright: ignore
    return log_det + (dim - size) * torch.log(epsilon)


class _LogDet(torch.autograd.Function):
    """log det A of a positive definite matrix; its gradient is A⁻¹, from the Cholesky factor.

    The general adjoint of a factorisation costs six times as much.
    """

    @staticmethod
    def forward(ctx, matrix: Tensor) -> Tensor:
        factor = torch.linalg.cholesky(matrix)
        ctx.save_for_backward(factor)
        return 2.0 * factor.diagonal().log().sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor) -> Tensor:  # pyright: ignore
        (factor,) = ctx.saved_tensors
        if factor.device.type in _WITHOUT_INVERSE:
            identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
            root = torch.linalg.solve_triangular(factor, identity, upper=False)
            return (root.T @ root).mul_(grad_outputs[0])
        return torch.cholesky_inverse(factor).mul_(grad_outputs[0])
