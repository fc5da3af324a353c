"""Views that share a prototype: mixtures that are fitted apart from the encoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, autocast
from torch.nn.functional import normalize

from solo_ldm.config.arguments import Bounds, Positive, checked
from solo_ldm.latents.base import LatentModel
from solo_ldm.latents.views import pairs_of_views
from solo_ldm.numerics import check_pair, narrow, widen

# Of the first batch's root mean square: prototypes begin at latents, no two at the same place.
_JITTER = 0.1


class _Prototypes(LatentModel):
    """Two views are drawn independently from one component of a mixture.

    log p(z1, z2) = log Σ_k π_k f_k(z1) f_k(z2)
                  = log p(z1) + log p(z2) + log Σ_k r_k(z1) r_k(z2) / π_k

    with p(z) = Σ_k π_k f_k(z) and r_k(z) = π_k f_k(z) / p(z): the densities of the views and the
    information that their assignments share. With the densities of both belong the entropies of
    both: an entropy that is the mean of the views' has the weight 2. With 1 the latents fall on one
    prototype. π and the prototypes μ are no parameters. Each step
    `observe` fits p to the latents of all views by online expectation maximisation, with moving
    averages of its sufficient statistics,

    N_k ← m N_k + (1 − m) mean_i r_k(z_i),   S_k ← m S_k + (1 − m) mean_i r_k(z_i) z_i,
    π_k = N_k / Σ N,   μ_k = S_k / N_k

    so that the loss of the encoder cannot move prototypes together.
    """

    weights: Tensor
    sums: Tensor
    observed: Tensor

    @checked
    def __init__(
        self,
        prediction_precision: Positive,
        num_prototypes: Annotated[int, Bounds(2)],
        prototype_momentum: Annotated[float, Bounds(0, below=1)],
    ) -> None:
        super().__init__()
        self.prediction_precision = prediction_precision
        self.num_prototypes, self.prototype_momentum = num_prototypes, prototype_momentum
        self.allocate(0)

    def allocate(self, dim: int) -> None:
        """Make the statistics of latents of `dim` dimensions: equal weights, random places."""
        count = self.num_prototypes
        places = torch.randn(count, dim, generator=torch.Generator().manual_seed(0))
        self.register_buffer("weights", torch.full((count,), 1.0 / count))
        self.register_buffer("sums", places / count)
        self.register_buffer("observed", torch.zeros(()))

    @torch.no_grad()
    def observe(self, views: Sequence[Tensor]) -> None:
        """Take a step of online expectation maximisation on the latents of all views.

        Args:
            views: latents of each view (B, D), of all processes.
        """
        with autocast(views[0].device.type, enabled=False):
            # The loss reports latents that are not finite; prototypes must survive them.
            z = widen(torch.cat(list(views))).nan_to_num(0.0, 0.0, 0.0)
            self._fit_buffers(z)
            started, weights, sums = self.observed > 0, widen(self.weights), widen(self.sums)
            rows = torch.arange(self.num_prototypes, device=z.device) * len(z)
            size = _JITTER * z.square().mean().sqrt()
            begun = z[rows // self.num_prototypes % len(z)] + size * sums * self.num_prototypes
            sums = torch.where(started, sums, begun / self.num_prototypes)
            shares = self._log_joint(z, weights, sums).softmax(dim=1)
            past = self.prototype_momentum * started
            self.weights.copy_(past * weights + (1.0 - past) * shares.mean(dim=0))
            self.sums.copy_(past * sums + (1.0 - past) * (shares.T @ z / len(z)))
            self.observed.fill_(1.0)

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return log Σ_k π_k f_k(z1) f_k(z2) of each pair of latents, both (B, D).

        Returns:
            (B,), in nats up to the constants of f.

        Raises:
            ValueError: the shapes differ.
        """
        check_pair(z1, z2)
        log_weights, (s1, s2) = self._scores([z1, z2])
        return narrow((log_weights + s1 + s2).logsumexp(dim=1), z1)

    def mean_log_prob(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], num_large: int
    ) -> Tensor:
        """Return the mean over samples and pairs of views, each of which is scored once."""
        for other in (*predictions, *targets):
            check_pair(targets[0], other)
        log_weights, t = self._scores(targets)
        p = t if predictions is targets else self._scores(predictions)[1]
        pairs = pairs_of_views(len(t), num_large)
        pairs = pairs if p is t else [*pairs, *((j, i) for i, j in pairs)]
        values = [(log_weights + p[i] + t[j]).logsumexp(dim=1).mean() for i, j in pairs]
        return narrow(torch.stack(values).mean(), targets[0])

    @torch.no_grad()
    def health(self, z: Tensor) -> dict[str, float]:
        """Return how many prototypes latents (B, D) are assigned to.

        "prototypes_in_use" is the perplexity exp(−Σ_k q_k log q_k) of q = mean_i r(z_i), 1 to K.
        """
        log_weights, (scores,) = self._scores([z])
        shares = (log_weights + scores).softmax(dim=1).mean(dim=0)
        return {"prototypes_in_use": float(torch.special.entr(shares).sum().exp())}

    def _scores(self, views: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return log π (K,), and log f of each view (B, K)."""
        with autocast(views[0].device.type, enabled=False):
            self._fit_buffers(views[0])
            weights, sums = widen(self.weights), widen(self.sums)
            means = _means(weights, sums)
            return _log_weights(weights), [self._log_density(widen(z), means) for z in views]

    def _log_joint(self, z: Tensor, weights: Tensor, sums: Tensor) -> Tensor:
        return _log_weights(weights) + self._log_density(z, _means(weights, sums))

    def _fit_buffers(self, z: Tensor) -> None:
        if self.sums.shape[1] == 0:
            dtype = self.sums.dtype
            self.allocate(z.shape[1])
            self.to(z.device, dtype)

    @abstractmethod
    def _log_density(self, z: Tensor, means: Tensor) -> Tensor:
        """Return log f_k(z) (B, K), constants dropped, of latents (B, D) and μ (K, D)."""


class SpherePrototypes(_Prototypes):
    """Two views on the sphere are drawn from one of K von Mises–Fisher distributions.

    f_k(z) = exp(κ μ_kᵀz), ‖μ_k‖ = 1, constants dropped; see the module for what is fitted how:
    log p(z1, z2) = log Σ_k π_k f_k(z1) f_k(z2), π and μ by online expectation maximisation.

    Args:
        prediction_precision: κ, dimensionless.
        num_prototypes: K; of one alone both views would be drawn independently.
        prototype_momentum: m, the weight of the past in the statistics, in [0, 1).

    Raises:
        ValueError: κ is not above zero, K is below 2, m out of its range.

    Source:
        Arteaga et al., Why Prototypes Collapse, arXiv 2510.20108 (a Gaussian mixture by online EM,
        apart from the encoder, on the outputs of a teacher); Cappé & Moulines, arXiv 0712.4273
        (online EM); Banerjee et al., Clustering on the Unit Hypersphere, JMLR 6 (2005).
    """

    support = "sphere"

    @checked
    def __init__(
        self,
        prediction_precision: Positive = 10.0,
        num_prototypes: Annotated[int, Bounds(2)] = 32,
        prototype_momentum: Annotated[float, Bounds(0, below=1)] = 0.99,
    ) -> None:
        super().__init__(prediction_precision, num_prototypes, prototype_momentum)

    def project(self, h: Tensor) -> Tensor:
        """Return h / ‖h‖ for each row of `h` (B, D); zero vectors stay zero."""
        return narrow(normalize(widen(h)), h)

    def _log_density(self, z: Tensor, means: Tensor) -> Tensor:
        return self.prediction_precision * (z @ normalize(means).T)


class PlanePrototypes(_Prototypes):
    """Two views on the plane are drawn from one of K Gaussians.

    f_k(z) = exp(−λ mean_d (z_d − μ_kd)²), a Gaussian of variance D / (2λ), constants dropped;
    log p(z1, z2) = log Σ_k π_k f_k(z1) f_k(z2), π and μ by online expectation maximisation.

    Args:
        prediction_precision: λ, dimensionless.
        num_prototypes: K; of one alone both views would be drawn independently.
        prototype_momentum: m, the weight of the past in the statistics, in [0, 1).

    Raises:
        ValueError: λ is not above zero, K is below 2, m out of its range.

    Source:
        As of `SpherePrototypes`.
    """

    support = "plane"

    @checked
    def __init__(
        self,
        prediction_precision: Positive = 5.0,
        num_prototypes: Annotated[int, Bounds(2)] = 32,
        prototype_momentum: Annotated[float, Bounds(0, below=1)] = 0.99,
    ) -> None:
        super().__init__(prediction_precision, num_prototypes, prototype_momentum)

    def _log_density(self, z: Tensor, means: Tensor) -> Tensor:
        squares = z.square().sum(dim=1)[:, None] + means.square().sum(dim=1) - 2.0 * z @ means.T
        return -self.prediction_precision / z.shape[1] * squares


def _means(weights: Tensor, sums: Tensor) -> Tensor:
    return sums / weights.clamp_min(1e-30)[:, None]


def _log_weights(weights: Tensor) -> Tensor:
    return (weights / weights.sum()).clamp_min(1e-30).log()
