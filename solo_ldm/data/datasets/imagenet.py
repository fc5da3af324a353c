"""ImageNet, ImageNet-100 and Tiny ImageNet, checked for completeness before a run starts."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.imagenet100 import IMAGENET100
from solo_ldm.data.sources.folders import Listing, check_same_classes, contents, labelled, some

NUM_CLASSES = 1000
TINY_CLASSES = 200
TINY_NAME = "tiny-imagenet-200"
TINY_URL = f"http://cs231n.stanford.edu/{TINY_NAME}.zip"
_TINY_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
_WORDNET = re.compile(r"n\d{8}")


def read_imagenet(name: str, config: DataConfig, split: Literal["train", "val"]) -> Listing:
    """Find the images of ImageNet (`imagenet`) or of its hundred classes (`imagenet100`).

    `train_path` and `val_path` hold one folder a class, named by its WordNet number. ImageNet-100
    is read from all thousand classes or from its hundred alone.

    Args:
        name: imagenet or imagenet100.
        config: `train_path` and `val_path` are used.
        split: `val` without `val_path` returns the training images, of which the caller keeps the
            held-out share.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: classes are missing, or others are there.
    """
    train = _classes(name, config.train_path, "data.train_path")
    if split == "train" or config.val_path is None:
        assert config.train_path is not None, "checked with its classes"
        return labelled(_expand(config.train_path), train, "data.train_path")
    val = _classes(name, config.val_path, "data.val_path")
    check_same_classes(train, val)
    return labelled(_expand(config.val_path), val, "data.val_path")


def _classes(name: str, path: str | None, key: str) -> list[str]:
    """The names of the class folders to read, sorted."""
    title = {"imagenet": "ImageNet", "imagenet100": "ImageNet-100"}[name]
    if path is None or not _expand(path).is_dir():
        where = "nothing" if path is None else f"{_expand(path).resolve()}, which is not a folder"
        raise FileNotFoundError(
            f"{key}: expected {title} with one folder a class (n01440764, ...), got {where}; "
            f"fetch ILSVRC 2012 from https://image-net.org (with an account) and unpack it there"
        )
    folder = _expand(path)
    names, loose = contents(folder)
    if name == "imagenet":
        if len(names) != NUM_CLASSES or loose or not all(map(_WORDNET.fullmatch, names)):
            raise ValueError(
                f"{key}: expected the {NUM_CLASSES} class folders of ImageNet (n01440764, ...) in "
                f"{folder}, got {_found(names, loose)}; give the folder that holds them, sort "
                f"loose images into them, or use data=image_folder for classes of your own"
            )
        return names
    missing = [label for label in IMAGENET100 if label not in set(names)]
    others = [label for label in names if label not in set(IMAGENET100)]
    if missing:
        raise ValueError(
            f"{key}: {len(missing)} of the {len(IMAGENET100)} class folders of ImageNet-100 are "
            f"missing in {folder} ({some(missing)}), which holds {_found(names, loose)}; give "
            f"the folder of its classes or of all classes of ImageNet"
        )
    if loose or (others and len(names) != NUM_CLASSES):
        raise ValueError(
            f"{key}: expected the {len(IMAGENET100)} class folders of ImageNet-100, or all "
            f"{NUM_CLASSES} of ImageNet, in {folder}, got {_found(names, loose)}; remove what "
            f"belongs to neither ({some([*others, *loose])})"
        )
    return list(IMAGENET100)


def _found(names: Sequence[str], loose: Sequence[str]) -> str:
    text = f"{len(names)} folders" + (f" ({some(names)})" if names else "")
    return text + (f" and {len(loose)} loose images ({some(loose)})" if loose else "")


def _expand(path: str) -> Path:
    return Path(os.path.expanduser(path))


def read_tiny_imagenet(name: str, config: DataConfig, split: Literal["train", "val"]) -> Listing:
    """Find the images of Tiny ImageNet as its archive unpacks, or with `val` sorted into classes.

    Args:
        name: tiny_imagenet.
        config: `train_path` (the folder tiny-imagenet-200, or the one that holds it) and
            `download` are used.
        split: train or val.

    Raises:
        FileNotFoundError: it is not there, and was not to be or could not be fetched.
        ValueError: classes are missing, or the validation labels do not fit the images.
    """
    root = _tiny_root(config)
    classes = sorted((root / "wnids.txt").read_text().split())
    folders = contents(root / "train")[0] if (root / "train").is_dir() else []
    if len(set(classes)) != TINY_CLASSES or classes != folders:
        raise ValueError(
            f"data.train_path: expected {TINY_CLASSES} classes in {root / 'wnids.txt'} and a "
            f"folder for each of them in train, got {len(set(classes))} and {len(folders)}, "
            f"{len(set(classes) & set(folders))} in common; unpack {TINY_URL} again"
        )
    if split == "train":
        return labelled(root / "train", classes, "data.train_path", below="images")
    val = root / "val"
    if (val / "images").is_dir() and contents(val / "images")[1]:
        return _annotated(val, classes)
    in_folders = contents(val)[0] if val.is_dir() else []
    check_same_classes(classes, [label for label in in_folders if label != "images"], str(val))
    return labelled(val, classes, "data.train_path")


def _annotated(val: Path, classes: Sequence[str]) -> Listing:
    """Read the validation images of a single folder, whose labels are in a file beside it."""
    table = val / "val_annotations.txt"
    if not table.is_file():
        raise FileNotFoundError(
            f"data.train_path: no {table}, the labels of the images in {val / 'images'}; unpack "
            f"{TINY_URL} again"
        )
    numbers = {label: number for number, label in enumerate(classes)}
    images = set(contents(val / "images")[1])
    label_of: dict[str, str] = {}
    for number, line in enumerate(table.read_text().splitlines(), 1):
        if len(row := line.split("\t")) < 2:
            raise ValueError(
                f"data.train_path: {table}, line {number}: expected an image, a tab and its "
                f"class, got {line[:60]!r}; unpack {TINY_URL} again"
            )
        label_of[row[0]] = row[1]
    wrong = {
        "classes not in wnids.txt": sorted(set(label_of.values()) - set(classes)),
        "labels without an image": sorted(set(label_of) - images),
        "images without a label": sorted(images - set(label_of)),
    }
    problems = [f"{len(names)} {what} ({some(names)})" for what, names in wrong.items() if names]
    if problems:
        raise ValueError(
            f"data.train_path: label map mismatch between {table} and the images beside it: "
            f"{'; '.join(problems)}; unpack {TINY_URL} again"
        )
    paths = [str(val / "images" / image) for image in label_of]
    return Listing(paths, [numbers[label] for label in label_of.values()], tuple(classes))


def _tiny_root(config: DataConfig) -> Path:
    place = _expand(config.train_path or "./datasets")
    for folder in (place, place / TINY_NAME):
        if (folder / "wnids.txt").is_file():
            return folder
    target = place.parent if place.name == TINY_NAME else place
    layout = f"{target.resolve() / TINY_NAME} with wnids.txt, train/ and val/"
    if not config.download:
        raise FileNotFoundError(
            f"Tiny ImageNet is not under {place.resolve()}: expected {layout}; unpack {TINY_URL} "
            f"there, set data.train_path, or data.download=true to fetch it"
        )
    from torchvision.datasets.utils import download_and_extract_archive

    try:
        target.mkdir(parents=True, exist_ok=True)
        download_and_extract_archive(TINY_URL, str(target), md5=_TINY_MD5, remove_finished=True)
    except (RuntimeError, OSError, BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileNotFoundError(
            f"Tiny ImageNet could not be fetched from {TINY_URL} ({reason}); check the "
            f"connection, or unpack it as {layout}"
        ) from error
    return target / TINY_NAME
