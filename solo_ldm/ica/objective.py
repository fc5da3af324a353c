"""The objective: latents z = W x whose distribution is matched to independent sources."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from solo_ldm.config.arguments import check_arguments
from solo_ldm.entropy import ENTROPIES, EntropyEstimator
from solo_ldm.ica.models import SourceModel
from solo_ldm.objective import LDMTerms

# The exact term, and estimators with settings for which they follow a linear map faithfully: a
# clipped distance would ignore what happens to the outermost samples. Other estimators of
# solo_ldm.entropy with a value in nats keep their own defaults.
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
    estimator of the entropy of z can replace the exact term: it does not use that the map is
    linear, and differs from log |det W| by the constant H[q(x)] and by its error. For sources in
    time the entropy is that of z_t given its past, which changes by log |det W| as well.

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
            entropy_rows: indexes of the samples for the estimator; all by default.

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
    """Return the exact term (None) or an estimator on the plane, with settings that suit ICA.

    Args:
        name: "exact", or a name in `solo_ldm.entropy.ENTROPIES`.
        settings: of the estimator, over those of `ICA_ENTROPIES`.

    Raises:
        ValueError: an unknown name, an estimator without a value in nats, or a setting that it
            lacks or refuses.
    """
    settings = dict(settings or {})
    if name == "exact":
        if settings:
            raise ValueError(f"entropy_kwargs: the exact entropy has no settings, got {settings}")
        return None
    known = estimators_in_nats()
    if name not in known:
        raise ValueError(f"entropy: expected one of exact, {', '.join(known)}, got {name!r}")
    kind = ENTROPIES[name]
    check_arguments("entropy_kwargs", settings, kind, besides=("support",))
    return kind("plane", **{**ICA_ENTROPIES.get(name, {}), **settings})


def estimators_in_nats() -> list[str]:
    """Return the names of estimators on the plane whose value is an entropy in nats."""
    names = []
    for name, kind in ENTROPIES.items():
        with suppress(ValueError):
            if "plane" in kind.supports:
                kind("plane").to_nats(torch.zeros(()), num_samples=100, dim=2)
                names.append(name)
    return names
