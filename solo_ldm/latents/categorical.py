"""Categories: a latent is a distribution over n of them, a point of the simplex."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from solo_ldm.config.arguments import Bounds, NonNegative, Positive, checked
from solo_ldm.latents.base import LatentModel
from solo_ldm.latents.views import mean_product, stacked
from solo_ldm.numerics import check_pair, narrow, safe_log, widen
from solo_ldm.pairs import category_table

Probability = Annotated[float, Bounds(above=0, below=1)]


class _Categories(LatentModel):
    support = "simplex"

    @checked
    def __init__(self, softmax_temperature: Positive = 1.0) -> None:
        super().__init__()
        self.softmax_temperature = softmax_temperature

    def project(self, h: Tensor) -> Tensor:
        """Return softmax(h / τ) of each row of `h` (B, n)."""
        return narrow((widen(h) / self.softmax_temperature).softmax(dim=1), h)


class CategoricalSimplex(_Categories):
    """Two views draw their categories from z1 and z2, and they match with a probability.

    p(c1, c2) = p / n            if c1 = c2
                (1 − p) / (n (n − 1))  otherwise

    so that every category has probability 1/n and p is the match probability (the paper's match
    percentage). A latent z = softmax(h / τ) is q(c | x); given their images the two draws are
    independent, hence

    log p(z1, z2) = Σ_{c1, c2} z1[c1] z2[c2] log p(c1, c2)
                  = κ · z1ᵀz2 − log n − log(e^κ + n − 1),   κ = log((n − 1) p / (1 − p)) = 1 / T

    Nothing is dropped. With entropy plug_in:

    exact:        over=joint. The loss is KL[q(c1, c2) ‖ p(c1, c2)], at least 0, in nats.
    approximate:  over=pooled, entropy_weight=2. H[c1, c2] ≤ H[c1] + H[c2] ≤ 2 H[(c1 + c2) / 2]
                  replaces the joint entropy, which adds the mutual information I(c1; c2).

    The mutual information alone is the latent model `FittedCategories`.

    The temperature T starts at that of `first_match_probability` and ends near that of
    `match_probability`: T = T_1 + (T_0 − T_1) exp(−r s), s the share of the training that is done.

    Args:
        match_probability: p at the end, above 1/n, below 1.
        first_match_probability: p at the start, above 1/n, below 1.
        temperature_decay: r ≥ 0; at 4, 2 % of T_0 − T_1 are left at the end.
        softmax_temperature: τ, in units of h; below 1 where h is normalised, and too small to be
            certain of a category.

    Raises:
        ValueError: a probability outside (0, 1), a negative decay, τ not above zero.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517, and their code (catprob), whose losses are T times
        these without the constants and whose T moves once an epoch.
    """

    @checked
    def __init__(
        self,
        match_probability: Probability = 0.99,
        first_match_probability: Probability = 0.8,
        temperature_decay: NonNegative = 4.0,
        softmax_temperature: Positive = 1.0,
    ) -> None:
        super().__init__(softmax_temperature)
        self.match_probability = match_probability
        self.first_match_probability = first_match_probability
        self.temperature_decay = temperature_decay
        self.progress = 0.0

    def at(self, progress: float) -> None:
        """Set the temperature to that of a share of the training that is done."""
        self.progress = float(progress)

    def schedule(self, dim: int) -> dict[str, float | Tensor]:
        """Return the temperature T of `dim` categories."""
        return {"temperature": self.temperature(dim)}

    def temperature(self, num_categories: int) -> float:
        """Return T now, in 1 / nats.

        Raises:
            ValueError: a match probability that is not above chance, 1/n.
        """
        first, last = (
            _temperature(getattr(self, name), num_categories, name)
            for name in ("first_match_probability", "match_probability")
        )
        return last + (first - last) * math.exp(-self.temperature_decay * self.progress)

    def prediction_dim(self, dim: int) -> int:
        """Return D: a prediction is a distribution too.

        Raises:
            ValueError: a match probability that is not above chance, 1/D.
        """
        self.temperature(dim)
        return dim

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the expectation of log p(c1, c2) of each pair of distributions, both (B, n).

        Returns:
            (B,), in nats, all constants included.

        Raises:
            ValueError: the shapes differ, or a match probability is not above 1/n.
        """
        check_pair(z1, z2)
        match = (widen(z1) * widen(z2)).sum(dim=1)
        return narrow(self._log_prob(match, z1.shape[1]), z1)

    def mean_log_prob(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], num_large: int
    ) -> Tensor:
        """Return the mean over samples and pairs of views; see `mean_product`."""
        t = stacked(targets)
        p = t if predictions is targets else stacked(predictions)
        return narrow(self._log_prob(mean_product(p, t, num_large), t.shape[2]), targets[0])

    def _log_prob(self, match: Tensor, count: int) -> Tensor:
        kappa = 1.0 / self.temperature(count)
        # log(e^κ + n − 1) without overflow.
        log_sum = kappa + math.log1p((count - 1) * math.exp(-kappa))
        return kappa * match - math.log(count) - log_sum


class FittedCategories(_Categories):
    """The table p(c1, c2) of categories that fits the batch best: its own mean.

    log p(z1, z2) = Σ_{c1, c2} z1[c1] z2[c2] log P[c1, c2],   P = mean_i z1_i z2_iᵀ

    so that −E log p = H[c1, c2], and with entropy plug_in and over=marginal the loss is

    H[c1, c2] − H[c1] − H[c2] = −I(c1; c2)

    minus the mutual information of the categories: invariant information clustering. A joint
    entropy would cancel the fitted table. Latents are softmax(h / τ).

    Args:
        softmax_temperature: τ, as of `CategoricalSimplex`.

    Raises:
        ValueError: τ not above zero.

    Source:
        Ji et al., Invariant Information Clustering, arXiv 1807.06653, whose table is symmetric;
        Mikulasch & Zenke, arXiv 2605.03517, for the objective beside those of the other model.
    """

    follows_latents = True

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the expectation of log P[c1, c2] of each pair of distributions, both (B, n).

        Returns:
            (B,), in nats.

        Raises:
            ValueError: the shapes differ.
        """
        check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            first, second = widen(z1), widen(z2)
            log_table = safe_log(category_table(first, second))
            return narrow(((first @ log_table) * second).sum(dim=1), z1)


def _temperature(probability: float, num_categories: int, name: str) -> float:
    if probability * num_categories <= 1.0:
        raise ValueError(
            f"{name}: expected more than chance, 1/{num_categories} with {num_categories} "
            f"categories (method_kwargs.proj_output_dim), got {probability}"
        )
    return 1.0 / math.log((num_categories - 1) * probability / (1.0 - probability))
