"""How well an affine map of the latents recovers the sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LinearRegression
from torch import Tensor


@dataclass(frozen=True)
class Recovery:
    """The best affine map from latents to sources, and its score on held-out samples.

    Args:
        r2: coefficient of determination over all sources, 1 − Σ(s − ŝ)² / Σ(s − s̄)².
        per_source: that of each.
        squares: the two sums of each source, (2, d).
        matrix: ŝ = z · matrix + offset; (D, d).
        offset: (d,).
    """

    r2: float
    per_source: tuple[float, ...]
    squares: np.ndarray
    matrix: np.ndarray
    offset: np.ndarray

    def over(self, sources: Sequence[int]) -> float:
        """Return R² over some of the sources, at least one."""
        left, total = self.squares[:, list(sources)].sum(axis=1)
        return float(1.0 - left / total)

    def align(self, latents: Tensor) -> np.ndarray:
        """Map latents (B, D) to sources (B, d)."""
        return latents.detach().cpu().double().numpy() @ self.matrix + self.offset


def affine_recovery(latents: Tensor, sources: Tensor) -> Recovery:
    """Regress the sources on the latents on one half of the samples, and score on the other.

    R² is 1 where the latents are an invertible affine map of the sources, and is invariant under
    such maps of the latents.

    Args:
        latents: z (B, D), finite.
        sources: s (B, d).

    Raises:
        ValueError: numbers of samples that differ, too few of them, or latents that are not finite.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517: identifiability up to an affine map.
    """
    z, s = (part.detach().cpu().double().numpy() for part in (latents, sources))
    half = len(s) // 2
    if z.ndim != 2 or s.ndim != 2 or len(z) != len(s) or half <= z.shape[1] + 1:
        raise ValueError(
            f"latents and sources: expected (B, D) and (B, d) of more than {2 * z.shape[-1] + 2} "
            f"samples, got {z.shape} and {s.shape}"
        )
    if not np.isfinite(z).all():
        raise ValueError("latents: expected finite numbers; the training diverged: lower lr")
    scale = np.maximum(z[:half].std(axis=0), 1e-12)
    fit = LinearRegression().fit(z[:half] / scale, s[:half])
    matrix, offset = fit.coef_.T / scale[:, None], np.asarray(fit.intercept_)
    known = s[half:]
    left = np.square(known - z[half:] @ matrix - offset).sum(axis=0)
    total = np.square(known - known.mean(axis=0)).sum(axis=0)
    per_source = tuple((1.0 - left / total).tolist())
    overall = float(1.0 - left.sum() / total.sum())
    return Recovery(overall, per_source, np.stack([left, total]), matrix, offset)
