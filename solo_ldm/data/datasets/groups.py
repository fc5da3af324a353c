"""Files of the configuration that the data sets fill: data=NAME and the views of each."""

from __future__ import annotations

from typing import Any

import yaml

from solo_ldm.data.datasets.registry import DATASETS


def group_files() -> dict[str, str]:
    """Return the texts of the files by name, such as augmentations/cifar.yaml."""
    contents: dict[str, Any] = {}
    for name, dataset in DATASETS.items():
        views = dataset.views
        contents[f"data/{name}"] = {
            "defaults": [{"/augmentations": views.name}, "_self_"],
            "data": {"dataset": name, **dataset.paths},
            "backbone": {"name": dataset.backbone},
        }
        contents[f"augmentations/{views.name}"] = views.pretraining
        contents[f"linear_augmentations/{views.name}"] = views.linear
        contents[f"masked/{views.name}"] = views.masked
        contents[f"patches/{views.name}"] = {"augmentations": views.patches}
    return {f"{name}.yaml": _text(content) for name, content in contents.items()}


def _text(content: Any) -> str:
    # A mapping holds keys of a whole configuration, not keys below the group's name.
    header = "# @package _global_\n" if isinstance(content, dict) else ""
    return header + yaml.safe_dump(content, sort_keys=False)
