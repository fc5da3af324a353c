"""DirectPred: a linear predictor that is computed from the latents rather than learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solo_ldm.numerics import widen


class DirectPredictor(nn.Module):
    """W z with W a function of the moving average of the latents' correlation matrix.

    F ← ρ F + (1 − ρ) (1/B) Σ_i z_i z_iᵀ,   F = U diag(s) Uᵀ
    W = U diag(p) Uᵀ,   p_j = √(s_j / max s) + ε

    Directions of much variance pass, the others are shrunk: where a learned linear predictor would
    arrive. F moves with each batch of latents in training mode, before it is used, so twice a step
    with two crops; no gradient goes through W. There is nothing to learn: F and W are buffers. The
    method predicts from the latents of all processes, so that all hold the same F.

    The paper writes p_j = √s_j + ε max s; dividing by the largest s first, as its code does, makes
    W independent of the scale of the latents.

    An eigen-decomposition a crop takes a few milliseconds for 128 dimensions, a second for 2048.

    Args:
        dim: D.
        momentum: ρ, share of itself that F keeps, in [0, 1).
        ridge: ε, at least 0, relative to the largest p.

    Raises:
        ValueError: ρ or ε out of range.

    Source:
        Tian et al., Understanding Self-Supervised Learning Dynamics without Contrastive Pairs,
        arXiv 2102.06810, equations 18 and 19; settings of the authors' code for STL-10.
    """

    correlation: Tensor
    weight: Tensor

    def __init__(self, dim: int, momentum: float = 0.3, ridge: float = 0.01) -> None:
        super().__init__()
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"direct_momentum must be at least 0 and below 1, got {momentum}")
        if ridge < 0.0:
            raise ValueError(f"direct_ridge must be at least 0, got {ridge}")
        self.momentum, self.ridge = float(momentum), float(ridge)
        # W does not depend on the scale of F: starting from zero is no bias towards zero.
        self.register_buffer("correlation", torch.zeros(dim, dim))
        self.register_buffer("weight", torch.eye(dim))

    def forward(self, z: Tensor) -> Tensor:
        """Return W z of latents (B, D); in training mode after taking them into F."""
        if self.training:
            self._observe(z.detach())
        # A copy: W moves with the next view, before gradients of this one are taken.
        return z @ self.weight.to(z.dtype, copy=True)

    @torch.no_grad()
    def _observe(self, z: Tensor) -> None:
        with torch.autocast(z.device.type, enabled=False):
            wide = widen(z)
            # Latents that are not finite are for the loss to report.
            moment = (wide.T @ wide / len(wide)).nan_to_num(0.0, 0.0, 0.0)
            self.correlation.copy_(widen(self.correlation).lerp(moment, 1.0 - self.momentum))
            variances, directions = torch.linalg.eigh(widen(self.correlation))
            largest = variances[-1].clamp_min(torch.finfo(variances.dtype).tiny)
            passed = (variances.clamp_min(0.0) / largest).sqrt() + self.ridge
            self.weight.copy_((directions * passed) @ directions.T)

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        return f"dim={len(self.weight)}, momentum={self.momentum}, ridge={self.ridge}"
