"""The data sets by name: where each is read from, its splits, its mean and deviation."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from solo_ldm.data.config import DataConfig, check_data_config, unknown_name
from solo_ldm.data.datasets.custom import read_custom
from solo_ldm.data.datasets.imagenet import read_imagenet, read_tiny_imagenet
from solo_ldm.data.sources.folders import Listing
from solo_ldm.data.sources.images import ArrayImages, FileImages, ImageSource

Split = Literal["train", "val"]
# Splits are part of a data set, so they do not follow the seed of a run.
SPLIT_SEED = 0


@dataclass(frozen=True)
class DatasetInfo:
    """A data set's reader and the statistics of its channels.

    Args:
        read: (config, split) -> a source, or None where there is no such split.
        mean: of the channels R, G, B, in the range [0, 1].
        std: of the channels R, G, B, in the range [0, 1].
        holds_out: config -> whether validation is a held-out share of what `read` returns.
    """

    read: Callable[[str, DataConfig, Split], ImageSource | None]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    holds_out: Callable[[DataConfig], bool] = lambda config: False


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
    if config.dataset not in DATASETS:
        raise ValueError(unknown_name("data.dataset", config.dataset, DATASETS))
    info = DATASETS[config.dataset]
    if split == "val" and config.no_labels:
        return None
    source = info.read(config.dataset, config, split)
    if source is None:
        return None
    if info.holds_out(config) and source.classes and not config.no_labels:
        source = _held_out(source, config.val_fraction, split)
    if source is not None and split == "train":
        if config.fraction != -1:
            source = source.subset(stratified_indexes(source.labels, config.fraction))
        if config.no_labels:
            source = source.without_labels()
    return source


def _held_out(source: ImageSource, val_fraction: float, split: Split) -> ImageSource | None:
    held_out = stratified_indexes(source.labels, val_fraction, keep_one=True)
    if split == "val":
        return source.subset(held_out) if len(held_out) else None
    return source.subset(np.setdiff1d(np.arange(len(source)), held_out))


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
    generator = np.random.Generator(np.random.PCG64(SPLIT_SEED))
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


def _read_digits(name: str, config: DataConfig, split: Split) -> ImageSource:
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return _arrays(name, pixels, digits.target, [str(number) for number in digits.target_names])


def _read_mnist(name: str, config: DataConfig, split: Split) -> ImageSource:
    kind = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[name]
    layout = f"{kind}/raw/train-images-idx3-ubyte and the three files beside it"
    data = _torchvision_dataset(kind, config, layout, train=split == "train")
    return _arrays(name, data.data.numpy(), data.targets.numpy(), data.classes)


def _read_cifar(name: str, config: DataConfig, split: Split) -> ImageSource:
    layout = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name] + "/"
    data = _torchvision_dataset(name.upper(), config, layout, train=split == "train")
    return _arrays(name, data.data, data.targets, data.classes)


def _read_svhn(name: str, config: DataConfig, split: Split) -> ImageSource:
    kind = "train" if split == "train" else "test"
    data = _torchvision_dataset("SVHN", config, f"{kind}_32x32.mat", split=kind)
    return _arrays(name, data.data.transpose(0, 2, 3, 1), data.labels, map(str, range(10)))


def _read_stl10(name: str, config: DataConfig, split: Split) -> ImageSource:
    # The unlabelled images have label -1; evaluation uses the labelled ones alone.
    kind = "train+unlabeled" if split == "train" else "test"
    data = _torchvision_dataset("STL10", config, "stl10_binary/*.bin", split=kind)
    return _arrays(name, data.data.transpose(0, 2, 3, 1), data.labels, data.classes)


def _files(
    read: Callable[[str, DataConfig, Split], Listing | None],
) -> Callable[[str, DataConfig, Split], ImageSource | None]:
    """Make a reader of a data set out of one that finds its files."""

    def source(name: str, config: DataConfig, split: Split) -> ImageSource | None:
        found = read(name, config, split)
        if found is None:
            return None
        info = DATASETS[name]
        return FileImages(found.paths, name, found.labels, found.classes, info.mean, info.std)

    return source


def _arrays(name: str, images: npt.NDArray[np.uint8], labels: Any, classes: Any) -> ArrayImages:
    info = DATASETS[name]
    return ArrayImages(images, name, labels, tuple(classes), info.mean, info.std)


def _torchvision_dataset(kind: str, config: DataConfig, layout: str, **arguments: Any) -> Any:
    """Read a set with torchvision's reader, with one clear line when it is not there."""
    import torchvision.datasets

    root = Path(os.path.expanduser(config.train_path or "./datasets"))
    if not root.is_dir() and not config.download:
        raise FileNotFoundError(_not_found(kind, root, layout))
    try:
        with warnings.catch_warnings():
            # CIFAR's pickles were written by Python 2; NumPy >= 2.4 warns about their data types.
            warnings.filterwarnings("ignore", message=r"dtype\(\): align")
            return getattr(torchvision.datasets, kind)(
                str(root), download=config.download, **arguments
            )
    except (RuntimeError, OSError) as error:
        if not config.download:
            raise FileNotFoundError(_not_found(kind, root, layout)) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileNotFoundError(
            f"{kind} could not be fetched to {root.resolve()} ({reason}); check the connection, "
            f"or put {layout} there"
        ) from error


def _not_found(kind: str, root: Path, layout: str) -> str:
    return (
        f"{kind} is not under {root.resolve()} (or is damaged): expected {layout} there; "
        f"set data.train_path, or data.download=true to fetch it"
    )


# ImageNet's, which are those of photographs well enough.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OWN = DatasetInfo(
    _files(read_custom), *_IMAGENET, holds_out=lambda config: config.val_path is None
)
_FULL = DatasetInfo(
    _files(read_imagenet), *_IMAGENET, holds_out=lambda config: config.val_path is None
)

DATASETS: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(
        _read_digits, (0.3053,) * 3, (0.3759,) * 3, holds_out=lambda config: True
    ),
    "mnist": DatasetInfo(_read_mnist, (0.1307,) * 3, (0.3081,) * 3),
    "fashion_mnist": DatasetInfo(_read_mnist, (0.2860,) * 3, (0.3530,) * 3),
    "cifar10": DatasetInfo(_read_cifar, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": DatasetInfo(_read_cifar, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "svhn": DatasetInfo(_read_svhn, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "stl10": DatasetInfo(_read_stl10, (0.4914, 0.4823, 0.4466), (0.247, 0.243, 0.261)),
    "imagenet": _FULL,
    "imagenet100": _FULL,
    # As commonly used for this set, which publishes none.
    "tiny_imagenet": DatasetInfo(
        _files(read_tiny_imagenet), (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)
    ),
    "custom": _OWN,
    "image_folder": _OWN,
}
