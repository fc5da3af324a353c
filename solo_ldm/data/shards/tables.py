"""Data sets of Hugging Face on disk: the rows of Arrow files, and of Parquet files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from solo_ldm.data.shards.arrow import (
    NotInFileError,
    arrow,
    batches,
    broken,
    need_pyarrow,
    ranges,
    schema_of,
    unpack,
)
from solo_ldm.data.shards.index import Index, counted, kept, line_of
from solo_ldm.data.sources.parts import Parts
from solo_ldm.files import user_cache

SUFFIXES = (".arrow", ".parquet")
# Columns of labels, where none is of the type ClassLabel.
_LABELS = ("label", "labels", "cls", "class", "target")


def index_tables(
    files: Sequence[Path], key: str, image_key: str | None, label_key: str | None, labelled: bool
) -> Index:
    """Find the images of Arrow and Parquet files, and their labels.

    The images of an Arrow file are read where they lie in it. Parquet packs rows in groups, of
    which one image cannot be read alone: it is unpacked to the user's cache, once.

    Args:
        files: of one data set, in order.
        key: of the configuration, for messages.
        image_key: column of the images; None for the only one.
        label_key: column of the labels; None for the only one of type ClassLabel, or one that is
            called so.
        labelled: whether labels are read.

    Raises:
        ValueError: in one line: no such column, or several, no image, or no room in the cache.
    """
    need_pyarrow()
    tables, damaged = [], []
    for path in files:
        try:
            tables.append(_Table(path, key, image_key, label_key, labelled))
        except broken() as error:
            damaged.append(f"{path}: {line_of(error)}")
            continue
        if tables[-1].damage:
            damaged.append(f"{path}: {tables[-1].damage}")
    if not any(one.rows for one in tables):
        raise ValueError(
            f"{key}: expected images in {len(files)} files, got none; "
            + (damaged[0] if damaged else "they hold no row with an image")
        )
    first = tables[0]
    for one in tables:
        if (one.label, one.names) != (first.label, first.names):
            raise ValueError(
                f"{key}: expected files of one data set, got {first.path} and {one.path} with "
                f"other columns of labels or names of classes; give those of one by a pattern"
            )
    notices = []
    if damaged:
        notices.append(f"{key}: {counted(damaged, len(files), 'files are damaged')}")
    empty = [name for one in tables for name in one.empty]
    if empty:
        rows = sum(one.count for one in tables)
        notices.append(
            f"{key}: {counted(empty, rows, 'rows have no image or are damaged, and are left out')}"
        )
    if labelled and first.label is None:
        notices.append(f"{key}: unlabelled, as none of the columns {first.columns} is of labels")
    if unpacked := [one.unpacked for one in tables if one.unpacked]:
        notices.append(
            f"{key}: {len(unpacked)} files are unpacked in {user_cache('shards')}, "
            f"{sum(unpacked) / 1e9:.3g} GB"
        )
    labels = None if first.label is None else [one for table in tables for one in table.labels]
    guessed = f"the column {first.label}" if first.names is None and label_key is None else ""
    return Index(_joined(tables), labels, first.names, tuple(notices), guessed)


def _joined(tables: Sequence[_Table]) -> Parts:
    """Return the images of all tables."""
    numbers: dict[tuple[str, str], int] = {}
    images = []
    for table in tables:
        for file, offset, size, name in table.rows:
            shown = str(table.path) if name else file
            number = numbers.setdefault((file, shown), len(numbers))
            images.append((number, offset, size, name))
    return Parts.of([file for file, _ in numbers], images, [shown for _, shown in numbers])


class _Table:
    """The rows of an Arrow file, or of a Parquet file, which is unpacked first."""

    def __init__(
        self, path: Path, key: str, image_key: str | None, label_key: str | None, labelled: bool
    ) -> None:
        self.path, self.damage, self.unpacked = path, "", 0
        schema = schema_of(path)
        self.columns = ", ".join(schema.names)
        features = _features(schema)
        self._image = _image(path, schema, features, key, image_key)
        self.label = _label(schema, features, key, label_key) if labelled else None
        self.names: list[str] | None = features.get(self.label or "", {}).get("names")
        self._start()
        if path.suffix != ".parquet":
            try:
                return self._read(path)
            except NotInFileError:
                self._start()
        columns = [self._image, *([self.label] if self.label else [])]
        try:
            where = kept(path, columns, ".arrow", lambda target: unpack(path, target, columns, key))
        except OSError as error:  # of the cache: the groups of a file that cannot be read are none
            raise ValueError(
                f"{key}: {path} cannot be unpacked in {user_cache('shards')} ({line_of(error)}); "
                f"name another folder in SOLO_LDM_CACHE"
            ) from error
        self.unpacked = where.stat().st_size
        self._read(where)

    def _start(self) -> None:
        self.count = 0
        self.rows: list[tuple[str, int, int, str]] = []
        self.labels: list[Any] = []
        self.empty: list[str] = []

    def _read(self, where: Path) -> None:
        size = where.stat().st_size
        with batches(where) as (_, found, base):
            try:
                for batch in found:
                    self._add(str(where), batch, base, size)
            except broken() as error:
                self.damage = f"{line_of(error)}, {len(self.rows)} rows used"

    def _add(self, file: str, batch: Any, base: int, size: int) -> None:
        """Add the rows of a batch: where their bytes lie, or the files that they name."""
        content, paths = _bytes_and_paths(batch.column(self._image))
        starts, sizes = ranges(content, base)
        if ((starts < 0) | (starts + sizes > size))[sizes > 0].any():
            raise NotInFileError
        labels = batch.column(self.label).to_pylist() if self.label else [None] * len(paths)
        for start, length, path, label in zip(
            starts.tolist(), sizes.tolist(), paths, labels, strict=True
        ):
            name = f"row {self.count}"
            self.count += 1
            if length:
                self.rows.append((file, start, length, name))
            elif path:
                whole = os.path.join(self.path.parent, path)
                known = os.path.getsize(whole) if os.path.isfile(whole) else 0
                self.rows.append((whole, 0, known, ""))
            else:
                self.empty.append(f"{self.path}/{name}")
                continue
            self.labels.append(label)


def _bytes_and_paths(column: Any) -> tuple[Any, Sequence[str | None]]:
    """Return the encoded images of a column, and the paths of those that are files."""
    pa = arrow()
    if pa.types.is_struct(column.type):
        names = [field.name for field in column.type]
        paths = column.field("path").to_pylist() if "path" in names else [None] * len(column)
        return column.field("bytes"), paths
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pa.nulls(len(column), pa.binary()), column.to_pylist()
    return column, [None] * len(column)


def _image(
    path: Path, schema: Any, features: Mapping[str, Any], key: str, image_key: str | None
) -> str:
    """Return the name of the column of images."""
    types = arrow().types
    fits = {field.name for field in schema if _holds_images(field.type)}
    named = {name for name, one in features.items() if one.get("_type") == "Image"} & fits
    texts = {field.name for field in schema if types.is_string(field.type)}
    found = sorted(named or fits) if image_key is None else [image_key]
    if len(found) > 1:
        raise ValueError(
            f"{key}: expected one column of images, got {', '.join(found)}; set data.image_key to "
            f"one of them"
        )
    if not found or not {*found} <= fits | (texts if image_key else set()):
        raise ValueError(
            f"{key}: expected a column of images (of type Image, or bytes; data.image_key names "
            f"one of these or of paths), got {image_key or 'none'} among "
            f"{', '.join(f'{field.name} ({field.type})' for field in schema)} of {path}"
        )
    return found[0]


def _holds_images(kind: Any) -> bool:
    types = arrow().types
    if types.is_struct(kind):
        return "bytes" in {field.name for field in kind}
    return types.is_binary(kind) or types.is_large_binary(kind)


def _label(schema: Any, features: Mapping[str, Any], key: str, label_key: str | None) -> str | None:
    """Return the name of the column of labels, None for no such."""
    if label_key is not None:
        if label_key not in schema.names:
            raise ValueError(
                f"data.label_key: expected one of {', '.join(schema.names)}, got {label_key}"
            )
        return label_key
    classes = [name for name, one in features.items() if one.get("_type") == "ClassLabel"]
    if len(classes) > 1:
        raise ValueError(
            f"{key}: expected one column of classes, got {', '.join(classes)}; set data.label_key "
            f"to one of them"
        )
    return next((name for name in (*classes, *_LABELS) if name in schema.names), None)


def _features(schema: Any) -> dict[str, Any]:
    """Return the types of the columns that the library datasets has written down."""
    try:
        content = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return {name: one for name, one in content.items() if isinstance(one, dict)}
