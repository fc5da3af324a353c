"""The configuration of an image run: which keys there are, of what type, and what methods read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from omegaconf import MISSING, DictConfig, OmegaConf

from solo_ldm.config import schema
from solo_ldm.config.command import composed_again
from solo_ldm.config.schema import choice, learning_rate, mapping, number
from solo_ldm.config.training import BackboneConfig, PerformanceConfig, TrainingConfig
from solo_ldm.data.config import DataConfig, parse_augmentations
from solo_ldm.data.datasets.registry import EMBEDDED, find_dataset

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

if TYPE_CHECKING:
    from solo_ldm.data.module import ImageDataModule
    from solo_ldm.run.hardware import Hardware


@dataclass
class OptimizerConfig:
    """optimizer.*, in solo-learn's names."""

    name: str = MISSING
    batch_size: int = number(1)
    lr: float = learning_rate()
    classifier_lr: float = learning_rate()
    weight_decay: float = learning_rate()
    exclude_bias_n_norm_wd: bool = MISSING
    kwargs: dict[str, Any] = mapping()


@dataclass
class HealthConfig:
    """health.*."""

    enabled: bool = MISSING
    num_samples: int = number(2)


@dataclass
class EvaluationConfig:
    """evaluation.*."""

    protocols: list[str] = MISSING
    compare_gradients_every: int = number(0)
    report: bool = MISSING


@dataclass
class RunConfig(TrainingConfig):
    """A whole configuration. The defaults are in configs/host.yaml.

    `momentum` is read by methods of solo-learn and lightly, `published` (a recipe's dotted keys) by
    comparisons; `dali` is solo-learn's and has no effect here.
    """

    method: str = MISSING
    method_kwargs: dict[str, Any] = mapping("solo_ldm.methods.ldm.method_kwargs:known_keys")
    momentum: dict[str, Any] = mapping()
    published: dict[str, Any] = mapping()
    dali: dict[str, Any] = mapping()
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augmentations: list[Any] = MISSING
    statistics: Optional[str] = choice("batch", "whole", default=None)
    resolution: Optional[list[float]] = number(above=0, high=1, default=None)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


def complete(cfg: DictConfig) -> DictConfig:
    """Complete a configuration of image pretraining by host.yaml; see `schema.complete`."""
    return schema.complete(cfg, RunConfig, "host.yaml")


def complete_with_images(cfg: DictConfig) -> DictConfig:
    """Complete a configuration, and check the images and the parts it names; see `complete`."""
    cfg = with_own_table(complete(cfg), lambda choice: composed_again(cfg, choice))
    check_embedded(cfg.data)
    parse_augmentations(cfg.augmentations)
    find_dataset(cfg.data.dataset).check(DataConfig(**cfg.data))
    _check_parts(cfg)
    return cfg


def names_own_table(cfg: DictConfig) -> bool:
    """Whether a completed configuration of the embedded captions names a table of one's own."""
    return cfg.data.dataset == "digits_captions" and cfg.data.train_path is not None


def with_own_table(
    cfg: DictConfig, composed_with: Callable[[str], DictConfig | None]
) -> DictConfig:
    """Read a table of images and captions in place of the embedded ones, where one is given.

    It is `data=captions`, with whatever else is given. Where Hydra does not know what is, views and
    backbone that are those of the embedded images become those of `data=captions`.

    Args:
        cfg: the completed configuration.
        composed_with: composes what it was made of with another choice of a group; None where
            Hydra does not know how.
    """
    if not names_own_table(cfg):
        return cfg
    again = composed_with("data=captions")
    if again is not None:
        return complete(again)
    embedded, own = find_dataset("digits_captions"), find_dataset("captions")
    cfg.data.dataset = "captions"
    cfg.name = cfg.name.replace("digits_captions", "captions")
    if OmegaConf.to_container(cfg.augmentations) == embedded.views.pretraining:
        cfg.augmentations = own.views.pretraining
    if cfg.backbone.name == embedded.backbone:
        cfg.backbone.name = own.backbone
    return cfg


def check_embedded(data: DictConfig) -> None:
    """Check that no images are named that an embedded data set would ignore."""
    if data.dataset not in EMBEDDED:
        return
    for key, usual in (("train_path", DataConfig.train_path), ("val_path", None)):
        if data[key] not in (None, usual):
            kind = "captions" if data.dataset == "digits_captions" else "image_folder"
            raise ValueError(
                f"data.{key}: expected none for data={data.dataset}, which is embedded, got "
                f"{data[key]}; set data={kind} data.train_path=…"
            )


