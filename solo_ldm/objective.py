"""The one objective of latent distribution matching. Needs torch alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from solo_ldm.config.arguments import NonNegative, checked
from solo_ldm.entropy import EntropyEstimator
from solo_ldm.latents import LatentModel, ProductLatent
from solo_ldm.latents.views import pairs_of_views, shares_of_views
from solo_ldm.numerics import at_least_single, narrow, widen

Over = Literal["joint", "marginal", "pooled", "cross"]


class LDMTerms(NamedTuple):
    """The parts of the loss: scalars with gradients, the terms before weighting."""

    loss: Tensor
    log_prob: Tensor
    entropy: Tensor


class LDMObjective(nn.Module):
    """loss = −E[log p(z1, z2)] − w · H[q(z)].

    over="joint":     H = H[q(z1, z2)]
    over="marginal":  H = H[q(z1)] + H[q(z2)], which adds the mutual information I(z1; z2)
    over="pooled":    H = H of the 2B samples of both views together
    over="cross":     H = H[q(z1), q(z2)] + H[q(z2), q(z1)], cross-entropies −E_q[log r] = H[q] +
                      KL[q ‖ r]: of views that need not be of one density, as image and text

    Where the latent model learns its precision, kernels of the entropy sharpen by the same factor
    f: on the sphere exp(f β z_iᵀz_j) is the kernel of latents that are √f as long.

    Args:
        latent: the latent model p.
        entropy: the entropy estimator H; its support must be that of the latent model.
        over: which entropy.
        weight: w ≥ 0.

    Raises:
        ValueError: an unknown `over`, or one that the estimator has not; a negative weight,
            supports that differ, or a learned precision without a kernel that follows it.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517.
    """

    @checked
    def __init__(
        self,
        latent: LatentModel,
        entropy: EntropyEstimator,
        over: Over = "joint",
        weight: NonNegative = 1.0,
    ) -> None:
        super().__init__()
        if latent.support != entropy.support:
            raise ValueError(
                f"the latent model lives on the {latent.support} but the entropy estimator is for "
                f"the {entropy.support}: give both the same support"
            )
        if over == "cross" and not entropy.crosses:
            entropy.estimate_cross(torch.empty(0), torch.empty(0))  # says why not
        if latent.precision_factor() is not None and not entropy.has_kernel:
            raise ValueError(
                f"learn_precision: expected the entropy of a kernel, which follows the precision "
                f"(kernel or logistic), got {type(entropy).__name__}: without one, the larger the "
                "precision the smaller the loss"
            )
        self.latent = latent
        self.entropy = entropy
        self.over: Over = over
        self.weight = weight

    def forward(
        self,
        z1: Tensor,
        z2: Tensor,
        predictions: tuple[Tensor, Tensor] | None = None,
        targets: tuple[Tensor, Tensor] | None = None,
    ) -> LDMTerms:
        """Return the loss and its terms for two views of the same samples.

        Args:
            z1: latents of the first view (B, D), on the support of the latent model.
            z2: latents of the second view (B, D).
            predictions: of z2 from z1, and of z1 from z2; z1 and z2 themselves if not given. With
                predictions or targets the log-density is the mean of log p(z2 | z1) and
                log p(z1 | z2).
            targets: what is predicted in place of z1 and z2: the same detached, or the latents of a
                moving average of the network.

        Returns:
            loss, mean log p and H, scalars at the training scale (constants dropped).

        Raises:
            ValueError: shapes that differ, or fewer samples than the estimator needs.
        """
        # Both terms use z: adding up their gradients in half precision could overflow.
        z1, z2 = at_least_single(z1), at_least_single(z2)
        if predictions is None and targets is None:
            log_prob = self.latent.log_prob(z1, z2).mean()
        else:
            (p1, p2), (t1, t2) = predictions or (z1, z2), targets or (z1, z2)
            forth, back = self.latent.log_prob(p1, t2), self.latent.log_prob(p2, t1)
            log_prob = 0.5 * (forth + back).mean()
        together = self._entropies[self.over]
        entropy = narrow(together(*self._sharpened((z1, z2))), z1)
        return LDMTerms(-log_prob - self.weight * entropy, log_prob, entropy)

    def of_views(
        self,
        views: Sequence[Tensor],
        num_large: int,
        predictions: Sequence[Tensor] | None = None,
        targets: Sequence[Tensor] | None = None,
    ) -> LDMTerms:
        """Return the means of the loss and its terms over all pairs of views with a large one.

        What is a sum over views is calculated once a view: marginal entropies, and log p where
        `LatentModel.mean_log_prob` is linear. Entropies of two views together are of each pair.

        Args:
            views: latents of each view (B, D), large ones first; at least two.
            num_large: how many are large.
            predictions: of the other views from each; the views themselves if not given.
            targets: what is predicted in place of each view; the views themselves if not given.

        Returns:
            As `forward` does, and of two views exactly that.

        Raises:
            ValueError: shapes that differ, or fewer samples than the estimator needs.
        """
        if len(views) == 2:
            return self(*views, predictions, targets)
        views = [at_least_single(z) for z in views]
        log_prob = self.latent.mean_log_prob(
            views if predictions is None else predictions,
            views if targets is None else targets,
            num_large,
        )
        kind, views = views[0], self._sharpened(views)
        if self.over == "marginal":
            shares = shares_of_views(len(views), num_large)
            parts = [
                share * self.entropy.marginal(z) for share, z in zip(shares, views, strict=True)
            ]
            entropy = torch.stack(parts).sum()
        else:
            pairs = pairs_of_views(len(views), num_large)
            together = self._entropies[self.over]
            entropy = torch.stack([together(views[i], views[j]) for i, j in pairs]).mean()
        entropy = narrow(entropy, kind)
        return LDMTerms(-log_prob - self.weight * entropy, log_prob, entropy)

    def _sharpened(self, views: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return latents whose kernels have a learned precision, those given without one."""
        factor = self.latent.precision_factor()
        return views if factor is None else [factor.sqrt() * widen(z) for z in views]

    @property
    def fewest_samples(self) -> int:
        """The smallest batch that the entropy is defined for."""
        return self.entropy.fewest_samples

    def at(self, progress: float, step: int) -> None:
        """Set the progress of the training in the parts, before each step.

        Args:
            progress: share of the training that is done, 0 to 1.
            step: number of the step.
        """
        self.latent.at(progress)
        self.entropy.at_step(step)

    @property
    def _entropies(self) -> dict[Over, Callable[[Tensor, Tensor], Tensor]]:
        return {
            "joint": self.entropy.joint,
            "marginal": lambda z1, z2: self.entropy.marginal(z1) + self.entropy.marginal(z2),
            "pooled": self.entropy.pooled,
            "cross": self.entropy.cross,
        }

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        return f"over={self.over!r}, weight={self.weight}"


