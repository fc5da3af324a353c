"""The schema of a predictive run's configuration: which keys there are, and of what type."""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Optional

from omegaconf import MISSING, DictConfig, OmegaConf

from solo_ldm.run.configuration import (
    AutoResumeConfig,
    CheckpointConfig,
    SchedulerConfig,
    TensorboardConfig,
    WandbConfig,
    assert_choice,
    merge,
)

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

PACKAGE = "predictive.configs"

# What has a learning rate of its own: the encoder and the parts of the predictors.
PARTS = (
    "encoder",
    "filter",
    "observation_noise",
    "process_noise",
    "recurrent",
    "head",
    "variance",
)


@dataclass
class PredictiveOptimizer:
    """optimizer.*."""

    name: str = MISSING
    batch_size: int = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    multipliers: dict[str, float] = field(default_factory=dict)
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class PredictiveEvaluation:
    """evaluation.*."""

    targets: Optional[list[str]] = None
    kinds: list[str] = MISSING
    smoothing_seconds: list[float] = MISSING
    identify: Optional[str] = None
    compare_gradients_every: int = MISSING
    report: bool = MISSING


@dataclass
class PredictiveConfig:
    """A whole configuration. The defaults are in configs/host.yaml."""

    name: str = MISSING
    method: str = MISSING
    seed: int = MISSING
    data: dict[str, Any] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    predictor: dict[str, Any] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=dict)
    decoders: dict[str, Any] = field(default_factory=dict)
    optimizer: PredictiveOptimizer = field(default_factory=PredictiveOptimizer)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    max_epochs: int = MISSING
    accelerator: str = MISSING
    devices: Any = MISSING
    num_nodes: int = MISSING
    strategy: str = MISSING
    precision: Any = MISSING
    sync_batchnorm: bool = MISSING
    accumulate_grad_batches: int = MISSING
    trainer: dict[str, Any] = field(default_factory=dict)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    auto_resume: AutoResumeConfig = field(default_factory=AutoResumeConfig)
    resume_from_checkpoint: Optional[str] = None
    wandb: WandbConfig = field(default_factory=WandbConfig)
    tensorboard: TensorboardConfig = field(default_factory=TensorboardConfig)
    evaluation: PredictiveEvaluation = field(default_factory=PredictiveEvaluation)


def complete_predictive(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in the defaults of configs/host.yaml.

    Args:
        cfg: what Hydra composed; keys may be missing where host.yaml has a default.

    Returns:
        The whole configuration, interpolations resolved.

    Raises:
        ValueError: one line naming the key that is unknown, missing or of the wrong type.
    """
    merged = merge(cfg, PredictiveConfig, "host.yaml", PACKAGE)
    assert_choice(merged, "scheduler.name", ("warmup_cosine", "step", "none"))
    assert_choice(merged, "scheduler.interval", ("step", "epoch"))
    for key in ("max_epochs", "optimizer.batch_size", "accumulate_grad_batches"):
        if OmegaConf.select(merged, key) < 1:
            raise ValueError(f"{key} must be at least 1, got {OmegaConf.select(merged, key)}")
    rates = {"optimizer.lr": merged.optimizer.lr}
    for part, factor in merged.optimizer.multipliers.items():
        rates[f"optimizer.multipliers.{part}"] = factor
    for key, value in {**rates, "optimizer.weight_decay": merged.optimizer.weight_decay}.items():
        if value < 0.0:
            raise ValueError(f"{key} must be at least 0, got {value}")
    if merged.evaluation.compare_gradients_every < 0:
        raise ValueError(
            "evaluation.compare_gradients_every counts steps, 0 for never; got "
            f"{merged.evaluation.compare_gradients_every}"
        )
    for seconds in merged.evaluation.smoothing_seconds:
        if seconds <= 0.0:
            raise ValueError(f"evaluation.smoothing_seconds must be above 0, got {seconds}")
    for kind in merged.evaluation.kinds:
        if kind not in ("linear", "mlp"):
            raise ValueError(f"evaluation.kinds takes linear and mlp, got {kind!r}")
    check_parts(merged)
    plain = OmegaConf.create(OmegaConf.to_container(merged))
    return plain  # pyright: ignore[reportReturnType]


def check_parts(cfg: DictConfig) -> None:
    """Check the keys that are arguments of the parts they name.

    Raises:
        ValueError: one line: an unknown part, an unknown or missing key, a value of another type.
    """
    # Imported when needed: they import torch, which takes seconds.
    from predictive.data.registry import DATASETS
    from predictive.decoding.online import DecoderConfig
    from predictive.encoder import Encoder
    from predictive.objective import PredictiveObjective
    from predictive.predictors import PREDICTORS
    from solo_ldm.config.arguments import check_arguments
    from solo_ldm.config.suggestions import suggestion

    assert_choice(cfg, "method", tuple(PREDICTORS))
    assert_choice(cfg, "data.dataset", tuple(DATASETS))
    settings = {name: plain(cfg[name]) for name in ("data", "encoder", "predictor", "objective")}
    dataset = settings["data"].pop("dataset")
    for key in ("window", "stride"):
        value = settings["data"].pop(key, None)
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"data.{key} expects a whole number of bins or null, got {value!r}")
    check_arguments("data", settings["data"], DATASETS[dataset], ["seed"])
    standardise = settings["encoder"].pop("standardise", True)
    if not isinstance(standardise, bool):
        raise ValueError(f"encoder.standardise expects true or false, got {standardise!r}")
    check_arguments("encoder", settings["encoder"], Encoder, ["input_dim", "latent_dim"])
    _check_predictor(cfg.method, settings["predictor"])
    check_arguments("objective", settings["objective"], PredictiveObjective)
    for part in cfg.optimizer.multipliers:
        if part not in PARTS:
            raise ValueError(
                f"unknown key optimizer.multipliers.{part}{suggestion(str(part), list(PARTS))}: "
                f"the parts are {', '.join(PARTS)}"
            )
    for name, decoder in plain(cfg.decoders).items():
        if not isinstance(decoder, dict):
            raise ValueError(f"decoders.{name} expects a mapping such as {{source: states}}")
        check_arguments(f"decoders.{name}", decoder, DecoderConfig)


def _check_predictor(method: str, settings: dict[str, Any]) -> None:
    """Check the predictor's keys, and whether they are of another method."""
    from predictive.predictors import PREDICTORS
    from solo_ldm.config.arguments import check_arguments

    known = {name: set(signature(one).parameters) for name, one in PREDICTORS.items()}
    for key in settings:
        others = [name for name, keys in known.items() if key in keys and name != method]
        if others and key not in known[method]:
            raise ValueError(
                f"predictor.{key} is a setting of {others[0]}, not of method={method}: give "
                f"method=NAME and predictor=NAME together, and remove it with ~predictor.{key}"
            )
    check_arguments("predictor", settings, PREDICTORS[method], ["input_dim"])


def plain(node: Any) -> dict[str, Any]:
    """Return a part of a configuration as a dict."""
    container: Any = OmegaConf.to_container(node) if OmegaConf.is_config(node) else dict(node)
    return container
