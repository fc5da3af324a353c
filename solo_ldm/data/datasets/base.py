"""What a data set is: its reader, its splits, the statistics of its channels, and its views.

Modules of data sets import torch and torchvision only inside their readers, so that a
configuration is composed and checked without them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from solo_ldm.data.config import DataConfig
from solo_ldm.data.sources.images import Listing

Split = Literal["train", "val"]
Reader = Callable[[DataConfig, Split], Listing | None]
Channels = tuple[float, ...]

# Photographs in general: ImageNet's.
PHOTOGRAPHS: tuple[Channels, Channels] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Views:
    """How images are drawn, as files of three groups of the configuration.

    Args:
        name: of the files, e.g. `augmentations=cifar`. Data sets may share one `Views`.
        pretraining: the views of pretraining, in solo-learn's schema.
        linear: the one view of the training images of a linear evaluation.
        masked: keys of a configuration of a masked method: one view, and the patches that fit it.
        patch_share: share of the area of an image in each of many patches of it.
        num_patches: how many these are.
    """

    name: str
    pretraining: list[dict[str, Any]]
    linear: list[dict[str, Any]]
    masked: dict[str, Any]
    patch_share: float = 0.25
    num_patches: int = 20

    @property
    def patches(self) -> list[dict[str, Any]]:
        """Views of many patches: square crops of one scale, otherwise drawn as in pretraining."""
        scale = {"crop_min_scale": self.patch_share, "crop_max_scale": self.patch_share}
        crop = {"enabled": True, **scale, "min_aspect_ratio": 1.0, "max_aspect_ratio": 1.0}
        return [{**self.pretraining[0], "rrc": crop, "num_crops": self.num_patches}]


@dataclass(frozen=True)
class Dataset:
    """An image data set.

    Args:
        read: (config, split) -> the images of a split, None where there is no such split.
        mean: of the channels R, G, B, in the range [0, 1].
        std: of the channels R, G, B, in the range [0, 1].
        views: how its images are drawn.
        backbone: that `data=NAME` chooses.
        paths: keys of `data`, such as paths, where they are not the defaults of `DataConfig`.
        holds_out: config -> whether validation is a held-out share of what `read` returns.
        check: config -> raises FileNotFoundError where the set is not; without torch, so that a
            command says so before it imports anything slow.
        own: whether the images are a user's, among which copies are looked for.
    """

    read: Reader
    mean: Channels
    std: Channels
    views: Views
    backbone: str = "resnet18"
    paths: Mapping[str, str | int | None] = field(default_factory=dict)
    holds_out: Callable[[DataConfig], bool] = lambda config: False
    check: Callable[[DataConfig], object] = lambda config: None
    own: bool = False


def without_val_path(config: DataConfig) -> bool:
    """Hold validation images out where the configuration names none."""
    return config.val_path is None


def reference_views(size: int, blur: float = 0.5, flip: float = 0.5) -> list[dict[str, Any]]:
    """Return the two views of the reference (gaussprob and sphereprob) at a size in pixels."""
    jitter = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
    return [
        {
            "rrc": _crop(0.2),
            "color_jitter": {"enabled": True, **jitter, "prob": 0.8},
            "grayscale": _switch(0.2),
            "gaussian_blur": _switch(blur),
            "solarization": _switch(0.1),
            "equalization": _switch(0.0),
            "horizontal_flip": _switch(flip),
            "crop_size": size,
            "num_crops": 2,
        }
    ]


def moved_views(size: int, crop: float, degrees: int, shear: int) -> list[dict[str, Any]]:
    """Return two views of gray signs: they move and lean, but never mirror and have no colour.

    Args:
        size: in pixels.
        crop: least share of the area.
        degrees: of the rotation, ±.
        shear: in degrees, ±.
    """
    scale = {"scale_min": 0.9, "scale_max": 1.1}
    affine = {"prob": 1.0, "degrees": degrees, "translate": 0.1, **scale, "shear": shear}
    return [{"affine": affine, "rrc": _crop(crop), "crop_size": size, "num_crops": 2}]


def crop_view(size: int, crop: float, flip: bool = True) -> list[dict[str, Any]]:
    """Return one view by a crop of at least a share of the area and, with `flip`, a flip."""
    flips = {"horizontal_flip": _switch(0.5)} if flip else {}
    return [{"rrc": _crop(crop), **flips, "crop_size": size, "num_crops": 1}]


def masked(size: int, patch_size: int, crop: float = 0.3, flip: bool = True) -> dict[str, Any]:
    """Return the view of masked methods, by crops alone, and the side of a patch in pixels."""
    kwargs = {"patch_size": patch_size}
    return {"augmentations": crop_view(size, crop, flip), "backbone": {"kwargs": kwargs}}


def torchvision_dataset(
    kind: str,
    layout: str,
    splits: tuple[Any, Any] = (True, False),
    labels: str = "targets",
    **about: Any,
) -> Dataset:
    """Return a data set that torchvision reads into memory.

    Args:
        kind: the class in torchvision.datasets.
        layout: what it expects under `data.train_path`, for messages.
        splits: its argument for train and for val: of `train` where they are true or false, else
            of `split`.
        labels: its attribute with the labels.
        about: the other arguments of `Dataset`.
    """

    def root_of(config: DataConfig) -> Path:
        return Path(os.path.expanduser(config.train_path or "./datasets"))

    def missing(root: Path) -> FileNotFoundError:
        return FileNotFoundError(
            f"{kind} is not under {root.resolve()} (or is damaged): expected {layout} there; "
            f"set data.train_path, or data.download=true to fetch it"
        )

    def check(config: DataConfig) -> None:
        if not root_of(config).is_dir() and not config.download:
            raise missing(root_of(config))

    def read(config: DataConfig, split: Split) -> Listing:
        import torchvision.datasets

        check(config)
        root, chosen = root_of(config), splits[split == "val"]
        try:
            with warnings.catch_warnings():
                # CIFAR's pickles were written by Python 2; NumPy >= 2.4 warns about their types.
                warnings.filterwarnings("ignore", message=r"dtype\(\): align")
                data = getattr(torchvision.datasets, kind)(
                    str(root),
                    download=config.download,
                    **{"train" if isinstance(chosen, bool) else "split": chosen},
                )
        except (RuntimeError, OSError) as error:
            if not config.download:
                raise missing(root) from error
            raise FileNotFoundError(
                f"{kind} could not be fetched to {root.resolve()} ({first_line(error)}); check "
                f"the connection, or put {layout} there"
            ) from error
        pixels = np.asarray(data.data)
        if pixels.shape[1:2] == (3,):
            pixels = pixels.transpose(0, 2, 3, 1)
        classes = getattr(data, "classes", None) or [str(number) for number in range(10)]
        return Listing(pixels, np.asarray(getattr(data, labels)), tuple(classes))

    return Dataset(read, check=check, **about)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _crop(least: float) -> dict[str, Any]:
    return {"enabled": True, "crop_min_scale": least, "crop_max_scale": 1.0}


def _switch(prob: float) -> dict[str, Any]:
    return {"enabled": prob > 0, "prob": prob}
