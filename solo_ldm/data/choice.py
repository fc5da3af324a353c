"""Which images weights are evaluated on: those given, else those that they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from solo_ldm.config.arguments import check_keys
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
    tested = asks_for_test(given)
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


def asks_for_test(given: Mapping[str, Any]) -> bool:
    """Whether keys of data say that what `held_out` left out of a training is not scored on."""
    return "held_out" in given and given["held_out"] in (None, 0)


def check_held_out(key: str, given: Mapping[str, Any]) -> None:
    """Raise a one-line ValueError unless keys of data are held_out alone, at null or 0."""
    check_keys(key, given, ["held_out"])
    if given and not asks_for_test(given):
        raise ValueError(
            f"{key}.held_out: expected null or 0, which takes the test images of the run, got "
            f"{given['held_out']}; leave it out for the images that the run was scored on"
        )
