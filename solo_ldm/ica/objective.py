"""The objective: latents z = W x whose distribution is matched to independent sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from solo_ldm.entropy import ENTROPIES, EntropyEstimator
from solo_ldm.ica.models import SourceModel
from solo_ldm.objective import LDMTerms

# The estimators that have a value in nats, and so balance a normalised density; with settings for
# which they follow a linear map faithfully: a clipped distance would ignore what happens to the
# outermost samples.
ICA_ENTROPIES: dict[str, dict[str, Any]] = {
    "exact": {},
    "logdet": {},
    "logdet_expansion": {},
    "coding_rate": {"distortion": 0.1},
    "neighbour": {"clip_quantile": 1.0},
    "kernel": {"kernel_precision": 5.0},
}


class ICAObjective(nn.Module):
    """loss = −E[log p(z)] − H[q(z)] of latents z = W (x − mean).

    For an invertible linear map the entropy is known: H[q(z)] = H[q(x)] + log |det W|, and H[q(x)]
    does not depend on W and is dropped. This is the maximum-likelihood objective of ICA. An
    estimator of the entropy of z may stand in its place: it does not use that the map is linear,
    and differs from log |det W| by the constant H[q(x)] and by its error. With time, where the
    entropy of z_t given its past is meant, that too changes by log |det W|, as the marginal does.

    Args:
        model: the density of the sources.
        entropy: an estimator of `solo_ldm.entropy`; None for the exact term.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517; Bell & Sejnowski, Neural Computation 7, 1129 (1995);
        Pearlmutter & Parra, NeurIPS 9 (1996).
    """

    def __init__(self, model: SourceModel, entropy: EntropyEstimator | None = None) -> None:
        super().__init__()
        self.model = model
        self.entropy = entropy

    def forward(
        self, mixtures: Tensor, unmixing: Tensor, entropy_rows: Tensor | None = None
    ) -> LDMTerms:
        """Return the loss and its terms.

        Args:
            mixtures: x (T, N), of mean zero.
            unmixing: W (N, N).
            entropy_rows: indexes of the samples that an estimator is given; all by default.

        Returns:
            loss, mean log p and H, scalars in nats per sample of all N sources. H is log |det W|
            for the exact term (H[q(x)] dropped), else the estimate of H[q(z_t)].

        Raises:
            ValueError: shapes that differ, or fewer samples than the estimator needs.
        """
        latents = mixtures @ unmixing.T
        log_prob = self.model.log_prob(latents).sum(dim=1).mean()
        if self.entropy is None:
            entropy = torch.linalg.slogdet(unmixing).logabsdet
        else:
            given = latents if entropy_rows is None else latents[entropy_rows]
            value = self.entropy.marginal(given)
            entropy = self.entropy.to_nats(value, *given.shape)
        return LDMTerms(-log_prob - entropy, log_prob, entropy)


def ica_entropy(name: str, settings: Mapping[str, Any] | None = None) -> EntropyEstimator | None:
    """Return the estimator of a name in `ICA_ENTROPIES`; None for "exact".

    Args:
        name: of the estimator.
        settings: its own, over the defaults of `ICA_ENTROPIES`.

    Raises:
        ValueError: another name, or a setting that the estimator lacks or refuses.
    """
    if name not in ICA_ENTROPIES:
        raise ValueError(f"entropy: expected one of {', '.join(ICA_ENTROPIES)}, got {name!r}")
    settings = dict(settings or {})
    if name == "exact":
        if settings:
            raise ValueError(f"entropy_kwargs: the exact entropy has no settings, got {settings}")
        return None
    from solo_ldm.config.suggestions import suggestion
    from solo_ldm.methods.ldm.settings import estimator_keys

    known = estimator_keys(name)
    for key in settings:
        if key not in known:
            raise ValueError(f"unknown key entropy_kwargs.{key}{suggestion(key, known)}")
    return ENTROPIES[name]("plane", **{**ICA_ENTROPIES[name], **settings})
