"""Tiny ImageNet: two hundred classes of photographs of 64 pixels, checked before a run starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets import base
from solo_ldm.data.sources.folders import check_same_classes, contents, labelled, some
from solo_ldm.data.sources.images import Listing

NUM_CLASSES = 200
FOLDER = "tiny-imagenet-200"
URL = f"http://cs231n.stanford.edu/{FOLDER}.zip"
_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


def _read(config: DataConfig, split: base.Split) -> Listing:
    """Find the images of Tiny ImageNet as its archive unpacks, or with `val` sorted into classes.

    `train_path` is the folder tiny-imagenet-200, or the one that holds it.
    """
    root = _root(config)
    if not (root / "wnids.txt").is_file():
        _fetch(root)
    classes = sorted((root / "wnids.txt").read_text().split())
    folders = contents(root / "train")[0] if (root / "train").is_dir() else []
    if len(set(classes)) != NUM_CLASSES or classes != folders:
        raise ValueError(
            f"data.train_path: expected {NUM_CLASSES} classes in {root / 'wnids.txt'} and a "
            f"folder for each of them in train, got {len(set(classes))} and {len(folders)}, "
            f"{len(set(classes) & set(folders))} in common; unpack {URL} again"
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
            f"{URL} again"
        )
    numbers = {label: number for number, label in enumerate(classes)}
    images = set(contents(val / "images")[1])
    label_of: dict[str, str] = {}
    for number, line in enumerate(table.read_text().splitlines(), 1):
        if len(row := line.split("\t")) < 2:
            raise ValueError(
                f"data.train_path: {table}, line {number}: expected an image, a tab and its "
                f"class, got {line[:60]!r}; unpack {URL} again"
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
            f"{'; '.join(problems)}; unpack {URL} again"
        )
    paths = [str(val / "images" / image) for image in label_of]
    return Listing(paths, [numbers[label] for label in label_of.values()], tuple(classes))


def _root(config: DataConfig) -> Path:
    """Return the folder of the set; one that is to be fetched need not be there."""
    place = Path(os.path.expanduser(config.train_path or "./datasets"))
    for folder in (place, place / FOLDER):
        if (folder / "wnids.txt").is_file():
            return folder
    root = place if place.name == FOLDER else place / FOLDER
    if not config.download:
        raise FileNotFoundError(
            f"Tiny ImageNet is not under {place.resolve()}: expected {_layout(root)}; unpack {URL} "
            f"there, set data.train_path, or data.download=true to fetch it"
        )
    return root


def _fetch(root: Path) -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        download_and_extract_archive(URL, str(root.parent), md5=_MD5, remove_finished=True)
    except (RuntimeError, OSError, BadZipFile) as error:
        raise FileNotFoundError(
            f"Tiny ImageNet could not be fetched from {URL} ({base.first_line(error)}); check the "
            f"connection, or unpack it as {_layout(root)}"
        ) from error


def _layout(root: Path) -> str:
    return f"{root.parent.resolve() / FOLDER} with wnids.txt, train/ and val/"


TINY_IMAGENET = base.Dataset(
    _read,
    # As commonly used for this set, which publishes none.
    mean=(0.4802, 0.4481, 0.3975),
    std=(0.2770, 0.2691, 0.2821),
    views=base.Views(
        "tiny_imagenet",
        pretraining=base.reference_views(64),
        linear=base.crop_view(64, 0.08),
        masked=base.masked(64, patch_size=8),
    ),
    check=_root,
)
