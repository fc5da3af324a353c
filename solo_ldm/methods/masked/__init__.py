"""JEPA on masked blocks: a vision transformer that predicts hidden blocks of an image."""

from __future__ import annotations

from solo_ldm.methods.masked.masks import BlockMasks, DrawnMasks
from solo_ldm.methods.masked.method import Masked
from solo_ldm.methods.masked.objective import PatchObjective
from solo_ldm.methods.masked.predictor import BlockPredictor
from solo_ldm.methods.masked.settings import MaskedSettings, resolve
from solo_ldm.methods.masked.tokens import check_backbone, encode, patches_of, positions

__all__ = [
    "BlockMasks",
    "BlockPredictor",
    "DrawnMasks",
    "Masked",
    "MaskedSettings",
    "PatchObjective",
    "check_backbone",
    "encode",
    "patches_of",
    "positions",
    "resolve",
]
