"""Nearest-neighbour estimates of entropy."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from solo_ldm.config.arguments import Bounds, Count, checked
from solo_ldm.distributed import joined, own_rows
from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.latents.base import Support
from solo_ldm.pairs import row_blocks, squared_distances

# Added to every distance by the authors' code.
_FLOOR = 1e-8


class NeighbourEntropy(EntropyEstimator):
    """Kozachenko–Leonenko entropy from the distance to the k-th nearest other sample.

    H = (1/B) Σ_i log( min(ρ_k(i), q) + 1e-8 ), with ρ_k(i) = ‖z_i − z_{k-th neighbour of i}‖_p and
    q a quantile of ρ_k that is not differentiated. Samples already far from the rest are thereby
    not pushed further.

    Neighbours are searched for without gradients; only the B distances found are differentiated,
    each as a plain difference, so near-duplicates keep their digits.

    Args:
        support: "plane" or "sphere"; matters for the unit of `to_nats` alone.
        num_neighbours: k ≥ 1; 3 in the paper.
        norm: p ≥ 1 of the distance; 2 (Euclidean) in the paper.
        clip_quantile: which quantile q is, in (0, 1]; 0.9 in the paper, 1 for no clipping.

    Raises:
        ValueError: a setting out of its range; fewer than k + 1 samples.

    Source:
        Kozachenko & Leonenko (1987); Kraskov et al., arXiv cond-mat/0305641;
        Mikulasch & Zenke, arXiv 2605.03517.
    """

    remedy = "raise optimizer.batch_size or lower num_neighbours"

    @checked
    def __init__(
        self,
        support: Support = "plane",
        num_neighbours: Count = 3,
        norm: Annotated[float, Bounds(1, also=math.inf)] = 2.0,
        clip_quantile: Annotated[float, Bounds(above=0, high=1)] = 0.9,
    ) -> None:
        super().__init__(support)
        self.num_neighbours, self.norm = num_neighbours, norm
        self.clip_quantile = clip_quantile

    @property
    def fewest_samples(self) -> int:
        """k + 1: each sample needs k others."""
        return self.num_neighbours + 1

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return the value of samples (B, D) as a scalar; see the class for the equation."""
        # Duplicates have distance 0, of which torch's gradient is 0.
        own = z[own_rows(len(z))]
        distance = joined((own - z[self._kth_neighbours(z)]).norm(p=self.norm, dim=1))
        if self.clip_quantile < 1.0:
            bound = torch.quantile(distance.detach(), self.clip_quantile)
            distance = distance.clamp(max=bound)
        return torch.log(distance + _FLOOR).mean()

    @torch.no_grad()
    def _kth_neighbours(self, z: Tensor) -> Tensor:
        """Return the index of the k-th neighbour of each of this process's samples."""
        centred, found = z - z.mean(dim=0), []
        own, norm = own_rows(len(z)), centred.square().sum(dim=1)
        blocks = list(row_blocks(own, len(z), z.element_size()))
        work = z.new_empty(blocks[0].stop - own.start, len(z))
        for rows in blocks:
            if self.norm == 2.0:
                into = work[: rows.stop - rows.start]
                distances = squared_distances(centred, rows, norm, into)
            else:
                distances = torch.cdist(centred[rows], centred, p=self.norm)
            distances.diagonal(rows.start).fill_(math.inf)
            found.append(distances.topk(self.num_neighbours, dim=1, largest=False).indices[:, -1])
        return torch.cat(found)

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        """Return ψ(B) − ψ(k) + log V + m · value, V the volume of the unit p-ball in ℝᵐ.

        m is the dimension of the support: D on the plane, D − 1 on the sphere, twice that for a
        joint value. On the sphere the chord stands for the arc, which is exact as B grows. A
        clip_quantile below 1 makes the estimate an underestimate in the tails.
        """
        m = num_views * (dim if self.support == "plane" else dim - 1)
        p = self.norm
        log_ball = m * math.log(2.0 * math.gamma(1.0 + 1.0 / p)) - math.lgamma(1.0 + m / p)
        counts = torch.tensor([num_samples, self.num_neighbours], dtype=torch.float64)
        psi_samples, psi_neighbours = torch.digamma(counts).tolist()
        return m * value + (psi_samples - psi_neighbours + log_ball)
