"""The method_kwargs of JEPA on masked blocks: checked and completed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from solo_ldm.config.suggestions import suggestion
from solo_ldm.methods.ldm import method_kwargs as grid
from solo_ldm.methods.ldm.settings import LDMSettings
from solo_ldm.objective import LDMObjective

# Latent models of a patch given a prediction. The others fit what two views have in common to the
# batch, or have parts that a patch of the backbone has not.
LATENTS = ("plane", "sphere", "conditional")

POSITIONS = ("sincos", "learned")

# Of the cell, what the patches leave open; there is no projector, and one predictor.
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


@dataclass(frozen=True)
class MaskedSettings:
    """Masks, predictor and the cell of the grid.

    Args:
        cell: latent model, estimator, target; its projector and predictor mean nothing.
        num_targets: M, blocks to predict.
        target_scale: least and greatest share of the patches in a target.
        target_aspect: least and greatest height / width of a target.
        context_scale: least and greatest share of the patches in the context block.
        least_context: patches that the context keeps at least.
        pred_embed_dim: width of the predictor.
        pred_depth: blocks of the predictor.
        pred_num_heads: of the predictor's attention.
        positions: of the backbone's patches: sincos (fixed) or learned.
        normalise_patches: subtract from a patch's latent its mean over dimensions, and divide by
            its standard deviation, as the paper does with targets.
    """

    cell: LDMSettings
    num_targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    least_context: int = 10
    pred_embed_dim: int = 384
    pred_depth: int = 6
    pred_num_heads: int = 6
    positions: str = "sincos"
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

    def build_parts(self) -> LDMObjective:
        """Build latent model and estimator; raises ValueError for a setting out of its range."""
        return self.cell.build_objective()  # pyright: ignore[reportReturnType]

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as method_kwargs have them."""
        cell = dataclasses.asdict(self.cell)
        own = {key: getattr(self, key) for key in _OWN}
        own |= {key: list(own[key]) for key in _RANGES}
        return {key: cell[key] for key in (*_CELL, "entropy_kwargs", "latent_kwargs")} | own


_RANGES = ("target_scale", "target_aspect", "context_scale")
_OWN = [one.name for one in dataclasses.fields(MaskedSettings) if one.name != "cell"]


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
    no_part = {one.name for one in dataclasses.fields(LDMSettings)} - set(_CELL)
    known = [key for key in grid.known_keys() if key not in no_part | {"loss"}]
    for key in given:
        if key in no_part:
            raise ValueError(
                f"method_kwargs.{key}: method=masked has no projector, and a transformer as its "
                "predictor (pred_embed_dim, pred_depth, pred_num_heads): leave it out"
            )
        if key not in (*known, *_OWN):
            raise ValueError(f"unknown key method_kwargs.{key}{suggestion(key, [*known, *_OWN])}")
    own = {key: _checked(key, value) for key, value in given.items() if key in _OWN}
    cell = {"latent": "plane", "entropy": "none", "over": "marginal", "target": "moving_average"}
    cell |= {key: value for key, value in given.items() if key not in _OWN}
    if cell["latent"] not in LATENTS:
        raise ValueError(
            f"method_kwargs.latent must be one of {', '.join(LATENTS)} for method=masked; got "
            f"{cell['latent']!r}"
        )
    if cell["over"] != "marginal":
        raise ValueError(
            f"method_kwargs.over={cell['over']} needs two views and method=masked has one: set "
            "marginal"
        )
    # Sizes of a projector that there is not, and a predictor that each latent model takes.
    stand_ins = {"proj_hidden_dim": 1, "proj_output_dim": 1, "predictor": "mlp"}
    return MaskedSettings(grid.resolve({**cell, **stand_ins}), **own)


def _checked(key: str, value: Any) -> Any:
    """Return a value of this method as its setting has it, or raise a one-line ValueError."""
    where = f"method_kwargs.{key}"
    if key in _RANGES:
        pair = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
        numbers = [one for one in pair if isinstance(one, (int, float))]
        most = 1.0 if key.endswith("scale") else float("inf")
        if len(numbers) != 2 or len(pair) != 2 or not 0.0 < pair[0] <= pair[1] <= most:
            limit = ", at most 1" if most == 1.0 else ""
            raise ValueError(
                f"{where} must be [least, greatest] of numbers above 0{limit}; got {value}"
            )
        return (float(pair[0]), float(pair[1]))
    if key == "positions":
        if value not in POSITIONS:
            raise ValueError(f"{where} must be one of {', '.join(POSITIONS)}; got {value!r}")
        return value
    if key == "normalise_patches":
        if not isinstance(value, bool):
            raise ValueError(f"{where} must be true or false, got {value!r}")
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{where} must be a whole number from 1, got {value!r}")
    return value
