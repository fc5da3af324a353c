"""The schema of diagnostics; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from omegaconf import DictConfig

from solo_ldm.commands.shared.schema import WeightsOnImagesConfig
from solo_ldm.config.schema import complete, number
from solo_ldm.data.choice import choose_data
from solo_ldm.data.config import check_views

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


@dataclass
class DiagnosticsConfig(WeightsOnImagesConfig):
    """A whole configuration. The defaults are in configs/diagnostics.yaml."""

    num_images: int = number(20)
    num_train_images: Optional[int] = number(20, default=None)
    num_views: int = number(2)
    num_jacobian_images: int = number(0)


def complete_diagnostics(cfg: DictConfig) -> DictConfig:
    """Complete a configuration, and check its data and views."""
    cfg = complete(cfg, DiagnosticsConfig, "diagnostics.yaml")
    choose_data(cfg.data, None, known_only=True)
    check_views(cfg.augmentations)
    return cfg
