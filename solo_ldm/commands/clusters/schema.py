"""The schema of an evaluation of clusters; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from omegaconf import MISSING, DictConfig, OmegaConf

from solo_ldm.run.configuration import merge

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


@dataclass
class ClustersConfig:
    """A whole configuration. The defaults are in configs/clusters.yaml."""

    run: str = MISSING
    num_images: int = MISSING
    batch_size: int = MISSING
    accelerator: str = MISSING
    output: Optional[str] = None


def complete_clusters(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in the defaults of clusters.yaml.

    Args:
        cfg: what Hydra composed.

    Returns:
        The whole configuration.

    Raises:
        ValueError: one line naming the key that is unknown, missing or has a wrong value.
    """
    merged = merge(cfg, ClustersConfig, "clusters.yaml")
    for key in ("num_images", "batch_size"):
        if merged[key] < 1:
            raise ValueError(f"{key}: expected at least 1, got {merged[key]}")
    plain = OmegaConf.create(OmegaConf.to_container(merged))
    return plain  # pyright: ignore[reportReturnType]
