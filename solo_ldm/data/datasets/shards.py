"""Images in tar shards (webdataset), and in data sets of Hugging Face on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.base import PHOTOGRAPHS, Dataset, Split
from solo_ldm.data.datasets.imagenet import VIEWS
from solo_ldm.data.shards import tables, tars
from solo_ldm.data.shards.index import Index
from solo_ldm.data.shards.places import (
    files_below,
    files_of,
    has_validation,
    pattern_of,
    readable,
    split_of,
)
from solo_ldm.data.sources.folders import holds_image, some
from solo_ldm.data.sources.images import Listing
from solo_ldm.data.sources.labels import number_labels

Indexer = Callable[[Sequence[Path], str, str | None, str | None, bool], Index]


def _dataset(suffixes: tuple[str, ...], indexer: Indexer, need: Callable[[], None]) -> Dataset:
    """Return a data set of shards.

    Args:
        suffixes: of the shards.
        indexer: finds the images of the shards, see `index_tars`.
        need: raises a ValueError where a library is missing.
    """

    def holds_out(config: DataConfig) -> bool:
        return config.val_path is None and not has_validation(config.train_path, suffixes)

    def files(config: DataConfig, split: Split) -> list[Path]:
        if config.train_path is None:
            raise ValueError(
                f"data.train_path: missing; set it to a folder of {readable(suffixes)} files, "
                f"a file or a pattern such as train-{{0000..0003}}{suffixes[0]}"
            )
        place = config.train_path if split == "train" else config.val_path
        key = f"data.{split}_path" if place is not None else "data.train_path"
        return files_of(place or config.train_path, key, suffixes, split == "val")

    def check(config: DataConfig) -> None:
        need()
        files(config, "train")
        if not holds_out(config):
            files(config, "val")

    def index(config: DataConfig, split: Split, texts: bool = False) -> Index:
        found = files(config, split)
        # The training images are asked for once more for the classes of the validation images.
        known = tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in found)
        label_key, labelled = config.label_key, not config.no_labels
        if texts:  # captions are found as labels are
            label_key, labelled = config.caption_key, True
        made = _index(indexer, known, f"data.{split}_path", config.image_key, label_key, labelled)
        if made.guessed in (f".{config.caption_key} members", f"the column {config.caption_key}"):
            made = made._replace(labels=made.labels if texts else None)
        return made

    def captioned(listing: Listing, config: DataConfig, split: Split) -> Listing:
        if config.caption_key is None:
            return listing
        try:
            texts = index(config, split, texts=True).labels
        except ValueError as error:
            raise ValueError(str(error).replace("label_key", "caption_key")) from None
        captions = [_texts(one) for one in texts or ()]
        if empty := sum(not one for one in captions):
            raise ValueError(
                f"data.{split}_path: expected a caption of each image ({config.caption_key}, "
                f"data.caption_key), got {empty} of {len(captions)} images without; remove these"
            )
        return listing._replace(captions=captions)

    def read(config: DataConfig, split: Split) -> Listing | None:
        train = _numbered(index(config, "train"), "data.train_path", None)
        if split == "train":
            return captioned(train, config, split)
        if not train.classes and config.caption_key is None:
            return None
        found = index(config, "val")
        if not train.classes:
            found = found._replace(labels=None)
        val = _numbered(found, "data.val_path", train.classes or None)
        val = captioned(val, config, split)
        if config.val_path is None:
            name = split_of(config.train_path or "", suffixes)
            told = f"data.val_path: the split {name} of {config.train_path}"
            val = val._replace(notices=(told, *val.notices))
        return val

    return Dataset(
        read,
        *PHOTOGRAPHS,
        VIEWS,
        # Needed: a folder, a file or a pattern. Without a val_path, and another split in the
        # folder, a share of labelled images is held out.
        paths={"train_path": None, "val_path": None},
        holds_out=holds_out,
        check=check,
        own=True,
    )


_KINDS = {"webdataset": tars.SUFFIXES, "hf": tables.SUFFIXES}


def kind_of_shards(path: Path) -> str | None:
    """Return the name of the data set that reads a file, a pattern or a folder; None for no shards.

    A folder with images in it, or below, is one of images, whatever lies beside them.
    """
    names = [path.name]
    if path.is_dir():
        if (path / "dataset_dict.json").is_file():
            return "hf"
        if holds_image(path):
            return None
        names = [name for _, name in files_below(path)]
    found = (kind for kind, ends in _KINDS.items() if any(one.endswith(ends) for one in names))
    return next(found, None)


def pattern_of_shards(images: Any, key: str) -> Any:
    """Return the pattern of a list of shards; anything else as it is.

    Args:
        images: what a Python program gives.
        key: of the argument, for messages.

    Raises:
        ValueError: in one line: shards of several kinds, one twice, or names no pattern can have.
    """
    ends = tuple(end for kind in _KINDS.values() for end in kind)
    if not isinstance(images, (list, tuple)) or not all(isinstance(x, (str, Path)) for x in images):
        return images
    shards = [one for one in map(str, images) if one.endswith(ends)]
    if not shards:
        if images and Path(images[0]).expanduser().is_dir():
            raise ValueError(
                f"{key}: expected paths of images or of shards in a list, got the folder "
                f"{images[0]}; give the path of one folder by itself"
            )
        return images
    names = [str(Path(one).expanduser()) for one in images]
    if others := [one for one in names if Path(one).suffix != Path(shards[0]).suffix]:
        raise ValueError(
            f"{key}: expected shards of one kind, got {shards[0]} and {others[0]}; give those of "
            f"one data set"
        )
    return pattern_of(names, key)


@lru_cache(maxsize=4)
def _index(indexer: Indexer, known: tuple[tuple[Path, int, int], ...], *about: object) -> Index:
    return indexer([path for path, _, _ in known], *about)  # pyright: ignore[reportArgumentType]


def _numbered(index: Index, key: str, like: Sequence[str] | None) -> Listing:
    """Return images with the numbers of their classes, those of `like` where it is given."""
    values = [_label(one, key) for one in index.labels or [None] * len(index.images)]
    given = [one for one in values if one is not None]
    if all(_is_number(one) for one in given):
        labels = [-1 if one is None else int(one) for one in values]
    else:
        labels = ["-1" if one is None else str(one) for one in values]
    found = {one for one in labels if one not in (-1, "-1")}
    if like is None and len(found) == 1:
        raise ValueError(
            f"{key}: expected two classes or more, got the one class {found.pop()}; add a class, "
            f"or set data.no_labels=true to train without labels"
        )
    if like is not None and not found:
        raise ValueError(
            f"{key}: expected labelled images, got none with a label, as in a test split; give "
            f"another split, or as data.train_path one split alone, of which a share is held out"
        )
    names = index.names if found else None
    said = f"labels of {key}"
    numbers, classes = number_labels(labels, len(labels), names, "val", like, said)
    notices = index.notices
    if index.guessed and classes:
        told = f"{key}: labels are those of {index.guessed}, {len(classes)} classes"
        notices = (*notices, f"{told} ({some(classes)}); data.label_key names others")
    return Listing(index.images, numbers, classes, notices)


def _label(value: object, key: str) -> int | str | None:
    """Return a label; pandas has whole numbers as fractions where some are missing."""
    if isinstance(value, float) and (math.isnan(value) or value.is_integer()):
        return None if math.isnan(value) else int(value)
    if value is None or isinstance(value, (int, str)):
        return value
    shown = repr(value)
    raise ValueError(
        f"labels of {key}: expected whole numbers or names, got "
        f"{shown if len(shown) <= 60 else f'{shown[:60]}...'}; data.label_key names other labels, "
        f"data.no_labels=true uses none"
    )


def _texts(value: object) -> tuple[str, ...]:
    """Return the captions that a value holds: one, or a list of them."""
    values = value if isinstance(value, list) else [value]
    return tuple(text.strip() for text in values if isinstance(text, str) and text.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value.lstrip("-").isdecimal())


WEBDATASET = _dataset(tars.SUFFIXES, tars.index_tars, lambda: None)
HUGGING_FACE = _dataset(tables.SUFFIXES, tables.index_tables, tables.need_pyarrow)
