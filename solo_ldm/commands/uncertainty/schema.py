"""The schema of an evaluation of uncertainty; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig

from solo_ldm.commands.shared.schema import WeightsOnImagesConfig
from solo_ldm.config.schema import complete, existing, number
from solo_ldm.data.choice import choose_data
from solo_ldm.data.config import check_views


@dataclass
class UncertaintyConfig(WeightsOnImagesConfig):
    """A whole configuration. The defaults are in configs/uncertainty.yaml.

    data holds the keys of `DataConfig`, of images that lie outside the run's distribution.
    """

    pretrained_feature_extractor: str = existing()  # the folder of a run
    num_images: int = number(2)
    num_draws: int = number(1)
    strengths: list[float] = number(0)
    levels: list[float] = number(above=0, below=1)


def complete_uncertainty(cfg: DictConfig) -> DictConfig:
    """Complete a configuration, and check its lists and its data."""
    cfg = complete(cfg, UncertaintyConfig, "uncertainty.yaml")
    if len(set(cfg.strengths)) < 2:
        raise ValueError(
            f"strengths: expected at least two different numbers, got {list(cfg.strengths)}"
        )
    if not cfg.levels:
        raise ValueError("levels: expected at least one share, got an empty list")
    choose_data(cfg.data, None, known_only=True)
    check_views(cfg.augmentations)
    return cfg
