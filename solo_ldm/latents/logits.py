"""Categories given logits: one view's category predicted from the other, by cross-entropy."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from solo_ldm.config.arguments import Positive, checked
from solo_ldm.latents.base import LatentModel
from solo_ldm.numerics import at_least_single, check_pair, narrow, widen


class ConditionalCategories(LatentModel):
    """One view's category given the other has the probabilities of predicted logits.

    log p(z2 | z1) = Σ_c z2[c] log softmax(λ z1)[c]

    with z1 the logits that a predictor outputs, λ the prediction precision (inverse temperature),
    and z2 a distribution over n categories, or the index of one category: −log p is then the
    cross-entropy.

    Args:
        prediction_precision: λ, in units of 1 / logits.

    Raises:
        ValueError: λ is not above zero.

    Source:
        Bao et al., BEiT, arXiv 2106.08254, for categories of patches given what is around them.
    """

    support = "simplex"
    needs_predictor = True

    @checked
    def __init__(self, prediction_precision: Positive = 1.0) -> None:
        super().__init__()
        self.prediction_precision = prediction_precision

    def project(self, h: Tensor) -> Tensor:
        """Return softmax(h) of each row of `h` (B, n); indexes (B, 1) are categories already."""
        return narrow(widen(h).softmax(dim=1), h) if h.is_floating_point() else h

    def prediction(self, h: Tensor) -> Tensor:
        """Return a predictor's outputs (B, n) as they are: logits."""
        return h

    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return log p(z2 | z1) of each pair.

        Args:
            z1: logits (B, n).
            z2: distributions (B, n), or indexes of categories (B, 1), whole numbers.

        Returns:
            (B,), in nats, nothing dropped.

        Raises:
            ValueError: shapes that do not fit.
        """
        logits = self.prediction_precision * at_least_single(z1)
        if z2.is_floating_point():
            check_pair(z1, z2)
            return -cross_entropy(logits, z2.to(logits.dtype), reduction="none")
        if z1.ndim != 2 or z2.shape != (len(z1), 1):
            raise ValueError(
                "logits (B, n) and indexes of categories (B, 1) are expected; "
                f"got {tuple(z1.shape)} and {tuple(z2.shape)}"
            )
        return -cross_entropy(logits, z2[:, 0], reduction="none")
