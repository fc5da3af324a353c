"""A table of images and captions: CSV, a line each."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.base import PHOTOGRAPHS, Dataset, Split, crop_view, without_val_path
from solo_ldm.data.datasets.imagenet import VIEWS
from solo_ldm.data.sources.images import Listing
from solo_ldm.data.sources.labels import number_labels

_IMAGE, _CAPTION, _LABEL = "image", "caption", "label"
_UNKNOWN = "-1"


class _Table(NamedTuple):
    """What a table says of each image, in the order in which they come first."""

    images: list[str]
    captions: list[tuple[str, ...]]
    labels: list[str] | None


def _read(config: DataConfig, split: Split) -> Listing | None:
    """Read the images of a table; an image of several lines has as many captions.

    A column label, or data.label_key, has their classes, nothing where an image has none.
    """
    train = _of_split(config, "train")
    table = train if split == "train" or config.val_path is None else _of_split(config, "val")
    key = f"data.{split}_path"
    numbers, classes = [-1] * len(table.images), ()
    if train.labels is not None and table.labels is not None:
        classes = number_labels(train.labels, len(train.labels), None, "train", None, key)[1]
        like = None if table is train else classes
        numbers = number_labels(table.labels, len(table.labels), None, "val", like, key)[0]
    return Listing(table.images, numbers, tuple(classes), captions=table.captions)


def _of_split(config: DataConfig, split: Split) -> _Table:
    key, path = f"data.{split}_path", _place(config, split)
    image, caption = config.image_key or _IMAGE, config.caption_key or _CAPTION
    text = _text(key, path)
    if "\0" in text:
        raise ValueError(f"{key}: expected a table (CSV, UTF-8), got {path}, which is none")
    heading = text.partition("\n")[0]
    rows = _rows(key, path, text, "\t" if "\t" in heading else ",")
    _, names = next(rows, (0, []))
    names = [name.strip() for name in names]
    wanted = {"image_key": image, "caption_key": caption}
    if config.label_key or (_LABEL in names and not config.no_labels):
        wanted["label_key"] = config.label_key or _LABEL
    for option, name in wanted.items():
        if name not in names:
            raise ValueError(
                f"{key}: expected a column {name}, got {', '.join(names) or 'an empty file'} in "
                f"{path}; data.{option} names another"
            )
        if names.count(name) > 1:
            raise ValueError(f"{key}: expected one column {name}, got several in {path}")
    places = [names.index(name) for name in wanted.values()]
    found: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    for line, row in rows:
        if not any(one.strip() for one in row):
            continue
        where = f"{key}: {path}, line {line}"
        if len(row) != len(names):
            raise ValueError(
                f"{where}: expected {len(names)} columns, got {len(row)}; put texts with commas in "
                "double quotes"
            )
        values = [row[place].strip() for place in places]
        file = os.path.join(path.parent, os.path.expanduser(values[0]))
        if not values[0] or not values[1]:
            lacking = caption if values[0] else image
            raise ValueError(
                f"{where}: expected an image and its caption, got no {lacking}; complete the line "
                "or remove it"
            )
        if file not in found and not os.path.isfile(file):
            raise FileNotFoundError(
                f"{where}: no file {file}; paths are relative to the table's folder"
            )
        found.setdefault(file, []).append(values[1])
        if "label_key" in wanted:
            label = labels.setdefault(file, _UNKNOWN)
            if values[2] and label not in (_UNKNOWN, values[2]):
                raise ValueError(
                    f"{where}: expected one label of {values[0]}, got {values[2]} after {label}"
                )
            labels[file] = values[2] or label
    if not found:
        raise ValueError(f"{key}: {path} lists no images; expected a line each")
    captions = [tuple(dict.fromkeys(texts)) for texts in found.values()]
    kept = [labels[file] for file in found] if labels else None
    return _Table([*found], captions, kept)


def _text(key: str, path: Path) -> str:
    """Return the text of a file, which has to be UTF-8."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in content:
            return "\0"
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{key}: {path}, line {line}: expected UTF-8, got byte {content[error.start]:#x}; save "
            "it as UTF-8"
        ) from None


def _rows(key: str, path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table with the line in which each starts."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in rows:
            yield line, row
            line = rows.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{key}: {path}, line {line}: expected a row of a table (CSV), got one of which csv "
            f"says {error}; is a double quote not closed?"
        ) from None


def _place(config: DataConfig, split: Split) -> Path:
    given = config.train_path if split == "train" else config.val_path
    if given is None:
        raise ValueError(
            f"data.{split}_path: missing; set it to a table (CSV) with the columns {_IMAGE} and "
            f"{_CAPTION} (data.image_key and data.caption_key name others)"
        )
    path = Path(os.path.expanduser(given))
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing there"
        raise FileNotFoundError(
            f"data.{split}_path: expected a table of images and captions (CSV), got {given}, {what}"
        )
    return path


def _check(config: DataConfig) -> None:
    _place(config, "train")
    if config.val_path is not None:
        _place(config, "val")


# One view by a random crop, as in CLIP: captions say colours, and left from right.
_VIEWS = replace(VIEWS, name="captions", pretraining=crop_view(224, 0.5, flip=False))

# For images of about 32, 64 or 96 pixels: augmentations=cifar, tiny_imagenet, stl10.
CAPTIONS = Dataset(
    _read,
    *PHOTOGRAPHS,
    _VIEWS,
    # Needed: a table. Without a val_path a share of the images is held out.
    paths={"train_path": None, "val_path": None},
    holds_out=without_val_path,
    check=_check,
    own=True,
)
