"""The configuration of a training, ours or solo-learn's: its network and its images.

Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solo_ldm.data import DATASETS
from solo_ldm.files import read_json


@dataclass(frozen=True)
class Network:
    """A network as a configuration names it.

    Args:
        name: None where it is not given.
        kwargs: its further arguments.
        image_size: side of the images in pixels; None where it is not given.
    """

    name: str | None
    kwargs: dict[str, Any]
    image_size: int | None


def args_beside(path: Path) -> dict[str, Any] | None:
    """Return the configuration in the args.json of the run of a file or folder, if any.

    Raises:
        ValueError: in one line: an args.json without keys and values.
    """
    folder = path if path.is_dir() else path.parent
    for place in [folder, folder.parent] if folder.name == "checkpoints" else [folder]:
        file = place / "args.json"
        if file.is_file():
            return read_json(file)
    return None


def describe(args: Mapping[str, Any] | None) -> Network:
    """Return the network and the image size of a configuration, ours or solo-learn's.

    Raises:
        ValueError: in one line: a network of another form.
    """
    args = args or {}
    # Before it used Hydra, solo-learn wrote the name alone.
    backbone: Any = args.get("backbone", args.get("encoder"))
    if not isinstance(backbone, Mapping):
        backbone = {"name": backbone}
    name, kwargs = backbone.get("name"), backbone.get("kwargs") or {}
    if not isinstance(name, str | None) or not isinstance(kwargs, Mapping):
        raise ValueError(
            "backbone: expected name and kwargs in the configuration of the training, got "
            f"{str(backbone)[:80]}"
        )
    size = _first_view(args).get("crop_size", args.get("crop_size"))
    return Network(name, dict(kwargs), size if type(size) is int and size > 0 else None)


def _first_view(args: Mapping[str, Any]) -> Mapping[str, Any]:
    views = args.get("augmentations")
    return views[0] if isinstance(views, list) and views and isinstance(views[0], dict) else {}


def normalisation_of(
    args: Mapping[str, Any] | None, by_dataset: bool
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return mean and std of the channels by which the images of a training were normalised.

    Args:
        args: the configuration of the training.
        by_dataset: whether views without mean and std take those of the data set in `DATASETS`.
    """
    view = _first_view(args or {})
    mean, std = channels(view.get("mean")), channels(view.get("std"))
    data = (args or {}).get("data")
    name = data.get("dataset") if isinstance(data, dict) else None
    dataset = DATASETS.get(name) if isinstance(name, str) else None
    if dataset is not None and by_dataset:
        mean, std = mean or dataset.mean, std or dataset.std
    return mean, std


def pixel_range_of(args: Mapping[str, Any] | None) -> tuple[float, ...] | None:
    """Return what was black and white in images of a training that were deeper than 8 bits."""
    data = (args or {}).get("data")
    given = data.get("range") if isinstance(data, dict) else None
    return channels(given) if isinstance(given, list) else None


def channels(values: Any) -> tuple[float, ...] | None:
    """Return one number per channel as a tuple, None for none.

    Raises:
        ValueError: in one line: something else.
    """
    if not values:
        return None
    if isinstance(values, list | tuple) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in values
    ):
        return tuple(float(value) for value in values)
    raise ValueError(
        f"mean and std of the images: expected a number per channel, got {str(values)[:80]}"
    )
