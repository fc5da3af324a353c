"""Images of one's own: class folders, a tree of unlabelled files, or a list of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.base import PHOTOGRAPHS, Dataset, Split, without_val_path
from solo_ldm.data.datasets.imagenet import VIEWS
from solo_ldm.data.sources.folders import (
    check_same_classes,
    class_folders,
    images_below,
    labelled,
)
from solo_ldm.data.sources.images import IMAGE_SUFFIXES, Listing
from solo_ldm.data.sources.lists import read_list

# Folders of these names alone are the splits of a data set, given one level too high.
_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test"))


def _read_split(config: DataConfig, split: Split) -> Listing | None:
    """Find the images of a custom set.

    A place is a folder or a text file that lists images (see `read_list`). Two or more folders
    with images in them are classes, in the order of their names; a folder of loose images is
    unlabelled. Hidden files and files of other kinds are ignored.

    Args:
        config: `dataset` (for messages), `train_path`, `val_path` and `no_labels` are used.
        split: `val` without `val_path` returns the training images, of which the caller keeps the
            held-out share.

    Returns:
        The images, or None for a validation split of unlabelled images.

    Raises:
        FileNotFoundError: a folder or a listed file is missing.
        ValueError: no images, a single class, a class without images, splits in place of classes,
            images beside class folders, a malformed list, or validation classes that differ from
            the training classes.
    """
    if config.train_path is None:
        raise ValueError(
            f"data.train_path: missing; set it to the folder or the list of the images of "
            f"data={config.dataset}"
        )
    if split == "train" or config.val_path is None:
        listing = _read(config.train_path, "data.train_path", config.no_labels)
        _check_classes(listing.classes, config.train_path)
        return listing if split == "train" or listing.classes else None
    train_classes = _class_names(config.train_path, "data.train_path")
    _check_classes(train_classes, config.train_path)
    if not train_classes:
        return None
    listing = _read(config.val_path, "data.val_path", no_labels=False)
    check_same_classes(train_classes, listing.classes)
    return listing


def _read(path: str, key: str, no_labels: bool) -> Listing:
    place = _existing(path, key)
    if place.is_file():
        return read_list(place, key, no_labels)
    classes = [] if no_labels else class_folders(place, key)
    if classes:
        return labelled(place, classes, key)
    paths = images_below(place)
    if not paths:
        raise ValueError(_empty(place))
    return Listing(paths, [-1] * len(paths), ())


def _class_names(path: str, key: str) -> Sequence[str]:
    place = _existing(path, key)
    if place.is_file():
        return _read(path, key, no_labels=False).classes
    return class_folders(place, key)


def _existing(path: str, key: str) -> Path:
    place = Path(os.path.expanduser(path))
    if not place.exists():
        raise FileNotFoundError(
            f"{key}: {place.resolve()} is not a folder; expected a folder of images, with one "
            f"folder a class if they are labelled, or a text file that lists images"
        )
    return place


def _check_classes(classes: Sequence[str], path: str) -> None:
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


def _empty(folder: Path) -> str:
    suffixes = " ".join(sorted(IMAGE_SUFFIXES))
    return f"{folder.resolve()}: no images here; expected files that end in one of {suffixes}"


# For images of about 32, 64 or 96 pixels: augmentations=cifar, tiny_imagenet, stl10.
CUSTOM = Dataset(
    _read_split,
    *PHOTOGRAPHS,
    VIEWS,
    # Needed: a folder of images, in class folders or loose, or a list of files. Without a
    # val_path a share of labelled images is held out.
    paths={"train_path": None, "val_path": None},
    holds_out=without_val_path,
)
