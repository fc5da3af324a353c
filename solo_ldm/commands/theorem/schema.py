"""The keys of `solo-ldm theorem`; a misspelt one is refused before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING, DictConfig

from solo_ldm.config.schema import (
    check_distinct,
    choice,
    complete,
    mapping,
    number,
    random_seed,
)

CASES = ("holds", "non_gaussian", "singular", "blind")


@dataclass
class TheoremConfig:
    """A whole configuration. The defaults are in configs/theorem.yaml."""

    ALIASES: ClassVar[dict[str, str]] = {"folder": "output"}

    cases: list[str] = choice(*CASES)
    seeds: list[int] = random_seed()
    steps: int = number(1)
    batch_size: int = number(8)
    lr: float = number(above=0)
    hidden: int = number(1, limit=2**20)
    entropy: str = MISSING
    entropy_kwargs: dict[str, Any] = mapping()
    threshold: float = number(above=0, below=1)
    accelerator: str = choice("auto", "gpu", "cuda", "mps", "cpu")
    output: str = MISSING


def complete_theorem(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in the defaults of theorem.yaml.

    Args:
        cfg: what Hydra composed.

    Returns:
        The whole configuration; cases and seeds as lists.

    Raises:
        ValueError: one line naming the key that is unknown, missing or has a wrong value.
    """
    cfg = complete(cfg, TheoremConfig, "theorem.yaml")
    for key in ("cases", "seeds"):
        check_distinct(key, cfg[key])
    # Imported here: it imports torch, which takes seconds.
    from solo_ldm.theorem.trial import build_objective

    build_objective(cfg.entropy, cfg.entropy_kwargs)
    return cfg
