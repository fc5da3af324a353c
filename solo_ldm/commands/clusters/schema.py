"""The schema of an evaluation of clusters; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from solo_ldm.commands.shared.schema import WeightsConfig
from solo_ldm.config.schema import existing, mapping, number


@dataclass
class ClustersConfig(WeightsConfig):
    """A whole configuration. The defaults are in configs/clusters.yaml."""

    pretrained_feature_extractor: str = existing()  # the folder of a run
    data: dict[str, Any] = mapping(check="solo_ldm.data.choice:check_held_out")
    num_images: int = number(1)
