"""The schema of an evaluation by texts; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from omegaconf import DictConfig

from solo_ldm.commands.shared.schema import WeightsOnImagesConfig
from solo_ldm.config.schema import choice, complete, existing
from solo_ldm.data.choice import choose_data
from solo_ldm.data.config import check_views

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


@dataclass
class ZeroShotConfig(WeightsOnImagesConfig):
    """A whole configuration. The defaults are in configs/zeroshot.yaml."""

    pretrained_feature_extractor: str = existing()  # the folder of a run
    protocols: list[str] = choice("zero-shot", "retrieval")
    prompts: Optional[list[str]] = None
    class_names: Optional[list[str]] = None


def complete_zeroshot(cfg: DictConfig) -> DictConfig:
    """Complete a configuration; data that are not given are those of the run."""
    cfg = complete(cfg, ZeroShotConfig, "zeroshot.yaml")
    choose_data(cfg.data, None, known_only=True)
    check_views(cfg.augmentations)
    return cfg
