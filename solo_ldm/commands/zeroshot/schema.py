"""The schema of an evaluation by texts; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from solo_ldm.commands.shared.schema import WeightsConfig
from solo_ldm.config.schema import choice, existing, mapping

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


@dataclass
class ZeroShotConfig(WeightsConfig):
    """A whole configuration. The defaults are in configs/zeroshot.yaml."""

    pretrained_feature_extractor: str = existing()  # the folder of a run
    data: dict[str, Any] = mapping(check="solo_ldm.data.choice:check_held_out")
    protocols: list[str] = choice("zero-shot", "retrieval")
    prompts: Optional[list[str]] = None
    class_names: Optional[list[str]] = None