class ProductObjective(nn.Module):
    """loss = Σ_b loss_b: an objective of its own on each block of dimensions.

    The entropy of a block is estimated on its own support and added to those of the others, an
    upper bound of the entropy of all: what blocks have in common is not counted.

    Args:
        blocks: objectives, in the order of their blocks.
        dims: dimensions of the blocks.

    Raises:
        ValueError: no block, or other numbers of objectives and dimensions.
    """

    def __init__(self, blocks: Sequence[LDMObjective], dims: Sequence[int]) -> None:
        super().__init__()
        self.latent = ProductLatent([block.latent for block in blocks], dims)
        # Registered for `to` and printing; the list keeps their type.
        self.blocks, self._blocks = nn.ModuleList(blocks), list(blocks)

    def forward(
        self,
        z1: Tensor,
        z2: Tensor,
        predictions: tuple[Tensor, Tensor] | None = None,
        targets: tuple[Tensor, Tensor] | None = None,
    ) -> LDMTerms:
        """Return the loss and its terms for two views of the same samples.

        Args:
            z1: latents of the first view (B, D), each block on its support.
            z2: latents of the second view (B, D).
            predictions: as of `LDMObjective`, for all blocks side by side.
            targets: as of `LDMObjective`, for all blocks side by side.

        Returns:
            The sums over blocks of the losses, of the mean log p and of the weighted entropies.

        Raises:
            ValueError: shapes that differ, or fewer samples than an estimator needs.
        """
        return self.of_views((z1, z2), 2, predictions, targets)

    def of_views(
        self,
        views: Sequence[Tensor],
        num_large: int,
        predictions: Sequence[Tensor] | None = None,
        targets: Sequence[Tensor] | None = None,
    ) -> LDMTerms:
        """Return the sums over blocks of what `LDMObjective.of_views` returns for each.

        Args:
            views: latents of each view (B, D), large ones first; at least two.
            num_large: how many are large.
            predictions: as of `LDMObjective`, for all blocks side by side.
            targets: as of `LDMObjective`, for all blocks side by side.

        Raises:
            ValueError: shapes that differ, or fewer samples than an estimator needs.
        """
        nothing = [None] * len(self._blocks)
        split, split_predictions = self.latent.split, self.latent.split_predictions
        predicted = (
            nothing
            if predictions is None
            else zip(*map(split_predictions, predictions), strict=True)
        )
        wanted = nothing if targets is None else zip(*map(split, targets), strict=True)
        terms = []
        parts = zip(
            self._blocks, zip(*map(split, views), strict=True), predicted, wanted, strict=True
        )
        for block, view, prediction, target in parts:
            loss, log_prob, entropy = block.of_views(view, num_large, prediction, target)
            terms.append((loss, log_prob, block.weight * entropy))
        return LDMTerms(*(torch.stack(term).sum() for term in zip(*terms, strict=True)))

    @property
    def fewest_samples(self) -> int:
        """The smallest batch that all entropies are defined for."""
        return max(block.fewest_samples for block in self._blocks)

    def at(self, progress: float, step: int) -> None:
        """Set the progress of the training in the blocks, before each step.

        Args:
            progress: share of the training that is done, 0 to 1.
            step: number of the step.
        """
        for block in self._blocks:
            block.at(progress, step)
