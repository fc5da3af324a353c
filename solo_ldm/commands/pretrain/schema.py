"""The configuration of `solo-ldm pretrain`, complete before the slow imports."""

from __future__ import annotations

from omegaconf import DictConfig

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.registry import find_dataset
from solo_ldm.run.configuration import complete


def complete_pretrain(cfg: DictConfig) -> DictConfig:
    """Complete the configuration of a run whose images are there; see `complete`."""
    cfg = complete(cfg)
    find_dataset(cfg.data.dataset).check(DataConfig(**cfg.data))
    return cfg
