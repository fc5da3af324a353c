"""The schema of a predictive run's configuration, and the checks of the parts it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, ClassVar, Literal, Optional

from omegaconf import MISSING, DictConfig, OmegaConf

from solo_ldm.config.schema import check_path, choice, complete, learning_rate, mapping, number
from solo_ldm.config.training import TrainingConfig

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

PACKAGE = "predictive.configs"

# Settings of estimators that had keys of their own in `objective`.
_ESTIMATOR_KEYS = ("num_neighbours", "norm", "clip_quantile", "kernel_precision", "ridge")


@dataclass
class PredictiveOptimizer:
    """optimizer.*."""

    name: str = MISSING
    batch_size: int = number(1)
    lr: float = learning_rate()
    weight_decay: float = learning_rate()
    multipliers: dict[str, float] = mapping()
    kwargs: dict[str, Any] = mapping()


@dataclass
class PredictiveEvaluation:
    """evaluation.*."""

    targets: Optional[list[str]] = None
    kinds: list[str] = choice("linear", "mlp")
    smoothing_seconds: list[float] = number(above=0)
    identify: Optional[str] = None
    compare_gradients_every: int = number(0)
    report: bool = MISSING


@dataclass
class PredictiveConfig(TrainingConfig):
    """A whole configuration. The defaults are in configs/host.yaml."""

    ALIASES: ClassVar[dict[str, str]] = {
        **TrainingConfig.ALIASES,
        **{f"objective.{key}": f"objective.entropy_kwargs.{key}" for key in _ESTIMATOR_KEYS},
    }

    method: str = MISSING
    data: dict[str, Any] = mapping()
    encoder: dict[str, Any] = mapping()
    predictor: dict[str, Any] = mapping()
    objective: dict[str, Any] = mapping()
    decoders: dict[str, Any] = mapping()
    optimizer: PredictiveOptimizer = field(default_factory=PredictiveOptimizer)
    evaluation: PredictiveEvaluation = field(default_factory=PredictiveEvaluation)


def complete_predictive(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in the defaults of configs/host.yaml.

    Args:
        cfg: what Hydra composed; keys may be missing where host.yaml has a default.

    Returns:
        The whole configuration, interpolations resolved.

    Raises:
        ValueError: one line naming the key that is unknown, missing, of the wrong type or out of
            its bounds.
        FileNotFoundError: one line: a checkpoint that is not there.
    """
    cfg = complete(cfg, PredictiveConfig, "host.yaml", PACKAGE)
    _check_parts(plain(cfg))
    return cfg


def complete_with_recording(cfg: DictConfig) -> DictConfig:
    """Complete a configuration whose recording is there, which is looked for before torch is."""
    paths = OmegaConf.select(cfg, "data.path")
    for path in paths if OmegaConf.is_list(paths) else [paths]:
        if isinstance(path, str) and not set(path) & set("*?["):  # of a pattern
            check_path("data.path", path)
    return complete_predictive(cfg)


def plain(node: Any) -> dict[str, Any]:
    """Return a part of a configuration as a dict."""
    container: Any = OmegaConf.to_container(node)
    return container


def _check_parts(cfg: dict[str, Any]) -> None:
    """Check the keys that are arguments of the parts they name.

    Raises:
        ValueError: one line: an unknown part, an unknown or missing key, a value of another type.
    """
    # Imported here: they import torch, which takes seconds.
    from predictive.data.module import SequenceModule
    from predictive.data.registry import DATASETS
    from predictive.decoding.online import DecoderConfig
    from predictive.encoder import Encoder
    from predictive.networks import check_backbone
    from predictive.objective import PredictiveObjective
    from predictive.predictors import PREDICTORS
    from solo_ldm.config.arguments import Rate, check_arguments, check_value
    from solo_ldm.config.suggestions import suggestion
    from solo_ldm.optim.optimizers import check_optimizer

    check_value("method", cfg["method"], Literal[tuple(PREDICTORS)])
    data = dict(cfg["data"])
    check_value("data.dataset", data.pop("dataset"), Literal[tuple(DATASETS)])
    windows = {key: data.pop(key) for key in ("window", "stride") if key in data}
    check_arguments("data", windows, SequenceModule, ["data", "batch_size", "seed"])
    check_arguments("data", data, DATASETS[cfg["data"]["dataset"]], ["seed"])
    check_arguments("encoder", cfg["encoder"], Encoder, ["input_dim", "latent_dim"])
    check_backbone(cfg["encoder"])
    known = {name: signature(one).parameters for name, one in PREDICTORS.items()}
    for key in cfg["predictor"]:
        others = [name for name, keys in known.items() if key in keys]
        if others and cfg["method"] not in others:
            raise ValueError(
                f"predictor.{key}: expected no such key for method={cfg['method']}, got one of "
                f"{others[0]}; give method=NAME and predictor=NAME together, and remove it with "
                f"~predictor.{key}"
            )
    check_arguments("predictor", cfg["predictor"], PREDICTORS[cfg["method"]], ["input_dim"])
    check_arguments("objective", cfg["objective"], PredictiveObjective)
    PredictiveObjective(**cfg["objective"])  # checks the settings of the estimator
    check_optimizer(cfg["optimizer"]["name"], cfg["optimizer"]["kwargs"])
    parts = ["encoder", *dict.fromkeys(part for one in PREDICTORS.values() for part in one.parts)]
    for part, factor in cfg["optimizer"]["multipliers"].items():
        key = f"optimizer.multipliers.{part}"
        if part not in parts:
            nearest = suggestion(str(part), parts)
            raise ValueError(f"unknown key {key}{nearest}: the parts are {', '.join(parts)}")
        check_value(key, factor, Rate)
    for name, decoder in cfg["decoders"].items():
        check_value(f"decoders.{name}", decoder, Mapping[str, Any])
        check_arguments(f"decoders.{name}", decoder, DecoderConfig)
