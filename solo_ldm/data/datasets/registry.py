"""The data sets by name, and the images of their splits."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from solo_ldm.config.arguments import check_value
from solo_ldm.data.config import DataConfig, check_data_config
from solo_ldm.data.datasets import cifar, custom, digits, imagenet, mnist, stl10, svhn
from solo_ldm.data.datasets.base import Dataset, Split
from solo_ldm.data.datasets.captions import CAPTIONS, DIGITS_CAPTIONS, with_captions
from solo_ldm.data.datasets.cifar_jpeg import CIFAR10_JPEG
from solo_ldm.data.datasets.memory import MEMORY
from solo_ldm.data.datasets.moving_dots import MOVING_DOTS
from solo_ldm.data.datasets.shards import HUGGING_FACE, WEBDATASET
from solo_ldm.data.datasets.tiny_imagenet import TINY_IMAGENET
from solo_ldm.data.sources.copies import copies_among, describe_copies, name_of
from solo_ldm.data.sources.images import ArrayImages, FileImages, ImageSource, ListImages, Listing
from solo_ldm.data.sources.survey import statistics, survey

# Splits are part of a data set, so they do not follow the seed of a run.
SPLIT_SEED = 0

DATASETS: dict[str, Dataset] = {
    "digits": digits.DIGITS,
    "moving_dots": MOVING_DOTS,
    "mnist": mnist.MNIST,
    "fashion_mnist": mnist.FASHION_MNIST,
    "cifar10": cifar.CIFAR10,
    "cifar10-jpeg": CIFAR10_JPEG,
    "cifar100": cifar.CIFAR100,
    "svhn": svhn.SVHN,
    "stl10": stl10.STL10,
    "imagenet": imagenet.IMAGENET,
    "imagenet100": imagenet.IMAGENET_100,
    "tiny_imagenet": TINY_IMAGENET,
    "custom": custom.CUSTOM,
    "image_folder": custom.CUSTOM,  # torchvision's name for such folders
    "captions": CAPTIONS,
    "digits_captions": DIGITS_CAPTIONS,
    "webdataset": WEBDATASET,
    "hf": HUGGING_FACE,
    "memory": MEMORY,
}
# Those that come with the package or its dependencies, and read no path.
EMBEDDED = ("digits", "moving_dots", "digits_captions")


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
    images = Splits(config)
    return images.train if split == "train" else images.val


class Splits:
    """The splits of a data set, each read when it is first asked for.

    No image of a user's own, in files or in memory, is in both, under whatever name: a copy of a
    training image is left out of validation.

    Args:
        config: what to load.

    Raises:
        ValueError: an unknown data set, or a folder whose content does not make sense.
        FileNotFoundError: the data set is not where the configuration says.
    """

    def __init__(self, config: DataConfig) -> None:
        check_data_config(config)
        self._config, self._dataset = config, find_dataset(config.dataset)
        self.notices: list[str] = []

    @cached_property
    def train(self) -> ImageSource:
        """The training images."""
        config, source = self._config, self._whole
        others = np.concatenate([self._test, self._held_out])
        if len(others):
            source = source.subset(np.setdiff1d(np.arange(len(source)), others))
        if config.fraction != -1:
            source = source.subset(stratified_indexes(source.labels, config.fraction))
        return source.without_labels() if config.no_labels else source

    @cached_property
    def val(self) -> ImageSource | None:
        """The validation images; None when there is no labelled or captioned split of them."""
        config = self._config
        scored = not config.no_labels or self._whole.captions is not None
        if scored and (config.scores_held_out or self._dataset.holds_out(config)):
            chosen = self._held_out if config.scores_held_out else self._test
            val = self._whole.subset(chosen) if len(chosen) else None
        else:
            found = self._dataset.read(config, "val") if scored else None
            if found is None:
                _ = self._copies  # they are said
                return None
            val = self._source(found, self._whole)
            val = self._without_training_images(val) if self._dataset.own else val
        return val.without_labels() if val is not None and config.no_labels else val

    @cached_property
    def _whole(self) -> ImageSource:
        found = self._dataset.read(self._config, "train")
        assert found is not None, "every data set has training images"
        return self._source(found, None)

    def _source(self, found: Listing, like: ImageSource | None) -> ImageSource:
        """Return a source of what was read; its pixels are taken as those of `like`."""
        config, dataset = self._config, self._dataset
        found = with_captions(config, found)
        self.notices += [line for line in found.notices if line not in self.notices]
        kind = FileImages
        if isinstance(found.images, np.ndarray):
            kind = ListImages if found.images.dtype == object else ArrayImages
        about = (config.dataset, found.labels, found.classes, dataset.mean, dataset.std)
        source: ImageSource = kind(found.images, *about, config.channels, captions=found.captions)
        if like is not None:
            source.mean, source.std = like.mean, like.std
        given = None if config.range in (None, "auto") else (config.range[0], config.range[1])
        if like is not None and like.pixel_range is not None:
            given = like.pixel_range
        if isinstance(source, FileImages):
            seen = survey(source, given)
            source.pixel_range = seen.pixel_range
            if like is None:
                self.notices += [*seen.notices, *filter(None, [seen.crowded])]
            else:
                self.notices += [line for line in seen.notices if line not in self.notices]
        elif found.pixel_range is not None:
            source.pixel_range = found.pixel_range
        elif given is not None and like is None:
            self.notices.append(f"data.range: not used, as {config.dataset} has 8 bits a channel")
        if len(source.mean) != source.num_channels:
            source.mean, source.std, count = statistics(source)
            self.notices.append(
                f"data.channels: {source.num_channels}, of mean {list(source.mean)} and deviation "
                f"{list(source.std)} in {count} sampled images; saturation and hue are not changed"
            )
        return source

    @property
    def scored_on(self) -> str:
        """Which images are validated and scored on, in words."""
        config = self._config
        if config.scores_held_out or self._dataset.holds_out(config):
            key = "held_out" if config.scores_held_out else "val_fraction"
            share = getattr(config, key)
            return f"held-out training images of {config.dataset} (data.{key}={share:g})"
        files = self._dataset.own and self._dataset is not MEMORY and config.val_path is not None
        where = " (data.val_path)" if files else ""
        return f"test images of {config.dataset}{where}"

    @property
    def _scored(self) -> bool:
        """Whether there is something to score images by."""
        labelled = bool(self._whole.classes) and not self._config.no_labels
        return labelled or self._whole.captions is not None

    @cached_property
    def _test(self) -> npt.NDArray[np.int64]:
        """The indexes of the images that are tested on, where a set has no split of its own."""
        if not self._scored or not self._dataset.holds_out(self._config):
            return np.empty(0, np.int64)
        return self._share_of(np.arange(len(self._whole)), "val_fraction")

    @cached_property
    def _held_out(self) -> npt.NDArray[np.int64]:
        """The indexes of the images that data.held_out holds out: none that are tested on."""
        source, share = self._whole, self._config.held_out
        if not share:
            return np.empty(0, np.int64)
        if not self._scored:
            raise ValueError(
                f"data.held_out: expected labelled images, got data.held_out={share:g} without "
                f"labels; held-out images are there to be scored, leave it out"
            )
        left = np.setdiff1d(np.arange(len(source)), self._test)
        held_out = self._share_of(left, "held_out")
        if not len(held_out):
            raise ValueError(
                f"data.held_out: expected a share that holds an image, got {share:g} of "
                f"{len(left)} images in {len(source.classes)} classes; raise it"
            )
        return held_out

    def _share_of(self, among: npt.NDArray[np.int64], key: str) -> npt.NDArray[np.int64]:
        """Choose a share of some images, without those of which a copy is not chosen."""
        source, share = self._whole, getattr(self._config, key)
        chosen = among[stratified_indexes(source.labels[among], share, keep_one=True)]
        is_chosen = np.zeros(len(source), bool)
        is_chosen[chosen] = True
        groups = [group for group in self._copies if not is_chosen[group].all()]
        copies = [index for group in groups for index in group if is_chosen[index]]
        if copies:
            what = "file" if isinstance(source, FileImages) else "image"
            self.notices.append(
                f"data.{key}: {len(copies)} {what}{'' if len(copies) == 1 else 's'} not held "
                f"out, as copies are trained on"
            )
        return np.setdiff1d(chosen, copies)

    @cached_property
    def _copies(self) -> list[list[int]]:
        """The groups of training images that are copies of each other, which are said."""
        source = self._whole
        if not self._dataset.own:
            return []
        groups, left = copies_among(source)
        self._say_copies(source, groups, left)
        return groups

    def _say_copies(self, source: ImageSource, groups: list[list[int]], left: str | None) -> None:
        if left is not None:
            self.notices.append(f"data.train_path: {left}")
        root = os.path.expanduser(self._config.train_path or ".")
        root = root if os.path.isdir(root) else os.path.dirname(root)
        self.notices += filter(None, [describe_copies(source, groups, root)])

    def _without_training_images(self, val: ImageSource) -> ImageSource | None:
        """Leave out the validation images that are trained on, unless all of them are."""
        train = self._whole
        first = len(train)
        groups, left = copies_among(train, val)
        key = "data.val_path" if isinstance(val, FileImages) else "val"
        own = [[index for index in group if index < first] for group in groups]
        self._say_copies(train, [group for group in own if len(group) > 1], left)
        shared = [
            index - first
            for group, mine in zip(groups, own, strict=True)
            for index in group
            if mine and index >= first
        ]
        if len(shared) == len(val):
            self.notices.append(
                f"{key}: all {len(val)} validation images are training images; scores are "
                f"of images that were trained on"
            )
        elif shared:
            self.notices.append(
                f"{key}: {len(shared)} of {len(val)} validation images are left out, as "
                f"they are training images, such as {name_of(val, min(shared), key)}"
            )
            return val.subset(np.setdiff1d(np.arange(len(val)), shared))
        return val


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
