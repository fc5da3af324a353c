"""Outputs of a network with zero mean and unit covariance: the last layer of a projector."""

from __future__ import annotations

import torch
from torch import Tensor, autocast, nn

from solo_ldm.distributed import gather
from solo_ldm.numerics import narrow, widen


class Whitening(nn.Module):
    """What batch normalisation does to variances, done to the whole covariance.

    y = L⁻¹ (h − m),   L Lᵀ = C + ε tr(C)/D · I

    In training m and C are those of the batch, of all processes together, and gradients pass
    through both; C has divisor B − 1. In evaluation they are averages over training,
    m̄ ← (1 − α) m̄ + α m and C̄ likewise. The ridge keeps a direction with next to no variance from
    being blown up to the size of the others: to an eigenvalue of C of v times the mean variance
    belongs one of Cov(y) of v / (v + ε).

    Unit covariance is the largest entropy that a Gaussian of these variances has, so that it is a
    constraint in place of the log-determinant entropy: outputs cannot fall into few dimensions.

    Args:
        dim: D.
        ridge: ε > 0, a share of the mean variance.
        momentum: α in (0, 1].

    Raises:
        ValueError: ε or α out of its range.

    Source:
        Huang et al., Decorrelated Batch Normalization, arXiv 1804.08450, for the averages in
        evaluation; Ermolov et al., arXiv 2007.06346, for Cholesky in place of a square root.
    """

    mean: Tensor
    covariance: Tensor

    def __init__(self, dim: int, ridge: float = 1e-3, momentum: float = 0.1) -> None:
        super().__init__()
        if not ridge > 0.0:
            raise ValueError(f"ridge must be above 0, got {ridge}")
        if not 0.0 < momentum <= 1.0:
            raise ValueError(f"momentum must lie above 0 and at most at 1, got {momentum}")
        self.dim, self.ridge, self.momentum = dim, float(ridge), float(momentum)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("covariance", torch.eye(dim))

    def forward(self, h: Tensor) -> Tensor:
        """Return whitened `h` (B, D), float32 or wider.

        Raises:
            ValueError: in training, no more samples than dimensions.
        """
        with autocast(h.device.type, enabled=False):
            rows = widen(h)
            if self.training:
                mean, covariance = self._moments(rows)
            else:
                mean, covariance = self.mean.to(rows), self.covariance.to(rows)
            ridge = self.ridge * covariance.diagonal().mean()
            # The smallest number above zero that a float holds would do for outputs that are all
            # alike; this keeps the inverse of the factor finite in float32.
            ridge = ridge.clamp_min(1e-24)
            factor = torch.linalg.cholesky(covariance + torch.diag_embed(ridge.expand(self.dim)))
            white = torch.linalg.solve_triangular(factor, (rows - mean).T, upper=False).T
            return narrow(white, h)

    def _moments(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (D,) and covariance (D, D) of all processes' samples, and note them."""
        rows = gather(rows)
        if len(rows) <= self.dim:
            raise ValueError(
                f"whitening {self.dim} dimensions needs more samples than that, got a batch of "
                f"{len(rows)}: raise optimizer.batch_size or lower method_kwargs.proj_output_dim"
            )
        mean = rows.mean(dim=0)
        centred = rows - mean
        covariance = centred.T @ centred / (len(rows) - 1)
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean), self.momentum)
            self.covariance.lerp_(covariance.to(self.covariance), self.momentum)
        return mean, covariance

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        return f"{self.dim}, ridge={self.ridge}, momentum={self.momentum}"
