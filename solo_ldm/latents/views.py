"""Means over all pairs of many views, at a cost that is linear in their number.

Each pair has at least one large view: L of V views are large, and come first. A large view has
V − 1 partners, a small one L.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from solo_ldm.numerics import check_pair, widen


def pairs_of_views(count: int, num_large: int) -> list[tuple[int, int]]:
    """Return the pairs (i, j) with i < j and i large.

    Args:
        count: V.
        num_large: L.
    """
    return [(i, j) for i in range(num_large) for j in range(i + 1, count)]


def shares_of_views(count: int, num_large: int) -> list[float]:
    """Return the share of the pairs that each view is in; they add up to 2.

    Args:
        count: V.
        num_large: L.
    """
    pairs = len(pairs_of_views(count, num_large))
    return [(count - 1 if i < num_large else num_large) / pairs for i in range(count)]


def stacked(views: Sequence[Tensor]) -> Tensor:
    """Return views (B, D) as one tensor (V, B, D), in the precision of statistics.

    Raises:
        ValueError: the shapes differ.
    """
    for other in views:
        check_pair(views[0], other)
    return widen(torch.stack(list(views)))


def mean_product(predictions: Tensor, targets: Tensor, num_large: int) -> Tensor:
    """Return the mean of p_iᵀt_j over samples and pairs of views, in both directions.

    Σ_{i≠j} p_iᵀt_j over pairs with a large view is s_Lᵀu + s_Sᵀu_L − Σ_{i≤L} p_iᵀt_i, with s and u
    the sums of p and t over large (L), small (S) or all views. With p = t = z, all of them large,
    it is ‖Σ z_i‖² − Σ ‖z_i‖².

    Args:
        predictions: p (V, B, D), wide (see `solo_ldm.numerics.widen`).
        targets: t (V, B, D).
        num_large: L.
    """
    large, small = predictions[:num_large], predictions[num_large:]
    of_large = targets[:num_large]
    total = (large.sum(dim=0) * targets.sum(dim=0)).sum() - (large * of_large).sum()
    if len(small):
        total = total + (small.sum(dim=0) * of_large.sum(dim=0)).sum()
    count, batch = targets.shape[:2]
    return total / (2 * len(pairs_of_views(count, num_large)) * batch)


def mean_square(predictions: Tensor, targets: Tensor, num_large: int) -> Tensor:
    """Return the mean of ‖p_i − t_j‖² over samples and pairs of views, in both directions.

    ‖p_i − t_j‖² = ‖p_i − c‖² + ‖t_j − c‖² − 2 (p_i − c)ᵀ(t_j − c), c the mean target of the sample,
    which keeps the digits. With p = t = z, all of them large, the sum over pairs is
    V Σ_i ‖z_i − c‖².

    Args:
        predictions: p (V, B, D), wide (see `solo_ldm.numerics.widen`).
        targets: t (V, B, D).
        num_large: L.
    """
    centre = targets.detach().mean(dim=0)
    p, t = predictions - centre, targets - centre
    shares = shares_of_views(len(t), num_large)
    squares = p.square() + t.square()
    total = shares[0] * squares[:num_large].sum() + shares[-1] * squares[num_large:].sum()
    return total / (2 * t.shape[1]) - 2.0 * mean_product(p, t, num_large)
