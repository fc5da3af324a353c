"""Files of the configuration that the data sets fill: data=NAME and the views of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import yaml

from solo_ldm.data.datasets.registry import DATASETS

# Keys of these groups are of a whole configuration, not below the group's name.
_WHOLE = "# @package _global_\n"


def files_of(group: str) -> dict[str, Callable[[], str]]:
    """Return the files of a group that the data sets fill: name -> a function of its text.

    Args:
        group: data, augmentations, linear_augmentations or masked.
    """
    made: dict[str, Callable[[], str]] = {}
    for name, dataset in DATASETS.items():
        views = dataset.views
        content: Any = {
            "data": {
                "defaults": [{"/augmentations": views.name}, "_self_"],
                "data": {"dataset": name, **dataset.paths},
                "backbone": {"name": dataset.backbone},
            },
            "augmentations": views.pretraining,
            "linear_augmentations": views.linear,
            "masked": views.masked,
        }[group]
        file = name if group == "data" else views.name
        made[f"{file}.yaml"] = partial(_text, content, _WHOLE if isinstance(content, dict) else "")
    return made


def _text(content: Any, header: str) -> str:
    return header + yaml.safe_dump(content, sort_keys=False)
