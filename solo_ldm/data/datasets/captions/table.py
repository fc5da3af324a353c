"""A table of images and captions: CSV, a line each."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
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
# What columns are called elsewhere; one of these is taken where no key names a column.
_ALSO = {
    _IMAGE: ("filepath", "filename", "file_name", "image_path", "image_name", "file", "path"),
    _CAPTION: ("title", "text", "sentence", "comment", "description"),
}
# What separates columns, of equals the first: Excel writes semicolons where commas are decimal.
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
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
    text = _text(key, path)
    if "\0" in text:
        raise ValueError(f"{key}: expected a table (CSV, UTF-8), got {path}, which is none")
    if text.lstrip()[:1] in ("{", "["):
        raise ValueError(
            f"{key}: expected a table (CSV, UTF-8), got JSON in {path}; write a line for each "
            f"image, below a first line {_IMAGE},{_CAPTION}"
        )
    separator, names, above = _heading(config, text)
    rows = _rows(key, path, text, separator)
    for _ in range(above + 1):
        next(rows, None)
    image = config.image_key or _called(_IMAGE, names)
    caption = config.caption_key or _called(_CAPTION, names)
    wanted = {"image_key": image, "caption_key": caption}
    label = config.label_key or _called(_LABEL, names)
    if not config.no_labels and (config.label_key or label in names):
        wanted["label_key"] = label
    for option, name in wanted.items():
        if name not in names:
            headless = names and os.path.isfile(os.path.join(path.parent, names[0]))
            also = ", and the first line has to name the columns" if headless else ""
            alone = " alone" if len(names) == 1 else ""
            also += ", separated by " + ", ".join(_SEPARATORS.values()) if alone else ""
            raise ValueError(
                f"{key}: expected a column {name}, got {', '.join(names) or 'an empty file'}"
                f"{alone} in {path}; data.{option} names another{also}"
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
            signs = _SEPARATORS[separator]
            fewer = f", and {signs} between columns, as in the first line"
            raise ValueError(
                f"{where}: expected {len(names)} columns, got {len(row)}; put texts with {signs} "
                f"in double quotes{fewer if len(row) < len(names) else ''}"
            )
        values = [row[place].strip() for place in places]
        file = os.path.join(path.parent, os.path.expanduser(values[0]))
        if "\\" in values[0] and not os.path.lexists(file):  # written on Windows
            file = file.replace("\\", "/")
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


def _heading(config: DataConfig, text: str) -> tuple[str, list[str], int]:
    """Return what separates the columns, their names, and lines above them.

    A separator may stand in a line of its own (sep=;), as Excel reads it. Else it is what gives the
    first line the most of the columns that are needed, or the most columns.
    """
    named = re.match(r"sep=(.)\r?\n", text)
    above = 1 if named and named[1] in _SEPARATORS else 0
    keys = ((config.image_key, _IMAGE), (config.caption_key, _CAPTION))

    def names(separator: str) -> list[str]:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        try:
            return [name.strip() for name in [next(rows, []) for _ in range(above + 1)][-1]]
        except csv.Error:  # another separator may do
            return []

    def fits(found: list[str]) -> tuple[int, int]:
        return sum((given or _called(own, found)) in found for given, own in keys), len(found)

    read = {one: names(one) for one in ([named[1]] if named and above else _SEPARATORS)}
    separator = max(read, key=lambda one: fits(read[one]))
    return separator, read[separator], above


def _called(own: str, names: list[str]) -> str:
    """Return the name of a column: `own`, or what it is in this table if one alone is like it."""
    for known in ((own,), _ALSO.get(own, ())):
        like = [name for name in names if name.casefold() in known]
        if own not in names and len(like) == 1:
            return like[0]
    return own


def _text(key: str, path: Path) -> str:
    """Return the text of a file, which has to be UTF-8, or UTF-16 that says so."""
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Excel's "Unicode text"
        return content.decode("utf-16", errors="replace")
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
