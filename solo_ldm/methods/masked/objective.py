"""Latent distribution matching of predicted patches."""

from __future__ import annotations

from torch import Tensor, nn

from solo_ldm.numerics import at_least_single
from solo_ldm.objective import LDMObjective, LDMTerms


class PatchObjective(nn.Module):
    """loss = −E[log p(t | c)] − w · H[q(z̄)].

    t is the latent of a patch of a target block, c what is seen of the image, and z̄ the mean latent
    of all patches of an image, the whole of which the trained network sees. The entropy is not that
    of the patches themselves: those of one image differ by their places, so that a network that
    encodes places alone, which the predictor is told, would have both terms at their best. The mean
    over all places is then the same for all images.

    Args:
        parts: the latent model p, the estimator of H and w; `over` is marginal, as there is one
            view.
    """

    def __init__(self, parts: LDMObjective) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, predictions: Tensor, targets: Tensor, images: Tensor) -> LDMTerms:
        """Return the loss and its terms.

        Args:
            predictions: (N, D'), as the latent model takes them.
            targets: latents of the same N patches (N, D), on the support.
            images: z̄ of each image (B, D), on the support.

        Returns:
            loss, mean log p and H, scalars at the training scale (constants dropped).

        Raises:
            ValueError: shapes that differ, or fewer images than the estimator needs.
        """
        log_prob = self.parts.latent.log_prob(predictions, targets).mean()
        entropy = self.parts.entropy.marginal(at_least_single(images))
        return LDMTerms(-log_prob - self.parts.weight * entropy, log_prob, entropy)
