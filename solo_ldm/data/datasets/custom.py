"""Images of one's own: class folders, a tree of unlabelled files, or a list of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.base import PHOTOGRAPHS, Dataset, Split, without_val_path
from solo_ldm.data.datasets.imagenet import VIEWS
from solo_ldm.data.datasets.shards import kind_of_shards
from solo_ldm.data.sources.folders import (
    check_same_classes,
    class_folders,
    contents,
    labelled,
    some,
    unlabelled,
)
from solo_ldm.data.sources.images import Listing
from solo_ldm.data.sources.lists import read_list

# Folders of these names alone are the splits of a data set, given one level too high.
_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test"))


def _read(config: DataConfig, split: Split) -> Listing | None:
    """Find the images of a custom set.

    A place is a folder or a text file that lists images (see `read_list`). Two or more folders
    with images in them are classes, in the order of their names; a folder of loose images is
    unlabelled and has no validation split. Hidden files and files of other kinds are ignored.
    Without `val_path` both splits are the training images, of which the caller holds a share out.
    """
    train, val = _places(config)
    if split == "train" or val is None:
        listing = _list(train, "data.train_path", config.no_labels)
        _check_classes(listing.classes, train)
        return listing if split == "train" or listing.classes else None
    classes = (
        class_folders(train, "data.train_path")
        if train.is_dir()
        else _list(train, "data.train_path").classes
    )
    _check_classes(classes, train)
    if not classes:
        return None
    listing = _list(val, "data.val_path")
    check_same_classes(classes, listing.classes)
    return listing


def _places(config: DataConfig) -> tuple[Path, Path | None]:
    """Return the folders or lists of the training and the validation images."""
    if config.train_path is None:
        raise ValueError(
            f"data.train_path: missing; set it to the folder or the list of the images of "
            f"data={config.dataset}"
        )
    for key in ("train_path", "val_path"):
        path = getattr(config, key)
        if path is not None and not Path(os.path.expanduser(path)).exists():
            raise FileNotFoundError(
                f"data.{key}: expected a folder of images, with one folder a class if they are "
                f"labelled, or a text file that lists images, got {path}, which does not exist"
            )
    val = None if config.val_path is None else Path(os.path.expanduser(config.val_path))
    return Path(os.path.expanduser(config.train_path)), val


def _list(place: Path, key: str, no_labels: bool = False) -> Listing:
    if kind := kind_of_shards(place):
        raise ValueError(
            f"{key}: expected images in files, or a list of them, got shards, {place}; data={kind} "
            f"reads them"
        )
    if place.is_file():
        return read_list(place, key, no_labels)
    folders, loose = contents(place)
    aside = [name for name in folders if kind_of_shards(place / name)]
    if aside and not loose and not no_labels:
        raise ValueError(
            f"{key}: expected images in files or in shards, got images in {place} and shards in "
            f"{place / aside[0]}; give the folder of one of them"
        )
    classes = [] if no_labels else class_folders(place, key)
    if classes:
        return labelled(place, classes, key)
    found = unlabelled(place, key)
    if aside:
        told = f"{key}: shards beside the images are left out: {some(aside)}; give their folder"
        found = found._replace(notices=(*found.notices, f"{told} to read them"))
    if not len(found.images):
        others = "; ".join(found.notices)
        raise ValueError(
            f"{key}: expected images (.png, .jpg, .tif or whatever Pillow reads), got no images "
            f"here: {place.resolve()}" + (f" ({others})" if others else "")
        )
    return found


def _check_classes(classes: Sequence[str], path: Path) -> None:
    if classes and {name.lower() for name in classes} <= _SPLITS:
        raise ValueError(
            f"data.train_path: the class folders of {path} ({', '.join(classes)}) look like "
            f"splits; give the folder of the training images, and data.val_path if there is one"
        )
    if len(classes) == 1:
        raise ValueError(
            f"data.train_path: {path} holds the one class {classes[0]}, which leaves nothing to "
            f"tell apart; add a class, or set data.no_labels=true to train without labels"
        )


# For images of about 32, 64 or 96 pixels: augmentations=cifar, tiny_imagenet, stl10.
CUSTOM = Dataset(
    _read,
    *PHOTOGRAPHS,
    VIEWS,
    # Needed: a folder of images, in class folders or loose, or a list of files. Without a
    # val_path a share of labelled images is held out.
    paths={"train_path": None, "val_path": None},
    holds_out=without_val_path,
    own=True,
    check=_places,
)
