"""The keys of `solo-ldm latents`; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from solo_ldm.config.schema import choice, existing, mapping

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045


@dataclass
class LatentsConfig:
    """A whole configuration. The defaults are in configs/latents.yaml."""

    run: str = existing()
    data: dict[str, Any] = mapping()
    format: str = choice("npz", "csv", "nwb")
    output: Optional[str] = None
