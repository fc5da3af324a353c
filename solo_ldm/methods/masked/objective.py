"""Latent distribution matching of predicted patches."""

from __future__ import annotations

from torch import Tensor, nn

from solo_ldm.numerics import at_least_single
from solo_ldm.objective import LDMObjective, LDMTerms


class PatchObjective(nn.Module):
    """loss = −E[log p(t | c)] − w · H[q(z̄)].

    t is the latent of a patch of a target block, c the context, and z̄ the mean latent of all
    patches of an image, encoded as a whole by the trained network. The entropy is not that of
    single patches: a network that only encodes their positions, which the predictor knows, would
    be at the optimum of both terms. The mean over all positions is then the same for all images.

    Args:
        parts: latent model p, estimator H and weight w; `over` is marginal, for one view.
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
