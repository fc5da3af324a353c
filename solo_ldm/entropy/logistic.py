"""A noise-contrastive estimate of entropy: logistic regression on the pairs of a batch."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from solo_ldm.config.arguments import Bounds, Positive, checked
from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.latents.base import Support
from solo_ldm.numerics import widen
from solo_ldm.pairs import reduced_kernels


class LogisticEntropy(EntropyEstimator):
    """Entropy with a log-normaliser that is learned, in place of a sum that normalises.

    H = b − (1/B) Σ_i Σ_j log(1 + exp(e_ij + b)),    e_ij = −β · mean_d (z_i − z_j)² or β · z_iᵀz_j

    As log σ(s) = s − log(1 + eˢ) and log σ(−s) = −log(1 + eˢ), on the sphere with β = κ,
    over="cross" and a weight of ½, −log p − H is SigLIP's loss

    −(1/B) Σ_i log σ(κ z1_iᵀz2_i + b) − (1/B) Σ_i Σ_{j≠i} log σ(−κ z1_iᵀz2_j − b),

    the likelihood of which of the B² pairs match. It is an estimator and no latent model: the model
    of a matching pair, κ z1ᵀz2, is that of the sphere, as in CLIP, and all that differs is what
    keeps latents apart. In a large batch, where log(1 + eˢ) ≈ eˢ, the best b is −log (1/B) Σ_ij
    exp(e_ij) and H is that less 1: a kernel estimate of the quadratic (Rényi) entropy −log ∫q².
    Pairs that are close count less than there, s in place of eˢ.

    Args:
        support: "plane" or "sphere".
        kernel_precision: β, dimensionless.
        bias: b at the start of the training; about −log B. It is a parameter.

    Raises:
        ValueError: β is not above zero; fewer than two samples.

    Source:
        Zhai et al., SigLIP, arXiv 2303.15343, algorithm 1; Gutmann & Hyvärinen, Noise-contrastive
        estimation, AISTATS 2010.
    """

    not_in_nats = "its log-normaliser is learned"
    crosses = has_kernel = True

    @checked
    def __init__(
        self,
        support: Support = "plane",
        kernel_precision: Positive = 5.0,
        bias: Annotated[float, Bounds(-1000, 1000)] = -10.0,
    ) -> None:
        super().__init__(support)
        self.kernel_precision, self.bias = kernel_precision, bias
        self.log_normaliser = nn.Parameter(torch.tensor(float(bias)))

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return the value of samples (B, D) as a scalar, j = i included; see the class."""
        return self.estimate_cross(z, z)

    def estimate_cross(self, z: Tensor, centres: Tensor) -> Tensor:
        """Return the value of samples under the kernels at others, both (B, D)."""
        gaussian = self.support == "plane"
        precision = self.kernel_precision / z.shape[1] if gaussian else self.kernel_precision
        bias = widen(self.log_normaliser)

        def counted(exponents: Tensor, start: int) -> Tensor:
            return softplus(exponents + bias, threshold=100).sum(dim=1)

        return bias - reduced_kernels(z, centres, precision, gaussian, counted).mean()
