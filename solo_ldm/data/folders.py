"""Folders of images: class folders, or any tree of unlabelled files."""

import os
from pathlib import Path
from typing import Literal

from solo_ldm.data.config import DataConfig
from solo_ldm.data.sources import IMAGE_SUFFIXES, FileImages


def load_folder(
    name: str,
    config: DataConfig,
    split: Literal["train", "val"],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> FileImages | None:
    """Read the images of a custom set.

    Two or more folders with images in them are classes, in the order of their names; anything
    else is unlabelled. Hidden files and files of other kinds are ignored.

    Args:
        name: the data set's name.
        config: `train_path`, `val_path` and `no_labels` are used.
        split: `val` without `val_path` returns the training images, of which the caller keeps the
            held-out share.
        mean: see `ImageSource`.
        std: see `ImageSource`.

    Returns:
        The source, or None for a validation split of unlabelled images.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: no images, images beside class folders, or validation classes that differ from
            the training classes.
    """
    if config.train_path is None:
        raise ValueError(f"data.train_path: missing; {name} images are read from that folder")
    if split == "val" and config.val_path is not None:
        train_classes = _classes(_folder(config.train_path, "train_path"))
        if not train_classes:
            return None
        folder = _folder(config.val_path, "val_path")
        val_classes = _classes(folder)
        if val_classes != train_classes:
            raise ValueError(
                f"data.val_path: its classes differ from those of data.train_path "
                f"({_difference(train_classes, val_classes)}); both need the same class folders"
            )
        return _labelled(name, folder, val_classes, mean, std)
    folder = _folder(config.train_path, "train_path")
    classes = [] if config.no_labels else _classes(folder)
    if classes:
        return _labelled(name, folder, classes, mean, std)
    if split == "val":
        return None
    paths = _images_below(folder)
    if not paths:
        raise ValueError(_empty(folder))
    return FileImages(paths, name, [-1] * len(paths), (), mean, std)


def _folder(path: str, key: str) -> Path:
    folder = Path(os.path.expanduser(path))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data.{key}: {folder.resolve()} is not a folder; expected a folder of images, "
            f"with one folder a class if they are labelled"
        )
    return folder


def _labelled(
    name: str,
    folder: Path,
    classes: list[str],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> FileImages:
    paths: list[str] = []
    labels: list[int] = []
    for number, label in enumerate(classes):
        found = _images_below(folder / label)
        paths += found
        labels += [number] * len(found)
    return FileImages(paths, name, labels, classes, mean, std)


def _classes(folder: Path) -> list[str]:
    """The names of the class folders, sorted; none when the folder is unlabelled."""
    entries = sorted(_visible(folder), key=lambda entry: entry.name)
    classes = [entry.name for entry in entries if entry.is_dir() and _any_image(entry.path)]
    if len(classes) < 2:
        return []
    loose = [entry.name for entry in entries if entry.is_file() and _is_image(entry.name)]
    if loose:
        raise ValueError(
            f"{folder}: {len(loose)} images (such as {loose[0]}) lie beside {len(classes)} class "
            f"folders; move them into a class, or set data.no_labels=true"
        )
    return classes


def _visible(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _any_image(folder: str) -> bool:
    entries = _visible(folder)
    return any(entry.is_file() and _is_image(entry.name) for entry in entries) or any(
        entry.is_dir() and _any_image(entry.path) for entry in entries
    )


def _images_below(folder: Path) -> list[str]:
    """The paths of all images under a folder, sorted by their parts."""
    paths: list[str] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [
            os.path.join(place, name)
            for name in sorted(files)
            if _is_image(name) and not name.startswith(".")
        ]
    return paths


def _empty(folder: Path) -> str:
    suffixes = " ".join(sorted(IMAGE_SUFFIXES))
    return f"{folder.resolve()}: no images here; expected files that end in one of {suffixes}"


def _difference(train: list[str], val: list[str]) -> str:
    parts = []
    for here, others, text in ((train, val, "only in train"), (val, train, "only in val")):
        names = [name for name in here if name not in others]
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            parts.append(f"{text}: {', '.join(names[:3])}{more}")
    return "; ".join(parts)