def _check_parts(cfg: DictConfig) -> None:
    """Check the keys that are arguments of the parts they name."""
    # Imported here: they import torch, which takes seconds.
    from solo_ldm.evaluation.protocols import TEXTS, find_protocol
    from solo_ldm.methods import find_method
    from solo_ldm.optim.optimizers import check_optimizer

    method = find_method(cfg.method)
    method.describe(cfg)
    if cfg.statistics == "whole" and not getattr(method, "takes_chunks", False):
        raise ValueError(
            f"statistics: expected batch for method={cfg.method}, got whole, which is for methods "
            "of the grid (those with a latent model; see docs/methods.md)"
        )
    if cfg.statistics == "whole" and cfg.accumulate_grad_batches == 1:
        raise ValueError(
            "statistics: expected accumulate_grad_batches of 2 or more for whole, got 1; raise it, "
            "or leave statistics out"
        )
    check_optimizer(cfg.optimizer.name, dict(cfg.optimizer.kwargs))
    for protocol in cfg.evaluation.protocols:
        find_protocol(protocol, "evaluation.protocols")
        if protocol in TEXTS and protocol not in getattr(method, "protocols", ()):
            raise ValueError(
                f"evaluation.protocols: expected no {protocol} for method={cfg.method}, which "
                "encodes no text; leave it out, or set method=cross"
            )
    if cfg.evaluation.compare_gradients_every:
        from solo_ldm.run.callbacks.gradients import cells_beside

        cells_beside(cfg)


def read_data(cfg: DictConfig, hardware: Hardware) -> ImageDataModule:
    """Open the images of a run, with its views and batches.

    Raises:
        ValueError: in one line: data or views that do not fit.
        FileNotFoundError: in one line: data that is not there.
    """
    from solo_ldm.data.augment.resolution import Resolution
    from solo_ldm.data.module import ImageDataModule

    how = (cfg.augmentations, cfg.optimizer.batch_size, cfg.seed, hardware.device)
    shares = tuple(cfg.get("resolution") or ())
    resolution = Resolution(shares, cfg.max_epochs) if shares else None
    return ImageDataModule(DataConfig(**cfg.data), *how, resolution)


def for_method(cfg: DictConfig, data: ImageDataModule, hardware: Hardware) -> DictConfig:
    """Return the configuration as methods read it: with what the data tells, and scaled rates.

    As in solo-learn, learning rates are given for 256 samples per step and scaled linearly.
    """
    cfg = settled(cfg, data)
    cfg.data.num_classes = data.num_classes
    cfg.data.image_size = data.image_size
    cfg.data.num_large_crops = data.num_large_crops
    cfg.data.num_small_crops = data.num_small_crops
    sizes = {view.crop_size for view in data.views}
    sizes |= data.resolution.crop_sizes(data.views) if data.resolution else set()
    cfg.data.crop_sizes = sorted(sizes)
    scale = cfg.optimizer.batch_size * hardware.num_processes / 256
    cfg.optimizer.lr *= scale
    cfg.optimizer.classifier_lr *= scale
    return cfg


def check_groups(cfg: DictConfig, data: ImageDataModule, method: Any, hardware: Hardware) -> None:
    """Check that the last group of batches of an epoch is large enough for statistics=whole.

    The optimiser steps on it, too, however few batches there are in it.

    Raises:
        ValueError: in one line: it has fewer samples than the estimator is defined for.
    """
    if cfg.statistics != "whole":
        return
    size = cfg.optimizer.batch_size * hardware.num_processes
    count, limit = data.num_train_images // size, cfg.trainer.get("limit_train_batches")
    count = int(count * limit) if isinstance(limit, float) else min(count, limit or count)
    fewest, last = method.objective.fewest_samples, count % cfg.accumulate_grad_batches
    if last and last * size < fewest:
        left_out = f", or leave them out by trainer.limit_train_batches={count - last}"
        raise ValueError(
            f"accumulate_grad_batches: expected at least {fewest} images in the last group of "
            f"batches of an epoch, as the entropy needs them (statistics=whole), got {last * size} "
            f"({count} batches of {size}, {cfg.accumulate_grad_batches} a group); raise "
            f"optimizer.batch_size{left_out if count > last else ''}"
        )


def settled(cfg: DictConfig, data: ImageDataModule) -> DictConfig:
    """Return the configuration with what its images decide, for whoever reads it later.

    That is the range of pixels deeper than 8 bits and, of other channels than R, G and B, their
    mean and deviation, and their number for the backbone.

    Raises:
        ValueError: in one line: the backbone is asked to take another number of channels.
    """
    cfg = OmegaConf.create(OmegaConf.to_container(cfg))  # pyright: ignore[reportAssignmentType]
    if data.pixel_range is not None:
        cfg.data.range = list(data.pixel_range)
    asked = cfg.backbone.kwargs.get("in_chans")
    if asked not in (None, data.num_channels):
        raise ValueError(
            f"backbone.kwargs.in_chans: expected {data.num_channels}, the channels of the images, "
            f"got {asked}; leave it out, or set data.channels={asked}"
        )
    if data.num_channels != 3:
        cfg.backbone.kwargs.in_chans = data.num_channels
        for view in cfg.augmentations:
            view.mean = view.get("mean") or list(data.mean)
            view.std = view.get("std") or list(data.std)
    return cfg
