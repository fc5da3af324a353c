"""The keys that commands on weights share; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Optional

from omegaconf import MISSING

from solo_ldm.config.schema import existing, mapping, number, random_seed
from solo_ldm.config.training import BackboneConfig

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


# Beginnings of names of weights that are no path.
ORIGINS = ("zoo:", "hf-hub:", "timm:", "untrained:")


@dataclass
class UnknownBackboneConfig(BackboneConfig):
    """backbone.*; for weights whose file does not name their network."""

    name: Optional[str] = None  # pyright: ignore[reportIncompatibleVariableOverride]


@dataclass
class WeightsConfig:
    """The keys of every command that evaluates weights and trains nothing."""

    ALIASES: ClassVar[dict[str, str]] = {"run": "pretrained_feature_extractor"}

    pretrained_feature_extractor: str = existing(*ORIGINS)
    batch_size: int = number(1)
    accelerator: str = MISSING
    output: Optional[str] = None


@dataclass
class WeightsOnImagesConfig(WeightsConfig):
    """The keys of those that take images besides, data=NAME.

    `data` holds keys of `DataConfig`, null where nothing is given. A data group of pretraining
    brings a backbone and augmentations, of which only the size of the images is used, and only
    where the file of the weights gives none.
    """

    data: dict[str, Any] = mapping()
    backbone: UnknownBackboneConfig = field(default_factory=UnknownBackboneConfig)
    augmentations: Any = None
    seed: int = random_seed()


def check_patches(cfg: Any) -> None:
    """Raise a one-line ValueError where patches have a size and no number."""
    if cfg.patch_share is not None and cfg.num_patches is None:
        raise ValueError(
            f"patch_share: expected null without num_patches, got {cfg.patch_share}; set "
            "num_patches to average features over so many patches"
        )
