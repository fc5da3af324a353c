"""Kernel density estimates of entropy: the uniformity term of contrastive learning."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from solo_ldm.config.arguments import Bounds, NonNegative, Positive, checked
from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.latents.base import Support
from solo_ldm.pairs import mean_log_kernel_sum, reduced_kernels
from solo_ldm.similar import Similar, threshold_of, weigh

# Added to every sum of kernels on the plane by the authors' code.
_FLOOR = 1e-8


class KernelEntropy(EntropyEstimator):
    """Resubstitution entropy of a kernel density estimate.

    plane:   H = −(1/B) Σ_i log( Σ_j exp(−β · mean_d (z_i − z_j)²) + 1e-8 )
    sphere:  H = −(1/B) Σ_i log Σ_j exp(β · z_iᵀz_j)

    The sums include j = i and omit 1/B; `leave_one_out` takes j = i (and the 1e-8) out of them.
    On the sphere with β = κ = 1/temperature, over="pooled" and `leave_one_out`, −log p − H is
    SimCLR's NT-Xent. With over="cross" kernels at the samples of one view are centred at those of
    the other, and j = i is the sample's own partner: at a weight of ½, −log p − H is CLIP's loss.

    Samples that are most similar to i may be of its class, and difficult to tell apart: of the
    others, the `similar_share` whose kernels at i are the largest have them multiplied by
    `similar_weight`. 0 removes them, exp(−β m) adds a margin of m to their (squared) distance or
    takes it from their cosine, and 1 is the plain estimator. In a pooled entropy the other view of
    i is among the others, and the first to go.

    Args:
        support: "plane" (Gaussian kernel) or "sphere" (von Mises–Fisher kernel).
        kernel_precision: β, dimensionless; 5 in the paper.
        leave_one_out: estimate the density at a sample from the other samples alone.
        similar_share: share of the other samples that count as similar, in [0, 1); at least one
            other sample is not.
        similar_weight: factor of their kernels, at least 0.

    Raises:
        ValueError: β is not above zero; a share or a factor out of its range; fewer than two
            samples.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517; Wang & Isola, arXiv 2005.10242; leave-one-out:
        Chen et al., SimCLR, arXiv 2002.05709, equation 1; of one modality under the other: Radford
        et al., CLIP, arXiv 2103.00020, figure 3; similar samples: Zhang et al., Difficult Examples
        Hurt Unsupervised Contrastive Learning, arXiv 2501.01317, who remove samples or set margins
        and temperatures by similarity.
    """

    crosses = has_kernel = True

    @checked
    def __init__(
        self,
        support: Support = "plane",
        kernel_precision: Positive = 5.0,
        leave_one_out: bool = False,
        similar_share: Annotated[float, Bounds(0, below=1)] = 0.0,
        similar_weight: NonNegative = 0.0,
    ) -> None:
        super().__init__(support)
        self.similar_share, self.similar_weight = similar_share, similar_weight
        self.kernel_precision = kernel_precision
        self.leave_one_out = leave_one_out

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return the value of samples (B, D) as a scalar; see the class for the equation."""
        gaussian = self.support == "plane"
        precision = self.kernel_precision / z.shape[1] if gaussian else self.kernel_precision
        floor = _FLOOR if gaussian and not self.leave_one_out else 0.0
        how = precision, gaussian, self.leave_one_out, floor, self._similar(len(z))
        return -mean_log_kernel_sum(z, *how)

    def estimate_cross(self, z: Tensor, centres: Tensor) -> Tensor:
        """Return −(1/B) Σ_i log Σ_j K(z_i, centre_j), without j = i if `leave_one_out`."""
        gaussian = self.support == "plane"
        precision = self.kernel_precision / z.shape[1] if gaussian else self.kernel_precision

        similar = self._similar(len(z))

        def log_sums(exponents: Tensor, start: int) -> Tensor:
            if similar is not None:
                threshold = threshold_of(exponents.detach(), start, similar.number)
                exponents = exponents.clone()
                weigh(exponents, exponents.detach(), threshold[:, None], start, similar.weight)
            if self.leave_one_out:
                own = torch.zeros_like(exponents, dtype=torch.bool)
                own.diagonal(start).fill_(True)
                exponents = exponents.masked_fill(own, -torch.inf)
            return torch.logsumexp(exponents, dim=1)

        return -reduced_kernels(z, centres, precision, gaussian, log_sums).mean()

    def _similar(self, num_samples: int) -> Similar | None:
        """Return the pairs that count otherwise, None if there are none."""
        count = 0 if self.similar_weight == 1 else int(self.similar_share * (num_samples - 1))
        return Similar(count, self.similar_weight) if count else None

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        """Add log of the number of kernels and their log-normaliser: −mean_i log mean_j K(i, j).

        On the plane K is Gaussian with variance D / (2β) for a D-dimensional sample, D counting
        all views; on the sphere a product of one von Mises–Fisher kernel per view.

        Raises:
            ValueError: kernels of similar samples count otherwise.
        """
        if self.similar_share > 0 and self.similar_weight != 1:
            return super().to_nats(value, num_samples, dim, num_views)
        if self.support == "sphere":
            log_normaliser = num_views * von_mises_fisher_log_normaliser(self.kernel_precision, dim)
        else:
            stacked = dim * num_views
            log_normaliser = 0.5 * stacked * math.log(self.kernel_precision / (math.pi * stacked))
        return value + math.log(num_samples - self.leave_one_out) - log_normaliser


@checked
def von_mises_fisher_log_normaliser(
    concentration: Positive, dim: Annotated[int, Bounds(2)]
) -> float:
    """Return log C_D(κ), where p(z) = C_D(κ) exp(κ μᵀz) on the unit sphere in ℝᴰ.

    log C_D(κ) = v log κ − (D/2) log 2π − log I_v(κ) with v = D/2 − 1 and I_v the modified Bessel
    function, here by its power series in log space, whose terms are all positive.

    Args:
        concentration: κ > 0.
        dim: D ≥ 2.

    Returns:
        The log-normaliser in nats.

    Raises:
        ValueError: κ is not above zero or D is below 2.

    Source:
        Mardia & Jupp, Directional Statistics (2000), section 9.3.2.
    """
    kappa, order = concentration, dim / 2.0 - 1.0
    # Terms peak near m = κ/2; from m = κ each is less than a quarter of the one before.
    m = torch.arange(int(kappa) + 100, dtype=torch.float64)
    half = math.log(kappa / 2.0)
    log_terms = (2 * m + order) * half - torch.lgamma(m + 1) - torch.lgamma(m + order + 1)
    log_bessel = torch.logsumexp(log_terms, dim=0).item()
    return order * math.log(kappa) - 0.5 * dim * math.log(2 * math.pi) - log_bessel
