"""The method_kwargs of JEPA on masked blocks: checked and completed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from solo_ldm.config.arguments import (
    Bounds,
    Count,
    Depth,
    Positive,
    Width,
    check_arguments,
    check_keys,
    check_value,
)
from solo_ldm.methods.ldm import method_kwargs as grid
from solo_ldm.methods.ldm.settings import LDMSettings

# Latent models of a patch given a prediction. The others fit what two views have in common to the
# batch, or have parts that a patch of the backbone has not.
LATENTS = ("plane", "sphere", "conditional")

# Keys of the cell that patches leave open; there is no projector, and one predictor.
_CELL = (
    "latent",
    "prediction_precision",
    "entropy",
    "over",
    "entropy_weight",
    "target",
    "base_tau",
    "final_tau",
)

# From the smallest to the largest.
Shares = tuple[Annotated[float, Bounds(above=0, high=1)], ...]
_RANGES = ("target_scale", "target_aspect", "context_scale")


@dataclass(frozen=True)
class MaskedSettings:
    """Masks, predictor and the cell of the grid.

    Args:
        cell: latent model, estimator and target; its projector and predictor are not used.
        num_targets: M, blocks to predict.
        target_scale: smallest and largest share of the patches in a target.
        target_aspect: smallest and largest height / width of a target.
        context_scale: smallest and largest share of the patches in the context block.
        least_context: smallest number of patches in the context.
        pred_embed_dim: width of the predictor.
        pred_depth: blocks of the predictor.
        pred_num_heads: heads of the predictor's attention.
        positions: embedding of the backbone's patches: sincos (fixed) or learned.
        normalise_patches: subtract from the latent of a patch its mean over dimensions and divide
            by its standard deviation, as the paper does with targets.
    """

    cell: LDMSettings
    num_targets: Count = 4
    target_scale: Shares = (0.15, 0.2)
    target_aspect: tuple[Positive, ...] = (0.75, 1.5)
    context_scale: Shares = (0.85, 1.0)
    least_context: Count = 10
    pred_embed_dim: Width = 384
    pred_depth: Depth = 6
    pred_num_heads: Width = 6
    positions: Literal["sincos", "learned"] = "sincos"
    normalise_patches: bool = True

    @property
    def headline(self) -> str:
        """The cell in words."""
        cell = self.cell
        entropy = "no entropy" if cell.entropy == "none" else f"{cell.entropy} entropy of images"
        target = "" if cell.target == "same" else f", {cell.target.replace('_', ' ')} target"
        return f"{self.num_targets} masked blocks, {entropy}, on the {cell.support}{target}"

    @property
    def masks(self) -> dict[str, Any]:
        """The arguments of `BlockMasks` besides the grid."""
        return {key: getattr(self, key) for key in (*_RANGES, "num_targets", "least_context")}

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as method_kwargs have them."""
        own = asdict(self)
        cell = own.pop("cell")
        kept = {key: cell[key] for key in (*_CELL, "entropy_kwargs", "latent_kwargs")}
        return {**kept, **own, **{key: list(own[key]) for key in _RANGES}}


_OWN = [one.name for one in fields(MaskedSettings) if one.name != "cell"]


def resolve(method_kwargs: Mapping[str, Any]) -> MaskedSettings:
    """Check method_kwargs and complete them; a key set to null takes its default.

    Keys of the cell and of all latent models and estimators are those of
    `solo_ldm.methods.ldm.method_kwargs.resolve`; those of projectors and other predictors are
    refused.

    Raises:
        ValueError: in one line: an unknown key, a value out of range, or a choice or combination
            that does not exist.
    """
    given = {key: value for key, value in method_kwargs.items() if value is not None}
    absent = set(grid.CELL_KEYS) - set(_CELL)
    for key in given:
        if key in absent:
            raise ValueError(
                f"method_kwargs.{key}: expected no such key, as method=masked has no projector "
                "and its predictor is a transformer (pred_embed_dim, pred_depth, pred_num_heads); "
                "leave it out"
            )
    known = [key for key in grid.known_keys() if key not in absent | {"loss"}]
    check_keys("method_kwargs", given, [*known, *_OWN])
    own = {key: value for key, value in given.items() if key in _OWN}
    check_arguments("method_kwargs", own, MaskedSettings, ("cell",))
    for key in own.keys() & set(_RANGES):
        own[key] = tuple(map(float, own[key]))
        if len(own[key]) != 2 or own[key][0] > own[key][1]:
            raise ValueError(
                f"method_kwargs.{key}: expected [smallest, largest], got {list(given[key])}"
            )
    cell = {"latent": "plane", "entropy": "none", "over": "marginal", "target": "moving_average"}
    cell |= {key: value for key, value in given.items() if key not in _OWN}
    check_value("method_kwargs.latent", cell["latent"], Literal[LATENTS])
    if cell["over"] != "marginal":
        raise ValueError(
            f"method_kwargs.over: expected marginal for method=masked, which has one view, got "
            f"{cell['over']!r}"
        )
    # Sizes of the projector that is not there, and a predictor that each latent model accepts.
    unused = {"proj_hidden_dim": 1, "proj_output_dim": 1, "predictor": "mlp"}
    return MaskedSettings(grid.resolve({**cell, **unused}), **own)
