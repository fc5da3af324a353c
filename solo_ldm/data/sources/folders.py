"""Folders of images: their class folders, and the files below them."""

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from solo_ldm.data.sources.images import IMAGE_SUFFIXES, Listing


def check_same_classes(
    train: Sequence[str], val: Sequence[str], where: str = "data.val_path"
) -> None:
    """Raise a ValueError in one line if the classes of the splits differ."""
    if list(train) != list(val):
        raise ValueError(
            f"{where}: its classes differ from those of data.train_path "
            f"({_difference(train, val)}); both need the same classes"
        )


def labelled(folder: Path, classes: Sequence[str], key: str, below: str = "") -> Listing:
    """Find the images of the class folders `classes` of a folder, labelled in that order.

    Args:
        folder: that holds the class folders.
        classes: their names.
        key: of the configuration, for the message.
        below: the folder inside every class folder where its images are.

    Raises:
        ValueError: a class has no images.
    """
    found = {label: images_below(folder / label / below) for label in classes}
    _check_filled(folder, [label for label, images in found.items() if not images], key)
    labels = [number for number, images in enumerate(found.values()) for _ in images]
    return Listing([*chain.from_iterable(found.values())], labels, tuple(classes))


def class_folders(folder: Path, key: str) -> list[str]:
    """Return the names of a folder's class folders, sorted; none if its images are unlabelled.

    Args:
        folder: to look into.
        key: of the configuration, for the message.

    Raises:
        ValueError: a class has no images, or images lie beside two or more class folders.
    """
    names, loose = contents(folder)
    filled = [name for name in names if next(_images(folder / name), None)]
    if len(filled) < 2 and loose:
        return []
    if filled:
        _check_filled(folder, [name for name in names if name not in set(filled)], key)
    if filled and loose:
        raise ValueError(
            f"{folder}: {len(loose)} images (such as {loose[0]}) lie beside {len(filled)} class "
            f"folders; move them into a class, or set data.no_labels=true"
        )
    return filled


def contents(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of a folder's folders and of the images beside them, both sorted."""
    with os.scandir(folder) as entries:
        is_dir = {one.name: one.is_dir() for one in entries if not one.name.startswith(".")}
    folders = sorted(name for name in is_dir if is_dir[name])
    return folders, sorted(name for name in is_dir if not is_dir[name] and _is_image(name))


def images_below(folder: Path) -> list[str]:
    """Return the paths of all images under a folder, sorted by their parts."""
    return list(_images(folder))


def _images(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(place, name) for name in sorted(files) if _is_image(name))


def _is_image(name: str) -> bool:
    """Whether a file's name ends as an image's does, and is not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _check_filled(folder: Path, empty: Sequence[str], key: str) -> None:
    if empty:
        raise ValueError(
            f"{key}: no images in {len(empty)} class folders of {folder} ({some(empty)}); add "
            f"images, or remove the folders (those whose name starts with a dot are ignored)"
        )


def _difference(train: Sequence[str], val: Sequence[str]) -> str:
    only = {
        "train": [name for name in train if name not in set(val)],
        "val": [name for name in val if name not in set(train)],
    }
    return "; ".join(f"only in {split}: {some(names)}" for split, names in only.items() if names)


def some(names: Sequence[str]) -> str:
    """Return the first three names and the number of the others, for a message."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
