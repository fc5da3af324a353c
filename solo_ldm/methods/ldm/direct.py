"""DirectPred: a linear predictor that is computed from the latents rather than learned."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from solo_ldm.config.arguments import Bounds, NonNegative, checked
from solo_ldm.numerics import widen


class DirectPredictor(nn.Module):
    """W z with W a function of the moving average of the latents' correlation matrix.

    F ← ρ F + (1 − ρ) (1/B) Σ_i z_i z_iᵀ,   F = U diag(s) Uᵀ
    W = U diag(p) Uᵀ,   p_j = √(s_j / max s) + ε

    Directions of large variance pass and the others are shrunk, which is what a learned linear
    predictor converges to. In training mode F is updated with each batch of latents before W is
    used, so twice a step with two crops; no gradient goes through W. There is nothing to learn: F
    and W are buffers. The method predicts from the latents of all processes, which thus share F.

    The paper writes p_j = √s_j + ε max s; dividing by the largest s first, as its code does, makes
    W independent of the scale of the latents.

    The eigen-decomposition of each crop takes a few milliseconds for 128 dimensions, a second for
    2048.

    Args:
        dim: D.
        momentum: ρ, the weight of the past in the average, in [0, 1).
        ridge: ε, at least 0, relative to the largest p.

    Raises:
        ValueError: ρ or ε out of range.

    Source:
        Tian et al., Understanding Self-Supervised Learning Dynamics without Contrastive Pairs,
        arXiv 2102.06810, equations 18 and 19; settings of the authors' code for STL-10.
    """

    correlation: Tensor
    weight: Tensor

    @checked
    def __init__(
        self,
        dim: int,
        momentum: Annotated[float, Bounds(0, below=1)] = 0.3,
        ridge: NonNegative = 0.01,
    ) -> None:
        super().__init__()
        self.momentum, self.ridge = float(momentum), float(ridge)
        # W does not depend on the scale of F: starting from zero is no bias towards zero.
        self.register_buffer("correlation", torch.zeros(dim, dim))
        self.register_buffer("weight", torch.eye(dim))

    def forward(self, z: Tensor) -> Tensor:
        """Return W z of latents (B, D), which update F first in training mode."""
        if self.training:
            self._observe(z)
        # A copy: W moves with the next view, before gradients of this one are taken.
        return z @ self.weight.to(z.dtype, copy=True)

    @torch.no_grad()
    def _observe(self, z: Tensor) -> None:
        with torch.autocast(z.device.type, enabled=False):
            wide = widen(z)
            # The loss reports latents that are not finite; F must survive them.
            moment = (wide.T @ wide / len(wide)).nan_to_num(0.0, 0.0, 0.0)
            self.correlation.copy_(widen(self.correlation).lerp(moment, 1.0 - self.momentum))
            variances, directions = torch.linalg.eigh(widen(self.correlation))
            largest = variances[-1].clamp_min(torch.finfo(variances.dtype).tiny)
            passed = (variances.clamp_min(0.0) / largest).sqrt() + self.ridge
            self.weight.copy_((directions * passed) @ directions.T)

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        return f"dim={len(self.weight)}, momentum={self.momentum}, ridge={self.ridge}"
