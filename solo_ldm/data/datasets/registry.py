"""The data sets by name, and the images of their splits."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from solo_ldm.config.arguments import check_value
from solo_ldm.data.config import DataConfig, check_data_config
from solo_ldm.data.datasets import cifar, custom, digits, imagenet, mnist, stl10, svhn
from solo_ldm.data.datasets.base import Dataset, Split
from solo_ldm.data.datasets.tiny_imagenet import TINY_IMAGENET
from solo_ldm.data.sources.images import ArrayImages, FileImages, ImageSource

# Splits are part of a data set, so they do not follow the seed of a run.
SPLIT_SEED = 0

DATASETS: dict[str, Dataset] = {
    "digits": digits.DIGITS,
    "mnist": mnist.MNIST,
    "fashion_mnist": mnist.FASHION_MNIST,
    "cifar10": cifar.CIFAR10,
    "cifar100": cifar.CIFAR100,
    "svhn": svhn.SVHN,
    "stl10": stl10.STL10,
    "imagenet": imagenet.IMAGENET,
    "imagenet100": imagenet.IMAGENET_100,
    "tiny_imagenet": TINY_IMAGENET,
    "custom": custom.CUSTOM,
    "image_folder": custom.CUSTOM,  # torchvision's name for such folders
}


def find_dataset(name: str) -> Dataset:
    """Return a data set by its name.

    Raises:
        ValueError: there is none.
    """
    check_value("data.dataset", name, Literal[tuple(DATASETS)])
    return DATASETS[name]


def load_source(config: DataConfig, split: Split) -> ImageSource | None:
    """Load one split of a data set.

    Args:
        config: what to load.
        split: train or val.

    Returns:
        The source; None when there is no labelled validation split.

    Raises:
        ValueError: an unknown data set, or a folder whose content does not make sense.
        FileNotFoundError: the data set is not where the configuration says.
    """
    check_data_config(config)
    dataset = find_dataset(config.dataset)
    found = None if split == "val" and config.no_labels else dataset.read(config, split)
    if found is None:
        return None
    kind = ArrayImages if isinstance(found.images, np.ndarray) else FileImages
    about = (config.dataset, found.labels, found.classes, dataset.mean, dataset.std)
    source: ImageSource = kind(found.images, *about)
    if dataset.holds_out(config) and source.classes and not config.no_labels:
        held_out = stratified_indexes(source.labels, config.val_fraction, keep_one=True)
        if split == "val":
            return source.subset(held_out) if len(held_out) else None
        source = source.subset(np.setdiff1d(np.arange(len(source)), held_out))
    if split == "train" and config.fraction != -1:
        source = source.subset(stratified_indexes(source.labels, config.fraction))
    return source.without_labels() if config.no_labels else source


def stratified_indexes(
    labels: npt.NDArray[np.int64], share: float, keep_one: bool = False
) -> npt.NDArray[np.int64]:
    """Choose a share of the images with the same share of every class, always the same ones.

    A smaller share is (up to rounding) a subset of a larger one.

    Args:
        labels: (N,) class numbers; -1 counts as a class of its own.
        share: in [0, 1].
        keep_one: leave at least one image of every class unchosen.

    Returns:
        The chosen indexes in ascending order, about `share` · N of them and, for a positive share
        that may take every image, at least one.
    """
    generator = np.random.default_rng(SPLIT_SEED)
    numbers, counts = np.unique(labels, return_counts=True)
    exact = share * counts
    quotas = np.floor(exact).astype(int)
    missing = round(share * len(labels)) - quotas.sum()
    if share > 0 and not keep_one:
        missing = max(missing, 1 - quotas.sum())
    if missing > 0:
        quotas[np.argsort(quotas - exact, kind="stable")[:missing]] += 1
    quotas = np.minimum(quotas, counts - 1 if keep_one else counts)
    chosen = [
        generator.permutation(np.flatnonzero(labels == number))[:quota]
        for number, quota in zip(numbers, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)
