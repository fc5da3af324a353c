"""One cell of the grid of latent distribution matching, complete, and the objective it builds."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from solo_ldm.entropy import ENTROPIES
from solo_ldm.latents import LATENTS, Support
from solo_ldm.objective import LDMObjective, ProductObjective

# The latent model that is made of others, one for each of method_kwargs.blocks.
PRODUCT = "product"


@dataclass(frozen=True)
class LDMSettings:
    """One cell of the grid, complete.

    Args:
        latent: a name in `solo_ldm.latents.LATENTS`, or product.
        proj_hidden_dim: units of each hidden layer of the projector.
        proj_output_dim: D, dimension of the latents.
        proj_layers: linear layers of the projector.
        proj_batch_norm: normalise the projector's hidden layers; the paper does not.
        proj_output_batch_norm: normalise its outputs, without scale and shift.
        proj_output_whitening: give its outputs unit covariance; there is nothing left to normalise.
        entropy: a name in `solo_ldm.entropy.ENTROPIES`.
        over: joint, marginal or pooled.
        prediction_precision: λ or κ; the paper's for the cell when not given, None for a latent
            model without.
        entropy_weight: factor of the entropy in the loss.
        predictor: none, linear, mlp (one hidden layer) or direct (computed, not learned).
        pred_hidden_dim: units of the predictor's hidden layer.
        pred_batch_norm: normalise the predictor's hidden layer.
        direct_momentum: share that the direct predictor's correlations keep of themselves.
        direct_ridge: what the direct predictor adds to each of its eigenvalues.
        target: what is predicted: the same latents, detached ones, or those of a moving average
            of the network.
        base_tau: share of its weights that the moving average keeps in a step, at the start.
        final_tau: the same at the end of the training.
        entropy_kwargs: the estimator's own settings.
        latent_kwargs: the latent model's own settings.
        blocks: of a product: the cell of each block, proj_output_dim its dimension. Of latent,
            entropy and over the product then has the names joined by ×, for people.
    """

    latent: str
    proj_hidden_dim: int
    proj_output_dim: int
    proj_layers: int = 2
    proj_batch_norm: bool = False
    proj_output_batch_norm: bool = False
    proj_output_whitening: bool = False
    entropy: str = "kernel"
    over: str = "joint"
    prediction_precision: float | None = 5.0
    entropy_weight: float = 1.0
    predictor: str = "none"
    pred_hidden_dim: int = 512
    pred_batch_norm: bool = True
    direct_momentum: float = 0.3
    direct_ridge: float = 0.01
    target: str = "same"
    base_tau: float = 0.99
    final_tau: float = 1.0
    entropy_kwargs: dict[str, Any] = field(default_factory=dict)
    latent_kwargs: dict[str, Any] = field(default_factory=dict)
    blocks: tuple[LDMSettings, ...] = ()

    @property
    def support(self) -> Support:
        """Where the latents live."""
        return "product" if self.blocks else LATENTS[self.latent].support

    @property
    def entropy_name(self) -> str:
        """The entropy in words."""
        return "no entropy" if self.entropy == "none" else f"{self.entropy} entropy, {self.over}"

    @property
    def headline(self) -> str:
        """The cell in words."""
        parts = [f"{self.entropy_name}, on the {self.support}"]
        if self.blocks:
            each = (
                f"{one.latent} of {one.proj_output_dim} ({one.entropy_name})" for one in self.blocks
            )
            parts = [" × ".join(each)]
        if self.predictor != "none":
            parts.append(f"{self.predictor} predictor")
        if self.target != "same":
            parts.append(f"{self.target.replace('_', ' ')} target")
        return ", ".join(parts)

    def build_objective(self) -> LDMObjective | ProductObjective:
        """Build the objective; raises ValueError for a setting out of its range."""
        if self.blocks:
            return ProductObjective(
                [one._build() for one in self.blocks], [one.proj_output_dim for one in self.blocks]
            )
        return self._build()

    def _build(self) -> LDMObjective:
        latent_kwargs = dict(self.latent_kwargs)
        if self.prediction_precision is not None:
            latent_kwargs["prediction_precision"] = self.prediction_precision
        return LDMObjective(
            LATENTS[self.latent](**latent_kwargs),
            ENTROPIES[self.entropy](self.support, **self.entropy_kwargs),
            over=self.over,  # pyright: ignore[reportArgumentType]
            weight=self.entropy_weight,
        )


def estimator_keys(entropy: str) -> list[str]:
    """Return the names of an estimator's own settings."""
    return [key for key in inspect.signature(ENTROPIES[entropy]).parameters if key != "support"]


def latent_keys(latent: str) -> list[str]:
    """Return the names of a latent model's own settings, prediction_precision aside."""
    keys = inspect.signature(LATENTS[latent]).parameters
    return [key for key in keys if key != "prediction_precision"]
