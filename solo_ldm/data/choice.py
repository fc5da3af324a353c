"""Which images weights are evaluated on: those given, else those that they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from solo_ldm.config.schema import as_object
from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.registry import find_dataset


@dataclass
class _Keys:
    data: DataConfig = field(default_factory=DataConfig)


def choose_data(
    given: Mapping[str, Any], trained_on: Mapping[str, Any] | None, known_only: bool = False
) -> DataConfig:
    """Choose the images to evaluate on: those given, for the rest those trained on.

    Args:
        given: keys of `DataConfig`; None where nothing is given. held_out at None or 0 scores a run
            that was trained with it on the test images; it stays left out of the training images.
        trained_on: the data of the run that is evaluated, where there is one. Its labels are used
            even if it was trained without.
        known_only: check the keys and the values, though no data set may be known yet.

    Returns:
        The configuration of the data.

    Raises:
        ValueError: an unknown key, a value of a wrong type or range, or no data set.
    """
    tested = "held_out" in given and given["held_out"] in (None, 0)
    given = {str(key): value for key, value in given.items() if value is not None}
    keys = DataConfig.__dataclass_fields__
    base = {key: value for key, value in (trained_on or {}).items() if key in keys}
    if given.get("dataset", base.get("dataset")) != base.get("dataset"):
        base = {}  # paths and shares are those of another data set
    base.pop("no_labels", None)
    if tested and base.get("held_out"):
        given |= {"held_out": base["held_out"], "score_test": True}
    elif "held_out" in given:
        base.pop("score_test", None)
    chosen = {**base, **given}
    if "dataset" in given:
        find_dataset(given["dataset"])
    if known_only:
        chosen.setdefault("dataset", "any")
    if chosen.get("dataset") is None:
        raise ValueError(
            "data: expected a data set, got none, and the data of the training are not known; give "
            "data=NAME, e.g. data=cifar10"
        )
    return as_object(DataConfig, chosen, "data.", _Keys)
