"""The schema of a nearest-neighbour evaluation; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from omegaconf import DictConfig

from solo_ldm.commands.shared.schema import WeightsOnImagesConfig, check_patches
from solo_ldm.config.schema import choice, complete, number
from solo_ldm.data.choice import choose_data
from solo_ldm.data.config import check_views

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


@dataclass
class KnnConfig(WeightsOnImagesConfig):
    """A whole configuration. The defaults are in configs/knn.yaml."""

    image_size: Optional[int] = number(1, default=None)
    num_patches: Optional[int] = number(1, default=None)
    patch_share: Optional[float] = number(above=0, high=1, default=None)
    k: list[int] = number(1)
    temperature: list[float] = number(above=0)
    distance: list[str] = choice("cosine", "euclidean")


def complete_knn(cfg: DictConfig) -> DictConfig:
    """Complete a configuration; a single k, temperature or distance is a list of one."""
    cfg = complete(cfg, KnnConfig, "knn.yaml")
    for key in ("k", "distance", *(("temperature",) if "cosine" in cfg.distance else ())):
        if not cfg[key]:
            raise ValueError(f"{key}: expected at least one value, got an empty list")
    check_patches(cfg)
    choose_data(cfg.data, None, known_only=True)
    check_views(cfg.augmentations)
    return cfg
