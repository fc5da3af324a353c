"""The method_kwargs of a masked method: checked and completed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from solo_ldm.config.arguments import (
    Bounds,
    Count,
    Positive,
    Width,
    check_arguments,
    check_keys,
    check_value,
)
from solo_ldm.methods.ldm import method_kwargs as grid
from solo_ldm.methods.ldm.settings import LDMSettings
from solo_ldm.methods.masked.masks import Masks
from solo_ldm.methods.masked.patch_masks import MASKS as OF_IMAGES
from solo_ldm.methods.masked.targets import TARGETS, PatchTargets
from solo_ldm.methods.masked.tubes import RangeMasks, Tubes

# What method_kwargs.masks may be.
MASKS: dict[str, type[Masks]] = {**OF_IMAGES, "ranges": RangeMasks}

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
_TARGET = ("target", "base_tau", "final_tau")

# From the smallest to the largest.
Shares = tuple[Annotated[float, Bounds(above=0, high=1)], ...]
_RANGES = ("target_scale", "target_aspect", "context_scale", "range_scales", "range_shares")


@dataclass(frozen=True)
class MaskedSettings:
    """What is predicted of which patches, by what from what, and the cell of the grid.

    Args:
        cell: latent model, estimator and target; its projector and predictor are not used.
        predict: what is predicted of a patch, a name in `TARGETS`.
        target_blocks: of latents: last blocks of the target network whose outputs are averaged.
        normalise_patches: subtract from the latent of a patch its mean over dimensions and divide
            by its standard deviation, as papers do with targets.
        normalise_pixels: of pixels and tokens: the same with the pixels of a patch.
        num_orientations: of gradients: bins of an angle.
        cell_size: of gradients: side of a cell of a histogram, in pixels.
        num_tokens: size of the codebook.
        hidden: what the encoder has in place of patches that it does not see: nothing (dropped), or
            a learned mask_token.
        masks: how the patches to predict are drawn, a name in `MASKS`.
        num_targets: M, blocks to predict.
        target_scale: smallest and largest share of the patches in a target, or in a rectangle of
            blockwise masks.
        target_aspect: smallest and largest height / width of the same.
        context_scale: smallest and largest share of the patches in the context block.
        least_context: smallest number of patches in the context.
        mask_share: of the patches that random and blockwise masks hide.
        mask_unit: side of a unit of random masks, in patches.
        range_scales: share of the patches in a block of masks of ranges, of each range.
        range_shares: of the patches that they hide, of each range.
        pred_embed_dim: width of the predictor.
        pred_depth: blocks of the predictor; 0 is a linear map of the encoder's tokens.
        pred_num_heads: heads of the predictor's attention.
        positions: embedding of the backbone's patches: sincos (fixed) or learned.
    """

    cell: LDMSettings
    predict: str = "latents"
    target_blocks: Count = 1
    normalise_patches: bool = True
    normalise_pixels: bool = True
    num_orientations: Count = 9
    cell_size: Count = 8
    num_tokens: Annotated[int, Bounds(2, limit=10_000_000)] = 8192
    hidden: Literal["dropped", "mask_token"] = "dropped"
    masks: str = "blocks"
    num_targets: Count = 4
    target_scale: Shares = (0.15, 0.2)
    target_aspect: tuple[Positive, ...] = (0.75, 1.5)
    context_scale: Shares = (0.85, 1.0)
    least_context: Count = 10
    mask_share: Annotated[float, Bounds(above=0, below=1)] = 0.75
    mask_unit: Count = 1
    range_scales: Shares = (0.15, 0.7)
    range_shares: Shares = (0.73, 0.9)
    pred_embed_dim: Width = 384
    pred_depth: Annotated[int, Bounds(0, limit=1000)] = 6
    pred_num_heads: Width = 6
    positions: Literal["sincos", "learned"] = "sincos"

    @property
    def headline(self) -> str:
        """The method in words."""
        cell = self.cell
        masks = f"{self.mask_share:.0%} of the patches masked, {self.masks}"
        if self.masks == "ranges":
            shares = " or ".join(f"{share:.0%}" for share in self.range_shares)
            masks = f"{shares} of the patches masked"
        if self.masks == "blocks":
            masks = f"{self.num_targets} masked blocks"
        entropy = "no entropy" if cell.entropy == "none" else f"{cell.entropy} entropy of images"
        target = "" if cell.target == "same" else f", {cell.target.replace('_', ' ')} target"
        if not self.learned:
            target = f", {self.predict} as targets"
        return f"{masks}, {entropy}, {cell.place}{target}"

    @property
    def learned(self) -> bool:
        """Whether targets come from a network that learns."""
        return TARGETS[self.predict].learned

    @property
    def axes(self) -> dict[str, str | None]:
        """The place on the grid, for `Description.axes`."""
        return {
            **self.cell.axes,
            "predictor": "transformer" if self.pred_depth else "linear",
            "target": self.cell.target if self.learned else self.predict,
        }

    def build_masks(self, grid: tuple[int, ...]) -> Masks:
        """Build the masks of images of so many rows and columns of patches; of clips, over time.

        Raises:
            ValueError: in one line: masks that do not fit, or clips and what is data of images.
        """
        *times, rows, columns = grid
        kind: Any = MASKS[self.masks]
        masks = kind((rows, columns), **self._arguments(kind))
        if times and not self.learned:
            raise ValueError(
                f"method_kwargs.predict: expected latents with backbone.name=vit_video, as "
                f"{self.predict} are of the patches of images, got {self.predict}"
            )
        return Tubes(masks, times[0]) if times else masks

    def build_targets(self, vit: Any) -> PatchTargets:
        """Build what makes the targets for a backbone."""
        return TARGETS[self.predict](vit, **self._arguments(TARGETS[self.predict]))  # pyright: ignore

    def _arguments(self, kind: type) -> dict[str, Any]:
        """Return the settings that the constructor of a part asks for."""
        names = inspect.signature(kind).parameters
        return {name: getattr(self, name) for name in names if name in _OWN}

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as method_kwargs have them."""
        own = asdict(self)
        cell = own.pop("cell")
        keys = [key for key in _CELL if self.learned or key not in _TARGET]
        kept = {key: cell[key] for key in (*keys, "entropy_kwargs", "latent_kwargs")}
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
                "and no equivariance, and its predictor is a transformer (pred_embed_dim, "
                "pred_depth, pred_num_heads); leave it out"
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
    for key, names in (("predict", TARGETS), ("masks", MASKS)):
        if key in own:
            check_value(f"method_kwargs.{key}", own[key], Literal[(*names,)])
    kind = TARGETS[own.get("predict", MaskedSettings.predict)]
    if own.get("pred_depth") == 0 and own.get("hidden", MaskedSettings.hidden) != "mask_token":
        raise ValueError(
            "method_kwargs.pred_depth: 0, a linear map of the encoder's tokens, needs tokens where "
            "patches are hidden: set method_kwargs.hidden=mask_token, or a depth from 1"
        )
    cell = {"latent": kind.latents[0], "entropy": "none", "target": "moving_average"}
    cell |= {"over": "marginal"} | {key: value for key, value in given.items() if key not in _OWN}
    check_value("method_kwargs.latent", cell["latent"], Literal[kind.latents])
    if cell["over"] != "marginal":
        raise ValueError(
            f"method_kwargs.over: expected marginal for method=masked, which has one view, got "
            f"{cell['over']!r}"
        )
    if not kind.learned:
        # Samples of the empirical distribution: their entropy is what it is, and no gradient
        # reaches them, whatever target the configuration has for latents.
        cell["target"] = "detached"
    elif (cell["entropy"], cell["target"]) == ("none", "same"):
        raise ValueError(
            "method_kwargs.entropy: none with predict=latents and target=same has nothing against "
            "collapse; choose an entropy, target=moving_average or detached, or predict what is "
            f"data ({', '.join(name for name, one in TARGETS.items() if not one.learned)})"
        )
    # Sizes of the projector that is not there, and a predictor that each latent model accepts.
    unused = {"proj_hidden_dim": 1, "proj_output_dim": 1, "predictor": "mlp"}
    return MaskedSettings(grid.resolve({**cell, **unused}), **own)
