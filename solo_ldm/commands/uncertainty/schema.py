"""The schema of an evaluation of uncertainty; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from omegaconf import MISSING, DictConfig, OmegaConf

from solo_ldm.commands.knn.schema import choose_data
from solo_ldm.data.config import DataConfig
from solo_ldm.run.configuration import merge

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


@dataclass
class UncertaintyConfig:
    """A whole configuration. The defaults are in configs/uncertainty.yaml.

    data holds the keys of `DataConfig`, of images that lie outside the run's distribution. What a
    data group of pretraining brings besides (backbone, augmentations) is not used.
    """

    run: str = MISSING
    data: dict[str, Any] = field(default_factory=dict)
    backbone: Any = None
    augmentations: Any = None
    num_images: int = MISSING
    num_draws: int = MISSING
    strengths: list[float] = MISSING
    levels: list[float] = MISSING
    batch_size: int = MISSING
    accelerator: str = MISSING
    output: Optional[str] = None
    seed: int = MISSING


@dataclass
class UncertaintyKeys(UncertaintyConfig):
    """The same with the keys of data spelt out, to find the one nearest to a misspelt key."""

    data: DataConfig = field(default_factory=DataConfig)  # pyright: ignore


def complete_uncertainty(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in the defaults of uncertainty.yaml.

    Args:
        cfg: what Hydra composed.

    Returns:
        The whole configuration.

    Raises:
        ValueError: one line naming the key that is unknown, missing or has a wrong value.
    """
    merged = merge(cfg, UncertaintyConfig, "uncertainty.yaml")
    for key, low in (("num_images", 2), ("num_draws", 1), ("batch_size", 1)):
        if merged[key] < low:
            raise ValueError(f"{key}: expected at least {low}, got {merged[key]}")
    strengths = list(merged.strengths)
    if len(set(strengths)) < 2 or min(strengths) < 0:
        raise ValueError(f"strengths: expected at least two numbers from 0, got {strengths}")
    for level in merged.levels:
        if not 0 < level < 1:
            raise ValueError(f"levels: expected shares between 0 and 1, got {level}")
    if not merged.levels:
        raise ValueError("levels: expected at least one share, got an empty list")
    choose_data(merged.data, None, known_only=True)
    plain = OmegaConf.create(OmegaConf.to_container(merged))
    return plain  # pyright: ignore[reportReturnType]
