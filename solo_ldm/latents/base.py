"""What a latent model is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from solo_ldm.config.arguments import shown
from solo_ldm.latents.views import pairs_of_views

Support = Literal["plane", "sphere", "simplex", "product"]


class LatentModel(nn.Module, ABC):
    """A distribution p(z1, z2) that the latents of two views are matched to.

    It defines the space of the latents (`project`) and how well two views agree (`log_prob`). Each
    argument of its constructor is an attribute of the same name.
    """

    support: ClassVar[Support]
    # Whether log_prob takes a predictor's output in place of a latent.
    needs_predictor: ClassVar[bool] = False
    # Whether log_prob alone prevents collapse, without an entropy or a detached target.
    prevents_collapse: ClassVar[bool] = False
    # Whether p is fitted to the latents themselves, so that their joint entropy would cancel it.
    follows_latents: ClassVar[bool] = False

    def project(self, h: Tensor) -> Tensor:
        """Map the projector's outputs (B, D) onto the support of the model.

        On the plane every point is a latent: `h` is returned as it is.
        """
        return h

    @abstractmethod
    def log_prob(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return log p(z1, z2) of each pair, at the training scale of the model.

        Args:
            z1: latents of the first view (B, D), or the `prediction` of z2.
            z2: latents of the second view (B, D).

        Returns:
            (B,).

        Raises:
            ValueError: the shapes differ.
        """

    def mean_log_prob(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], num_large: int
    ) -> Tensor:
        """Return the mean of log p over samples and pairs of views with a large one, a scalar.

        Of a pair i < j it is log p(z_i, z_j), and with predictions or targets the mean of
        log p(t_j | p_i) and log p(t_i | p_j). A model whose log p is a squared distance or an inner
        product has it at a cost that is linear in the views, others by the pair.

        Args:
            predictions: (B, D) of each view, large ones first.
            targets: (B, D) of each view; the same sequence where views are compared as they are.
            num_large: how many are large.

        Raises:
            ValueError: the shapes differ.
        """
        pairs = pairs_of_views(len(targets), num_large)
        values = [self.log_prob(predictions[i], targets[j]).mean() for i, j in pairs]
        if predictions is not targets:
            values += [self.log_prob(predictions[j], targets[i]).mean() for i, j in pairs]
        return torch.stack(values).mean()

    def at(self, progress: float) -> None:
        """Set the share of the training that is done, 0 to 1; for models that warm up."""
        return

    def precision_factor(self) -> Tensor | None:
        """Return by how much a learned precision differs from where it started; None for no such.

        Kernels of an entropy sharpen by the same factor.
        """
        return None

    def allocate(self, dim: int) -> None:
        """Make what is kept of latents of `dim` dimensions; for models that fit themselves."""
        return

    def observe(self, views: Sequence[Tensor]) -> None:
        """Fit what is kept, in buffers, to the latents of a step; for models that fit themselves.

        Args:
            views: latents of each view (B, D), of all processes.
        """
        return

    def health(self, z: Tensor) -> dict[str, float]:
        """Return what else there is to say about the health of latents (B, D), by name."""
        return {}

    def schedule(self, dim: int) -> dict[str, float | Tensor]:
        """Return the values that `at` has set or training has moved, by name, for the log.

        Args:
            dim: of the latents.
        """
        return {}

    def prediction_dim(self, dim: int) -> int:
        """Return how many outputs a predictor has for latents of `dim` dimensions.

        As many, unless the model predicts more than a point.
        """
        return dim

    def prediction(self, h: Tensor) -> Tensor:
        """Map a predictor's outputs (B, prediction_dim) to what `log_prob` takes for z1."""
        return self.project(h)

    def extra_repr(self) -> str:
        """Show the settings when printed."""
        return shown(self)
