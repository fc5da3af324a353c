"""The keys of `solo-ldm ica`; a misspelt one is refused before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Optional

from omegaconf import MISSING, DictConfig

from solo_ldm.config.arguments import check_arguments
from solo_ldm.config.schema import (
    check_distinct,
    choice,
    complete,
    existing,
    mapping,
    number,
    random_seed,
)

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

MODELS = ("generalised_gaussian", "ornstein_uhlenbeck")
TASKS = ("images", *MODELS)


@dataclass
class ImagesConfig:
    """images.*; see `solo_ldm.ica.photographs.photographs`."""

    size: int = MISSING
    statistics: str = choice("differences", "pixels")


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

    ALIASES: ClassVar[dict[str, str]] = {"folder": "output"}

    task: str = choice(*TASKS)
    mixtures: Optional[str] = existing(default=None)
    model: Optional[str] = choice(*MODELS, default=None)
    num_sources: int = number(2, limit=1000)
    step_seconds: float = number(above=0)
    images: ImagesConfig = field(default_factory=ImagesConfig)
    generalised_gaussian: GeneralisedGaussianConfig = field(
        default_factory=GeneralisedGaussianConfig
    )
    ornstein_uhlenbeck: OrnsteinUhlenbeckConfig = field(default_factory=OrnsteinUhlenbeckConfig)
    unmixing: str = choice("square", "orthogonal", "rotation")
    entropy: str = MISSING
    entropy_samples: int = number(2)
    entropy_kwargs: dict[str, Any] = mapping()
    smallest_shape: float = number(above=0, below=1.5)
    restarts: int = number(1)
    seed: int = random_seed()
    seeds: Optional[list[int]] = random_seed(None)
    output: Optional[str] = None


def complete_ica(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in the defaults of ica.yaml.

    Args:
        cfg: what Hydra composed.

    Returns:
        The whole configuration: model, seeds and output filled in.

    Raises:
        ValueError: one line naming the key that is unknown, missing or has a wrong value.
        FileNotFoundError: one line: mixtures that are not there.
    """
    cfg = complete(cfg, ICAConfig, "ica.yaml")
    if cfg.seeds is None:
        cfg.seeds = [cfg.seed]
    check_distinct("seeds", cfg.seeds)
    _check_parts(cfg)
    subject = cfg.task
    if cfg.mixtures is not None:
        path = Path(cfg.mixtures)
        if path.suffix not in (".npy", ".npz"):
            raise ValueError(f"mixtures: expected a .npy or .npz file, got {path.name!r}")
        subject = path.stem
    elif cfg.model == "ornstein_uhlenbeck" != cfg.task:
        raise ValueError(
            f"model=ornstein_uhlenbeck: expected samples in time, got task={cfg.task}; "
            "set task=ornstein_uhlenbeck, or give mixtures"
        )
    in_time = cfg.mixtures is None and cfg.task == "ornstein_uhlenbeck"
    cfg.model = cfg.model or MODELS[in_time]
    cfg.output = cfg.output or str(Path("ica") / subject)
    return cfg


def _check_parts(cfg: DictConfig) -> None:
    """Check the settings of all tasks and of the entropy, whatever is chosen."""
    # Imported here: they import torch, which takes seconds.
    from solo_ldm.ica import problems
    from solo_ldm.ica.objective import ica_entropy
    from solo_ldm.ica.photographs import photographs

    for name, task in (
        ("images", photographs),
        ("generalised_gaussian", problems.generalised_gaussian),
        ("ornstein_uhlenbeck", problems.ornstein_uhlenbeck),
    ):
        check_arguments(name, cfg[name], task, ("num_sources", "seed", "step_seconds", "rotation"))
    ica_entropy(cfg.entropy, cfg.entropy_kwargs)
