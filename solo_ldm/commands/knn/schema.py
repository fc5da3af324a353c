"""The schema of a nearest-neighbour evaluation; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from solo_ldm.data.config import DataConfig, check_data_config
from solo_ldm.run.configuration import BackboneConfig, merge, nearest_key

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

DISTANCES = ("cosine", "euclidean")


@dataclass
class KnnBackboneConfig(BackboneConfig):
    """backbone.*; for weights that do not say what they are of."""

    name: Optional[str] = None  # pyright: ignore[reportIncompatibleVariableOverride]


@dataclass
class KnnConfig:
    """A whole configuration. The defaults are in configs/knn.yaml.

    data holds the keys of `DataConfig`; null takes those of the run that is evaluated. A data
    group of pretraining brings augmentations, of which only the size of the images is used, and
    only where the weights do not say one.
    """

    pretrained_feature_extractor: str = MISSING
    backbone: KnnBackboneConfig = field(default_factory=KnnBackboneConfig)
    image_size: Optional[int] = None
    data: dict[str, Any] = field(default_factory=dict)
    augmentations: Any = None
    k: list[int] = MISSING
    temperature: list[float] = MISSING
    distance: list[str] = MISSING
    batch_size: int = MISSING
    accelerator: str = MISSING
    output: Optional[str] = None
    seed: int = MISSING


@dataclass
class KnnKeys(KnnConfig):
    """The same with the keys of data spelt out, to find the one nearest to a misspelt key."""

    data: DataConfig = field(default_factory=DataConfig)  # pyright: ignore


def complete_knn(cfg: DictConfig) -> DictConfig:
    """Check a configuration against the schema and fill in the defaults of knn.yaml.

    Args:
        cfg: what Hydra composed.

    Returns:
        The whole configuration; a single k, temperature or distance as a list of one.

    Raises:
        ValueError: one line naming the key that is unknown, missing or has a wrong value.
    """
    cfg = cfg.copy()
    for key in ("k", "temperature", "distance"):
        value = OmegaConf.select(cfg, key)
        if value is not None and not OmegaConf.is_list(value):
            OmegaConf.update(cfg, key, [value], force_add=True)
    merged = merge(cfg, KnnConfig, "knn.yaml")
    for key, low in (("k", 1), ("batch_size", 1), ("image_size", 1)):
        value = OmegaConf.select(merged, key)
        for number in value if OmegaConf.is_list(value) else [value]:
            if number is not None and number < low:
                raise ValueError(f"{key}: expected at least {low}, got {number}")
    for temperature in merged.temperature:
        if not temperature > 0:
            raise ValueError(f"temperature: expected positive numbers, got {temperature}")
    for distance in merged.distance:
        if distance not in DISTANCES:
            raise ValueError(f"distance: expected {' or '.join(DISTANCES)}, got {distance!r}")
    for key in ("k", "distance", *(("temperature",) if "cosine" in merged.distance else ())):
        if not merged[key]:
            raise ValueError(f"{key}: expected at least one value, got an empty list")
    choose_data(merged.data, None, known_only=True)
    plain = OmegaConf.create(OmegaConf.to_container(merged))
    return plain  # pyright: ignore[reportReturnType]


def choose_data(
    given: Mapping[str, Any], trained_on: Mapping[str, Any] | None, known_only: bool = False
) -> DataConfig:
    """Choose the images to evaluate on: those given, for the rest those trained on.

    Args:
        given: keys of `DataConfig`; None where nothing is given.
        trained_on: the data of the run that is evaluated, where there is one. Its labels are used
            even if it was trained without.
        known_only: check the keys and the values, though no data set may be known yet.

    Returns:
        The configuration of the data.

    Raises:
        ValueError: an unknown key, a value of a wrong type or range, or no data set.
    """
    given = {str(key): value for key, value in given.items() if value is not None}
    keys = DataConfig.__dataclass_fields__
    base = {key: value for key, value in (trained_on or {}).items() if key in keys}
    if given.get("dataset", base.get("dataset")) != base.get("dataset"):
        base = {}  # paths and shares are those of another data set
    base.pop("no_labels", None)
    chosen = {**base, **given}
    if known_only:
        chosen.setdefault("dataset", "any")
    if chosen.get("dataset") is None:
        raise ValueError(
            "data: expected a data set, got none, and the weights are of no run that says one; "
            "give data=NAME, e.g. data=cifar10"
        )
    try:
        data = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), chosen))
    except ConfigKeyError as error:
        key = f"data.{error.full_key}"
        raise ValueError(f"unknown key {key}{nearest_key(key, KnnKeys)}") from None
    except OmegaConfBaseException as error:
        raise ValueError(f"data.{error.full_key}: {str(error).splitlines()[0]}") from None
    assert isinstance(data, DataConfig), "OmegaConf builds what the schema names"
    check_data_config(data)
    return data
