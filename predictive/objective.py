"""The one objective of predictive latent distribution matching, for every predictor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from predictive.filtering import log_density
from predictive.predictors.forecast import Forecast
from solo_ldm.distributed import gather, smallest
from solo_ldm.entropy import (
    EntropyEstimator,
    KernelEntropy,
    LogDetEntropy,
    LogDetExpansionEntropy,
    NeighbourEntropy,
)
from solo_ldm.numerics import narrow, widen
from solo_ldm.objective import LDMTerms

Entropy = Literal[
    "stop_gradient", "neighbour", "kernel", "logdet", "logdet_expansion", "contrastive"
]
Over = Literal["marginal", "joint"]

_ESTIMATORS: dict[str, type[EntropyEstimator]] = {
    "neighbour": NeighbourEntropy,
    "kernel": KernelEntropy,
    "logdet": LogDetEntropy,
    "logdet_expansion": LogDetExpansionEntropy,
}
# Settings of the estimators, by the estimators that take them.
_SETTINGS = {
    "num_neighbours": ("neighbour",),
    "norm": ("neighbour",),
    "clip_quantile": ("neighbour",),
    "kernel_precision": ("kernel",),
    "ridge": ("logdet", "logdet_expansion"),
}


class PredictiveObjective(nn.Module):
    """loss = −Σ_t ( E[log p(z_t | z_<t)] + w · H_t ), in nats per sequence.

    entropy="stop_gradient":  log p is taken of detached z_t, which are still differentiated as
        what the predictor has seen. Minus that log p is the plug-in estimate of the conditional
        entropy, with the predictor in place of the unknown density; no other entropy is needed.
    entropy="neighbour" | "kernel" | "logdet" | "logdet_expansion":  an estimate from a sample of
        the latents, nothing detached. over="marginal" takes H[q(z_t)], which adds the mutual
        information of z_t with its past; over="joint" takes H[q(z_t | z_{t−1})] =
        H[q(z_{t−1}, z_t)] − H[q(z_{t−1})], whose sum is the entropy of a Markov sequence.
    entropy="contrastive":  H = −E log (1/N) Σ_j p(z_t | past j), the density of z_t estimated by
        the mixture of the N predictions made in other sequences and at other times. log p + H is
        then InfoNCE, at most log N: CPC with the predictor's density as its critic.

    Entropies are in nats. With all but stop_gradient and kernel, whose bandwidth is fixed, a
    change of the latents' scale that the predictor's variances follow leaves the loss as it is.

    Args:
        entropy: see above.
        over: "marginal" or "joint"; matters for estimators alone.
        weight: w ≥ 0 of the entropy; without effect for stop_gradient.
        num_samples: latents that the entropy is estimated from, drawn anew each step.
        first_step: index of the first prediction that counts. 1 leaves out p(z_1), of which a
            predictor without a prior knows nothing.
        num_neighbours: of "neighbour"; None for the estimator's default, as the following.
        norm: of "neighbour".
        clip_quantile: of "neighbour".
        kernel_precision: of "kernel".
        ridge: of "logdet" and "logdet_expansion", in squared units of z.

    Raises:
        ValueError: an unknown entropy, a setting that the entropy does not have or out of range.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517; van den Oord et al., arXiv 1807.03748 (CPC).
    """

    def __init__(
        self,
        entropy: Entropy = "stop_gradient",
        over: Over = "marginal",
        weight: float = 1.0,
        num_samples: int = 512,
        first_step: int = 0,
        num_neighbours: int | None = None,
        norm: float | None = None,
        clip_quantile: float | None = None,
        kernel_precision: float | None = None,
        ridge: float | None = None,
    ) -> None:
        super().__init__()
        if entropy not in get_args(Entropy):
            raise ValueError(
                f"entropy must be one of {', '.join(get_args(Entropy))}; got {entropy!r}"
            )
        if over not in get_args(Over):
            raise ValueError(f"over must be one of {', '.join(get_args(Over))}; got {over!r}")
        if weight < 0.0:
            raise ValueError(f"the weight of the entropy must be at least 0, got {weight}")
        if num_samples < 8 or first_step < 0:
            raise ValueError(
                f"num_samples must be at least 8 and first_step at least 0, got {num_samples} "
                f"and {first_step}"
            )
        given = {
            "num_neighbours": num_neighbours,
            "norm": norm,
            "clip_quantile": clip_quantile,
            "kernel_precision": kernel_precision,
            "ridge": ridge,
        }
        settings = {name: value for name, value in given.items() if value is not None}
        for name in settings:
            if entropy not in _SETTINGS[name]:
                raise ValueError(
                    f"{name} is a setting of {' and '.join(_SETTINGS[name])}, not of "
                    f"entropy={entropy}: leave it out"
                )
        self.entropy: Entropy = entropy
        self.over: Over = over
        self.weight = float(weight)
        self.num_samples = int(num_samples)
        self.first_step = int(first_step)
        self.estimator: EntropyEstimator | None = None
        if entropy in _ESTIMATORS:
            build: Callable[..., EntropyEstimator] = _ESTIMATORS[entropy]
            self.estimator = build("plane", **settings)

    @property
    def fewest_samples(self) -> int:
        """The fewest latents of a step that the entropy is defined for."""
        if self.estimator is None:
            return 1
        # A pair of neighbours in time is lost to the first step.
        return self.estimator.fewest_samples + (1 if self.over == "joint" else 0)

    def forward(self, forecast: Forecast, known: Tensor | None = None) -> LDMTerms:
        """Return the loss of a batch of sequences and its terms.

        Args:
            forecast: over (B, T, m).
            known: true where there is an observation, (B, T); None for all.

        Returns:
            loss in nats per sequence, the sum over its steps averaged over the batch; log_prob
            and entropy in nats per step, no constant dropped. With stop_gradient the entropy is
            its plug-in estimate, for the record.

        Raises:
            ValueError: fewer latents than the entropy needs.
        """
        z = forecast.latents
        if known is None:
            known = z.new_ones(z.shape[:2], dtype=torch.bool)
        known = known & (torch.arange(z.shape[1], device=z.device) >= self.first_step)
        values = z.detach() if self.entropy == "stop_gradient" else z
        density = log_density(values, forecast.predictions)
        count = known.sum()
        if int(count) == 0:
            raise ValueError(
                f"no latent counts in a batch of {len(z)} sequences of {z.shape[1]} bins: all are "
                f"missing, or come before first_step={self.first_step}"
            )
        log_prob = torch.where(known, density, 0.0).sum() / count
        steps = count / len(z)
        if self.entropy == "stop_gradient":
            return LDMTerms(-steps * log_prob, log_prob, -log_prob.detach())
        entropy = self.estimate(forecast, known)
        return LDMTerms(-steps * (log_prob + self.weight * entropy), log_prob, entropy)

    def estimate(self, forecast: Forecast, known: Tensor, gathered: bool = True) -> Tensor:
        """Return the entropy of the latents in nats per step, from a random sample of them.

        Args:
            forecast: over (B, T, m).
            known: true where there is a latent that counts, (B, T).
            gathered: whether the samples of all processes are used; all must then take part.
        """
        z = forecast.latents
        if self.entropy == "contrastive":
            return self._contrastive(forecast, known, gathered)
        if self.estimator is None:
            raise ValueError("entropy=stop_gradient has no estimator: its entropy is −log p")
        if self.over == "marginal":
            return self._nats(self._sample(z, known, gathered), num_views=1)
        pair = torch.cat([z[:, :-1], z[:, 1:]], dim=2)
        pairs = self._sample(pair, known[:, :-1] & known[:, 1:], gathered)
        return self._nats(pairs, num_views=2) - self._nats(pairs[:, : z.shape[2]], num_views=1)

    def _nats(self, samples: Tensor, num_views: int) -> Tensor:
        assert self.estimator is not None
        dim = samples.shape[1] // num_views
        value = self.estimator.marginal(samples)
        return self.estimator.to_nats(value, len(samples), dim, num_views)

    def _contrastive(self, forecast: Forecast, known: Tensor, gathered: bool) -> Tensor:
        """Return −E_j log (1/N) Σ_i N(z_j; ẑ_i, S_i), the pair i = j included, as in InfoNCE."""
        z, predictions = forecast.latents, forecast.predictions
        rows = self._rows(known, gathered)
        share = gather if gathered else _own
        factor = predictions.factor.expand(len(z), -1, -1, -1).flatten(0, 1)[rows]
        mean = widen(share(predictions.mean.flatten(0, 1)[rows]))
        factor = widen(share(factor))
        # (N, m, M): how far each latent lies from each prediction, as columns.
        residual = widen(z.flatten(0, 1)[rows]).T[None] - mean[:, :, None]
        whitened = torch.linalg.solve_triangular(factor, residual, upper=False)
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        log_kernel = -0.5 * whitened.square().sum(dim=1) - log_det[:, None]
        log_sum = torch.logsumexp(log_kernel, dim=0).mean()
        constant = math.log(len(mean)) + 0.5 * z.shape[2] * math.log(2.0 * math.pi)
        return narrow(constant - log_sum, z)

    def _sample(self, values: Tensor, known: Tensor, gathered: bool) -> Tensor:
        drawn = values.flatten(0, 1)[self._rows(known, gathered)]
        return gather(drawn) if gathered else drawn

    def _rows(self, known: Tensor, gathered: bool) -> Tensor:
        """Return up to `num_samples` random positions among the known ones, as flat indexes."""
        rows = known.flatten().nonzero()[:, 0]
        count = min(len(rows), self.num_samples)
        if gathered:
            # Processes may know different numbers of bins, and must bring equally many.
            count = smallest(count, rows.device)
        if len(rows) == count:
            return rows
        return rows[torch.randperm(len(rows), device=rows.device)[:count]]

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        return (
            f"entropy={self.entropy!r}, over={self.over!r}, weight={self.weight}, "
            f"num_samples={self.num_samples}, first_step={self.first_step}"
        )


def _own(values: Tensor) -> Tensor:
    return values
