"""What a latent model is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from solo_ldm.config.arguments import shown

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

    def at(self, progress: float) -> None:
        """Set the share of the training that is done, 0 to 1; for models that warm up."""
        return

    def precision_factor(self) -> Tensor | None:
        """Return by how much a learned precision differs from where it started; None for no such.

        Kernels of an entropy sharpen by the same factor.
        """
        return None

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
