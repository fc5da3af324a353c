"""Whitening as the last layer of a projector: outputs of zero mean and unit covariance."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, autocast, nn

from solo_ldm.config.arguments import Bounds, Positive, checked
from solo_ldm.distributed import by_rows, gather
from solo_ldm.numerics import narrow, widen
from solo_ldm.pairs import gram


class Whitening(nn.Module):
    """Batch normalisation of the whole covariance rather than of the variances.

    y = L⁻¹ (h − m),   L Lᵀ = C + ε tr(C)/D · I

    In training m and C are the mean and the covariance (divisor B − 1) of the batch, over all
    processes, and gradients pass through both. In evaluation they are running averages,
    m̄ ← (1 − α) m̄ + α m and C̄ likewise. The ridge keeps directions of almost no variance from being
    amplified: an eigenvalue of C of v times the mean variance becomes v / (v + ε) in Cov(y).

    Among Gaussians of given variances the one without correlations has the largest entropy. Unit
    covariance is thus a constraint that replaces the log-determinant entropy: outputs cannot
    collapse into few dimensions.

    Args:
        dim: D.
        ridge: ε > 0, a share of the mean variance.
        momentum: α in (0, 1].

    Raises:
        ValueError: ε or α out of its range.

    Source:
        Huang et al., Decorrelated Batch Normalization, arXiv 1804.08450 (running averages);
        Ermolov et al., arXiv 2007.06346 (Cholesky in place of a square root).
    """

    mean: Tensor
    covariance: Tensor

    @checked
    def __init__(
        self,
        dim: int,
        ridge: Positive = 1e-3,
        momentum: Annotated[float, Bounds(above=0, high=1)] = 0.1,
    ) -> None:
        super().__init__()
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
            # For outputs that are all alike; large enough for a finite inverse in float32.
            ridge = ridge.clamp_min(1e-24)
            factor = torch.linalg.cholesky(covariance + torch.diag_embed(ridge.expand(self.dim)))
            white = torch.linalg.solve_triangular(factor, (rows - mean).T, upper=False).T
            return narrow(white, h)

    def _moments(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (D,) and covariance (D, D) over all processes; update the averages."""
        rows = gather(rows)
        if len(rows) <= self.dim:
            raise ValueError(
                f"optimizer.batch_size: expected more than {self.dim} samples to whiten as many "
                f"dimensions, got {len(rows)}; raise it, or lower method_kwargs.proj_output_dim"
            )
        mean = rows.mean(dim=0)
        centred = rows - mean
        with by_rows():
            covariance = gram(centred, centred) / (len(rows) - 1)
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean), self.momentum)
            self.covariance.lerp_(covariance.to(self.covariance), self.momentum)
        return mean, covariance

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        return f"{self.dim}, ridge={self.ridge}, momentum={self.momentum}"
