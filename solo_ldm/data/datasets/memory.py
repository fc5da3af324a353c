"""Images that a Python program holds, for the time that it holds them; see `solo_ldm.pretrain`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.base import PHOTOGRAPHS, Dataset, Split, without_val_path
from solo_ldm.data.datasets.imagenet import VIEWS
from solo_ldm.data.sources.images import Listing

_PREFIX = "memory:"
# Views for images of at most so many pixels a side; those of ImageNet for larger ones.
_VIEWS = {48: "cifar", 80: "tiny_imagenet", 160: "stl10"}


@dataclass(eq=False)
class Held:
    """Images in memory. They can be read while this object exists.

    Args:
        listing: the images, their labels and classes.
        place: that names them as data.train_path or data.val_path, by a digest of all that.
    """

    listing: Listing
    place: str


_held: WeakValueDictionary[str, Held] = WeakValueDictionary()


def hold(listing: Listing) -> Held:
    """Name images by their contents, so that a configuration can name them."""
    digest = hashlib.sha256("\0".join(listing.classes).encode())
    digest.update(np.asarray(listing.labels, np.int64).tobytes())
    images = listing.images
    assert isinstance(images, np.ndarray), "pixels, not paths"
    for part in images if images.dtype == object else (images,):
        digest.update(repr(part.shape).encode())
        digest.update(np.ascontiguousarray(part).data)
    held = Held(listing, f"{_PREFIX}{digest.hexdigest()[:32]}")
    return _held.setdefault(held.place, held)


def in_memory(path: str | None) -> bool:
    """Whether data.train_path or data.val_path names images in memory."""
    return path is not None and path.startswith(_PREFIX)


def views_for(side: int) -> str:
    """Return the name of the views for images of a side in pixels."""
    return next((name for most, name in _VIEWS.items() if side <= most), VIEWS.name)


def _check(config: DataConfig) -> None:
    _find("train_path", config.train_path)
    if config.val_path is not None:
        _find("val_path", config.val_path)


def _find(key: str, place: str | None) -> Held:
    held = _held.get(place or "")
    if held is None:
        named = f" {place}," if place else ""
        raise FileNotFoundError(
            f"data.{key}: the images{named} are those of a Python program that has ended, or held "
            "by none: give them to solo_ldm.pretrain(data=…), or a folder of images by "
            "data=image_folder data.train_path=FOLDER"
        )
    return held


def _read(config: DataConfig, split: Split) -> Listing:
    if split == "val" and config.val_path is not None:
        return _find("val_path", config.val_path).listing
    return _find("train_path", config.train_path).listing


MEMORY = Dataset(
    _read,
    *PHOTOGRAPHS,
    VIEWS,
    backbone="convnet_small",
    paths={"train_path": None, "val_path": None},
    holds_out=without_val_path,
    check=_check,
    own=True,
)
