"""The schema of linear ICA; nothing here imports torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Optional

from omegaconf import MISSING, DictConfig, OmegaConf

from solo_ldm.run.configuration import assert_choice, merge

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

TASKS = ("images", "generalised_gaussian", "ornstein_uhlenbeck")
MODELS = ("generalised_gaussian", "ornstein_uhlenbeck")
UNMIXINGS = ("square", "orthogonal", "rotation")
ENTROPIES = ("exact", "logdet", "logdet_expansion", "coding_rate", "neighbour", "kernel")
STATISTICS = ("differences", "pixels")


@dataclass
class ImagesConfig:
    """images.*; see `solo_ldm.ica.photographs.photographs`."""

    size: int = MISSING
    statistics: str = MISSING


@dataclass
class GeneralisedGaussianConfig:
    """generalised_gaussian.*; see `solo_ldm.ica.problems.generalised_gaussian`."""

    num_samples: int = MISSING
    shapes: Optional[list[float]] = None


@dataclass
class OrnsteinUhlenbeckConfig:
    """ornstein_uhlenbeck.*; see `solo_ldm.ica.problems.ornstein_uhlenbeck`."""

    num_steps: int = MISSING
    time_constants_seconds: Optional[list[float]] = None
    variances: Optional[list[float]] = None


@dataclass
class ICAConfig:
    """A whole configuration. The defaults are in configs/ica.yaml."""

    task: str = MISSING
    mixtures: Optional[str] = None
    model: Optional[str] = None
    num_sources: int = MISSING
    step_seconds: float = MISSING
    images: ImagesConfig = field(default_factory=ImagesConfig)
    generalised_gaussian: GeneralisedGaussianConfig = field(
        default_factory=GeneralisedGaussianConfig
    )
    ornstein_uhlenbeck: OrnsteinUhlenbeckConfig = field(default_factory=OrnsteinUhlenbeckConfig)
    unmixing: str = MISSING
    entropy: str = MISSING
    entropy_samples: int = MISSING
    entropy_kwargs: dict[str, Any] = field(default_factory=dict)
    smallest_shape: float = MISSING
    restarts: int = MISSING
    seed: int = MISSING
    seeds: Optional[list[int]] = None
    folder: Optional[str] = None


def complete_ica(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in the defaults of ica.yaml.

    Args:
        cfg: what Hydra composed.

    Returns:
        The whole configuration: model and seeds filled in, seeds as a list.

    Raises:
        ValueError: one line naming the key that is unknown, missing or has a wrong value.
    """
    cfg = cfg.copy()
    seeds = OmegaConf.select(cfg, "seeds")
    if seeds is not None and not OmegaConf.is_list(seeds):
        OmegaConf.update(cfg, "seeds", [seeds], force_add=True)
    merged = merge(cfg, ICAConfig, "ica.yaml")
    assert_choice(merged, "task", TASKS)
    assert_choice(merged, "unmixing", UNMIXINGS)
    assert_choice(merged, "entropy", ENTROPIES)
    assert_choice(merged, "images.statistics", STATISTICS)
    for key, low in (("num_sources", 2), ("restarts", 1), ("entropy_samples", 2), ("seed", 0)):
        if merged[key] < low:
            raise ValueError(f"{key}: expected at least {low}, got {merged[key]}")
    if not merged.step_seconds > 0:
        raise ValueError(f"step_seconds: expected a positive number, got {merged.step_seconds}")
    if not 0 < merged.smallest_shape < 1.5:
        raise ValueError(
            f"smallest_shape: expected a number between 0 and 1.5, got {merged.smallest_shape}"
        )
    if merged.seeds is None:
        merged.seeds = [merged.seed]
    _check_seeds(merged)
    if merged.model is None:
        in_time = merged.mixtures is None and merged.task == "ornstein_uhlenbeck"
        merged.model = MODELS[in_time]
    assert_choice(merged, "model", MODELS)
    if merged.unmixing == "rotation" and merged.model != "ornstein_uhlenbeck":
        raise ValueError(
            "unmixing=rotation: expected model=ornstein_uhlenbeck, whose variances are learned, "
            f"got {merged.model}; set unmixing=square or orthogonal"
        )
    if merged.mixtures is None and merged.model == "ornstein_uhlenbeck" != merged.task:
        raise ValueError(
            f"model=ornstein_uhlenbeck: expected samples in time, got task={merged.task}; "
            "set task=ornstein_uhlenbeck, or give mixtures"
        )
    plain = OmegaConf.create(OmegaConf.to_container(merged))
    return plain  # pyright: ignore[reportReturnType]


def _check_seeds(cfg: DictConfig) -> None:
    if not cfg.seeds:
        raise ValueError("seeds: expected at least one, got an empty list")
    if min(cfg.seeds) < 0:
        raise ValueError(f"seeds: expected numbers from 0, got {min(cfg.seeds)}")
    seed, count = Counter(cfg.seeds).most_common(1)[0]
    if count > 1:
        raise ValueError(f"seeds: {seed} is listed {count} times: list it once")
