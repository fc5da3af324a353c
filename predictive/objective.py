"""The one objective of predictive latent distribution matching, for every predictor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from predictive.filtering import log_density
from predictive.predictors.base import Forecast
from solo_ldm.config.arguments import Bounds, NonNegative, check_arguments, checked
from solo_ldm.distributed import by_rows, gather, smallest
from solo_ldm.entropy import ENTROPIES, EntropyEstimator
from solo_ldm.numerics import narrow, widen
from solo_ldm.objective import LDMTerms

Over = Literal["marginal", "joint"]


class PredictiveObjective(nn.Module):
    """loss = −Σ_t ( E[log p(z_t | z_<t)] + w · H_t ), in nats per sequence.

    entropy="stop_gradient":  z_t is detached in log p, but gradients still reach it as an input of
        the predictor. −log p is then the plug-in estimate of the conditional entropy, with the
        predictor in place of the unknown density; no other entropy is needed.
    entropy=a name in `solo_ldm.entropy.ENTROPIES`:  an estimate from samples of the latents,
        nothing detached. over="marginal" takes H[q(z_t)], which adds the mutual information of z_t
        with its past; over="joint" takes H[q(z_t | z_{t−1})] = H[q(z_{t−1}, z_t)] − H[q(z_{t−1})],
        whose sum is the entropy of a Markov sequence. An estimator without a value in nats enters
        at its own scale. "none" leaves nothing against collapse.
    entropy="contrastive":  H = −E log (1/N) Σ_j p(z_t | past j), the density of z_t estimated by
        the mixture of the N predictions made in other sequences and at other times. log p + H is
        then InfoNCE, at most log N: CPC with the predictor's density as its critic.

    With stop_gradient, the kernel and estimators without a value in nats the loss depends on the
    scale of the latents; otherwise scaling latents and predictions together leaves it unchanged.

    Args:
        entropy: see above.
        over: "marginal" or "joint"; for estimators only.
        weight: w ≥ 0 of the entropy; no effect for stop_gradient.
        num_samples: latents that the entropy is estimated from, drawn anew each step.
        first_step: index of the first prediction that counts. 1 omits p(z_1), of which a predictor
            without a prior knows nothing.
        entropy_kwargs: the estimator's own settings; None values take its defaults.

    Raises:
        ValueError: an unknown entropy, a setting that it does not have or that is out of range,
            over="joint" for an estimator without a value in nats.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517; van den Oord et al., arXiv 1807.03748 (CPC).
    """

    @checked
    def __init__(
        self,
        entropy: str = "stop_gradient",
        over: Over = "marginal",
        weight: NonNegative = 1.0,
        num_samples: Annotated[int, Bounds(8)] = 512,
        first_step: Annotated[int, Bounds(0)] = 0,
        entropy_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        on_plane = [name for name, one in ENTROPIES.items() if "plane" in one.supports]
        known = ["stop_gradient", *on_plane, "contrastive"]
        if entropy not in known:
            raise ValueError(
                f"objective.entropy: expected one of {', '.join(known)}, got {entropy!r}"
            )
        given = entropy_kwargs or {}
        settings = {name: value for name, value in given.items() if value is not None}
        self.entropy = entropy
        self.over: Over = over
        self.weight = float(weight)
        self.num_samples = num_samples
        self.first_step = first_step
        self.estimator: EntropyEstimator | None = None
        if entropy in on_plane:
            key = "objective.entropy_kwargs"
            check_arguments(key, settings, ENTROPIES[entropy], ["support"])
            build: Callable[..., EntropyEstimator] = ENTROPIES[entropy]
            self.estimator = build("plane", **settings)
            self.in_nats = _has_nats(self.estimator)
            if over == "joint" and not self.in_nats:
                raise ValueError(
                    f"objective.over: expected marginal for entropy={entropy}, which has no value "
                    "in nats, got joint"
                )
        elif settings:
            raise ValueError(
                f"objective.entropy_kwargs: expected none for entropy={entropy}, which has no "
                f"settings, got {settings}"
            )

    def at_step(self, step: int) -> None:
        """Pass the number of the training step to an estimator that draws at random."""
        if self.estimator is not None:
            self.estimator.at_step(step)

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
        with by_rows() if gathered else nullcontext():
            if self.over == "marginal":
                return self._value(self._sample(z, known, gathered))
            pair = torch.cat([z[:, :-1], z[:, 1:]], dim=2)
            pairs = self._sample(pair, known[:, :-1] & known[:, 1:], gathered)
            return self._value(pairs, num_views=2) - self._value(pairs[:, : z.shape[2]])

    def _value(self, samples: Tensor, num_views: int = 1) -> Tensor:
        """Return the entropy of samples (N, m), or of pairs stacked along features, in nats."""
        assert self.estimator is not None
        value = self.estimator.marginal(samples)
        if not self.in_nats:
            return value
        dim = samples.shape[1] // num_views
        return self.estimator.to_nats(value, len(samples), dim, num_views)

    def _contrastive(self, forecast: Forecast, known: Tensor, gathered: bool) -> Tensor:
        """Return −E_j log (1/N) Σ_i N(z_j; ẑ_i, S_i), the pair i = j included, as in InfoNCE."""
        z, predictions = forecast.latents, forecast.predictions
        rows = self._rows(known, gathered)
        share = gather if gathered else lambda values: values
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


def _has_nats(estimator: EntropyEstimator) -> bool:
    """Whether the estimator can convert its values to nats."""
    try:
        estimator.to_nats(torch.zeros(()), num_samples=1024, dim=1)
    except ValueError:
        return False
    return True
