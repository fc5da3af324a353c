"""The schema of the theorem as a check; nothing here imports torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from solo_ldm.run.configuration import assert_choice, merge

CASES = ("holds", "non_gaussian", "singular", "blind")
ENTROPIES = ("neighbour", "kernel", "logdet")
ACCELERATORS = ("auto", "gpu", "cuda", "mps", "cpu")


@dataclass
class TheoremConfig:
    """A whole configuration. The defaults are in configs/theorem.yaml."""

    cases: list[str] = MISSING
    seeds: list[int] = MISSING
    steps: int = MISSING
    batch_size: int = MISSING
    lr: float = MISSING
    hidden: int = MISSING
    entropy: str = MISSING
    entropy_kwargs: dict[str, Any] = field(default_factory=dict)
    threshold: float = MISSING
    accelerator: str = MISSING
    folder: str = MISSING


def complete_theorem(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in the defaults of theorem.yaml.

    Args:
        cfg: what Hydra composed.

    Returns:
        The whole configuration; cases and seeds as lists.

    Raises:
        ValueError: one line naming the key that is unknown, missing or has a wrong value.
    """
    cfg = cfg.copy()
    for key in ("cases", "seeds"):
        value = OmegaConf.select(cfg, key)
        if value is not None and not OmegaConf.is_list(value):
            OmegaConf.update(cfg, key, [value], force_add=True)
    merged = merge(cfg, TheoremConfig, "theorem.yaml")
    assert_choice(merged, "entropy", ENTROPIES)
    assert_choice(merged, "accelerator", ACCELERATORS)
    for key in ("cases", "seeds"):
        if not merged[key]:
            raise ValueError(f"{key}: expected at least one, got an empty list")
        value, count = Counter(merged[key]).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{key}: {value} is listed {count} times: list it once")
    for case in merged.cases:
        if case not in CASES:
            raise ValueError(f"cases: expected some of {', '.join(CASES)}; got {case!r}")
    if min(merged.seeds) < 0:
        raise ValueError(f"seeds: expected numbers from 0, got {min(merged.seeds)}")
    for key, low in (("steps", 1), ("batch_size", 8), ("hidden", 1)):
        if merged[key] < low:
            raise ValueError(f"{key}: expected at least {low}, got {merged[key]}")
    if not merged.lr > 0:
        raise ValueError(f"lr: expected a positive number, got {merged.lr}")
    if not 0 < merged.threshold < 1:
        raise ValueError(f"threshold: expected an R² between 0 and 1, got {merged.threshold}")
    plain = OmegaConf.create(OmegaConf.to_container(merged))
    return plain  # pyright: ignore[reportReturnType]
