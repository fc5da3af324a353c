"""ImageNet and ImageNet-100, checked for completeness before a run starts."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets import base
from solo_ldm.data.sources.folders import check_same_classes, contents, labelled, some
from solo_ldm.data.sources.images import Listing

NUM_CLASSES = 1000
_WORDNET = re.compile(r"n\d{8}")

# The hundred classes of ImageNet-100 by their WordNet numbers. Source: the choice of Tian et al.,
# Contrastive Multiview Coding (arXiv 1906.05849), which drew them at random and published the list;
# solo-learn's dataset_subset/imagenet100_classes.txt is the same.
_NUMBERS = """
n01558993 n01692333 n01729322 n01735189 n01749939 n01773797 n01820546 n01855672
n01978455 n01980166 n01983481 n02009229 n02018207 n02085620 n02086240 n02086910
n02087046 n02089867 n02089973 n02090622 n02091831 n02093428 n02099849 n02100583
n02104029 n02105505 n02106550 n02107142 n02108089 n02109047 n02113799 n02113978
n02114855 n02116738 n02119022 n02123045 n02138441 n02172182 n02231487 n02259212
n02326432 n02396427 n02483362 n02488291 n02701002 n02788148 n02804414 n02859443
n02869837 n02877765 n02974003 n03017168 n03032252 n03062245 n03085013 n03259280
n03379051 n03424325 n03492542 n03494278 n03530642 n03584829 n03594734 n03637318
n03642806 n03764736 n03775546 n03777754 n03785016 n03787032 n03794056 n03837869
n03891251 n03903868 n03930630 n03947888 n04026417 n04067472 n04099969 n04111531
n04127249 n04136333 n04229816 n04238763 n04336792 n04418357 n04429376 n04435653
n04485082 n04493381 n04517823 n04589890 n04592741 n07714571 n07715103 n07753275
n07831146 n07836838 n13037406 n13040303
"""
IMAGENET100 = tuple(_NUMBERS.split())


def _read(config: DataConfig, split: base.Split) -> Listing:
    """Find the images of ImageNet (`imagenet`) or of its hundred classes (`imagenet100`).

    `train_path` and `val_path` hold one folder a class, named by its WordNet number. ImageNet-100
    is read from all thousand classes or from its hundred alone. Without `val_path` both splits are
    the training images, of which the caller holds a share out.
    """
    (train, classes), val = _folders(config)
    if split == "train" or val is None:
        return labelled(train, classes, "data.train_path")
    check_same_classes(classes, val[1])
    return labelled(*val, "data.val_path")


def _folders(config: DataConfig) -> tuple[tuple[Path, list[str]], tuple[Path, list[str]] | None]:
    """Return the folders of training and validation, with the names of their class folders."""
    full = config.dataset == "imagenet"
    train = _classes(full, config.train_path, "data.train_path")
    no_val = config.val_path is None
    return train, None if no_val else _classes(full, config.val_path, "data.val_path")


def _classes(full: bool, path: str | None, key: str) -> tuple[Path, list[str]]:
    """Return the folder and the names of the class folders to read, sorted."""
    folder = None if path is None else Path(os.path.expanduser(path))
    if folder is None or not folder.is_dir():
        title = "ImageNet" if full else "ImageNet-100"
        where = "nothing" if folder is None else f"{folder.resolve()}, which is not a folder"
        raise FileNotFoundError(
            f"{key}: expected {title} with one folder a class (n01440764, ...), got {where}; "
            f"fetch ILSVRC 2012 from https://image-net.org (with an account) and unpack it there"
        )
    names, loose = contents(folder)
    if full:
        if len(names) != NUM_CLASSES or loose or not all(map(_WORDNET.fullmatch, names)):
            raise ValueError(
                f"{key}: expected the {NUM_CLASSES} class folders of ImageNet (n01440764, ...) in "
                f"{folder}, got {_found(names, loose)}; give the folder that holds them, sort "
                f"loose images into them, or use data=image_folder for classes of your own"
            )
        return folder, names
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
    return folder, list(IMAGENET100)


def _found(names: Sequence[str], loose: Sequence[str]) -> str:
    text = f"{len(names)} folders" + (f" ({some(names)})" if names else "")
    return text + (f" and {len(loose)} loose images ({some(loose)})" if loose else "")


VIEWS = base.Views(
    "imagenet",
    pretraining=base.reference_views(224),
    linear=base.crop_view(224, 0.08),  # the usual crop and flip, solo-learn's too
    masked=base.masked(224, patch_size=16),  # 14 × 14 patches, as in the paper of I-JEPA
)


def _dataset(name: str, backbone: str) -> base.Dataset:
    # One folder a class, named n01440764 and so on; a val_path of null holds out a share of
    # train_path. ImageNet-100 is read from its hundred folders, or out of ImageNet's thousand.
    paths: dict[str, str | None] = {
        "train_path": f"./datasets/{name}/train",
        "val_path": f"./datasets/{name}/val",
    }
    about = (backbone, paths, base.without_val_path, _folders)
    return base.Dataset(_read, *base.PHOTOGRAPHS, VIEWS, *about)


IMAGENET = _dataset("imagenet", "resnet50")
IMAGENET_100 = _dataset("imagenet100", "resnet18")
