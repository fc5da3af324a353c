"""One cell of the grid of latent distribution matching, complete, and the objective it builds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from solo_ldm.config.arguments import Bounds, Depth, NonNegative, Positive, Share, Width
from solo_ldm.entropy import ENTROPIES
from solo_ldm.latents import LATENTS, Support
from solo_ldm.objective import LDMObjective, Over, ProductObjective

# The latent model that is made of others, one for each of method_kwargs.blocks.
PRODUCT = "product"

# Names of the three `LDMTerms` in the log.
TERMS: tuple[str, ...] = ("train_ldm_loss", "train_log_prob", "train_entropy")
# Of one more, where equivariance_weight is not 0; the first of all then includes it.
EQUIVARIANCE = "train_equivariance"


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
        proj_output_whitening: whiten its outputs, which then need no batch normalisation.
        entropy: a name in `solo_ldm.entropy.ENTROPIES`.
        over: joint, marginal, pooled or cross.
        prediction_precision: λ or κ; by default the paper's for the cell, None for a latent model
            that has none.
        entropy_weight: factor of the entropy in the loss.
        predictor: none, linear, mlp (one hidden layer) or direct (computed, not learned).
        pred_hidden_dim: units of the predictor's hidden layer.
        pred_batch_norm: normalise the predictor's hidden layer.
        direct_momentum: weight of the past in the direct predictor's correlations.
        direct_ridge: added to each eigenvalue of the direct predictor.
        target: what is predicted: the same latents, detached ones, or those of a moving average
            of the network.
        base_tau: weight of the past in the moving average at the start of the training.
        final_tau: the same at the end.
        equivariance_weight: factor of `Equivariance` in the loss; 0 builds nothing.
        equivariance_layer: number of its feature map, from 0; by default the middle one.
        equivariance_samples: its images of a step, of all processes together.
        equivariance_precision: its κ.
        entropy_kwargs: the estimator's own settings.
        latent_kwargs: the latent model's own settings.
        blocks: of a product, the cell of each block, with proj_output_dim its dimension. `latent`,
            `entropy` and `over` of the product are then labels: the names joined by ×.
    """

    latent: str
    proj_hidden_dim: Width
    proj_output_dim: Width
    proj_layers: Depth = 2
    proj_batch_norm: bool = False
    proj_output_batch_norm: bool = False
    proj_output_whitening: bool = False
    entropy: str = "kernel"
    over: Over = "joint"
    prediction_precision: Positive | None = None
    entropy_weight: NonNegative = 1.0
    predictor: Literal["none", "linear", "mlp", "direct"] = "none"
    pred_hidden_dim: Width = 512
    pred_batch_norm: bool = True
    direct_momentum: Annotated[float, Bounds(0, below=1)] = 0.3
    direct_ridge: NonNegative = 0.01
    target: Literal["same", "detached", "moving_average"] = "same"
    base_tau: Share = 0.99
    final_tau: Share = 1.0
    equivariance_weight: NonNegative = 0.0
    equivariance_layer: Annotated[int, Bounds(0, limit=1000)] | None = None
    equivariance_samples: Annotated[int, Bounds(2)] = 8
    equivariance_precision: Positive = 2.0
    entropy_kwargs: dict[str, Any] = field(default_factory=dict)
    latent_kwargs: dict[str, Any] = field(default_factory=dict)
    blocks: tuple[LDMSettings, ...] = ()

    @property
    def support(self) -> Support:
        """Where the latents live."""
        return "product" if self.blocks else LATENTS[self.latent].support

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the parts of the loss in the log."""
        return (*TERMS, EQUIVARIANCE) if self.equivariance_weight else TERMS

    @property
    def axes(self) -> dict[str, str | None]:
        """The place on the grid, for `Description.axes`."""
        return {
            "latent": self.latent,
            "entropy": self.entropy,
            "over": None if self.entropy == "none" else self.over,
            "predictor": self.predictor,
            "target": self.target,
        }

    @property
    def entropy_name(self) -> str:
        """The entropy in words."""
        return "no entropy" if self.entropy == "none" else f"{self.entropy} entropy, {self.over}"

    @property
    def place(self) -> str:
        """Where the latents live, with the latent model where several live there."""
        model = self.latent.removesuffix(f"_{self.support}").replace("_", " ")
        return f"{'' if model == self.support else f'{model} '}on the {self.support}"

    @property
    def headline(self) -> str:
        """The cell in words."""
        parts = [f"{self.entropy_name}, {self.place}"]
        if self.blocks:
            each = (
                f"{one.latent} of {one.proj_output_dim} ({one.entropy_name})" for one in self.blocks
            )
            parts = [" × ".join(each)]
        if self.predictor != "none":
            parts.append(f"{self.predictor} predictor")
        if self.target != "same":
            parts.append(f"{self.target.replace('_', ' ')} target")
        if self.equivariance_weight:
            parts.append("soft equivariance")
        return ", ".join(parts)

    def build_objective(self) -> LDMObjective | ProductObjective:
        """Build the objective.

        Raises:
            ValueError: a setting of the latent model or of the estimator out of its range.
        """
        if self.blocks:
            return ProductObjective(
                [one.build_cell() for one in self.blocks],
                [one.proj_output_dim for one in self.blocks],
            )
        return self.build_cell()

    def build_cell(self) -> LDMObjective:
        """Build the objective of a cell that is no product."""
        latent_kwargs = dict(self.latent_kwargs)
        if self.prediction_precision is not None:
            latent_kwargs["prediction_precision"] = self.prediction_precision
        latent = LATENTS[self.latent](**latent_kwargs)
        latent.allocate(self.proj_output_dim)
        return LDMObjective(
            latent,
            ENTROPIES[self.entropy](self.support, **self.entropy_kwargs),
            over=self.over,
            weight=self.entropy_weight,
        )
