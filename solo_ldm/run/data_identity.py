"""Which data a run is trained on: where they lie, and a digest of what lies there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.memory import in_memory
from solo_ldm.data.module import ImageDataModule
from solo_ldm.data.sources.parts import Parts
from solo_ldm.data.sources.survey import spread

# Images up to so many bytes and files are compared by their contents, more by names and sizes.
_MOST_BYTES, _MOST_FILES = 256 << 20, 20_000
# A recording up to so many bytes is read whole, of a larger one so many blocks, evenly spread.
_WHOLE, _BLOCKS, _BLOCK = 1 << 30, 1024, 1 << 20
# Asking for sizes waits for the disk or the network: files a task, tasks at a time.
_CHUNK, _THREADS = 4096, 16
# Recordings that a message names one by one.
_SHOWN = 20


@dataclass(frozen=True)
class DataIdentity:
    """The data of a run.

    Args:
        digest: of the place and of what lies there.
        contents: the same without the place.
        what: the same in words, for a message.
        newest: when the newest file was last changed, in seconds since 1970.
        places: absolute paths, of the keys of `data` that name some.
        about: further facts that a run keeps of them, as JSON has them.
    """

    digest: str
    contents: str
    what: str
    newest: float = 0.0
    places: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)


def identity_of_images(data: ImageDataModule) -> DataIdentity:
    """Return the identity of the images of both splits.

    Files are known by their names, labels and sizes and, where there are few, by their contents;
    images in memory (digits, torchvision's sets) by labels and, up to the same size, pixels, those
    that a program holds by the digest in their place. Images in shards are known by their labels,
    sizes and contents, where there are many by the contents of 1,024, evenly spread: shards may be
    renamed, or hold the same images in another number of files.
    """
    config, usual = data.data, DataConfig().train_path
    digest = hashlib.sha256()
    files: list[bytes] = []
    shards: list[Parts] = []
    count = 0
    for source in (data.source("train"), data.source("val")):
        if source is None:
            continue
        count += len(source)
        images: np.ndarray | Parts = source.images
        _update(digest, source.labels, "\0".join(source.classes))
        if source.captions is not None:
            _update(digest, "\1".join("\0".join(texts) for texts in source.captions))
        if isinstance(images, Parts):
            shards.append(images)
        elif images.dtype.kind == "S":
            paths = images.tolist()
            files += paths
            _update(digest, _below(paths))
        elif in_memory(config.train_path):
            _update(digest, config.train_path, config.val_path or "")
        elif images.nbytes <= _MOST_BYTES:
            _update(digest, images)
    # A set in memory need not lie anywhere: digits have the usual place, too.
    given = {key: getattr(config, key) for key in ("train_path", "val_path")}
    unset = (None,) if files or shards else (None, usual)
    places = {
        key: absolute(path)
        for key, path in given.items()
        if path not in unset and not in_memory(path)
    }
    if not files and not shards:
        contents = digest.hexdigest()
        return DataIdentity(contents, contents, f"{count} images", places=places)
    sizes, newest = _stat(files)
    sizes = np.concatenate([sizes, *(one.sizes for one in shards)])
    newest = max([newest, *(_stat(one.files)[1] for one in shards)])
    _update(digest, sizes)
    few = len(sizes) <= _MOST_FILES and int(sizes.sum()) <= _MOST_BYTES
    for path in files if few else ():
        _update_by_file(digest, os.fsdecode(path))
    for one in shards:
        for index in spread(range(len(one)), len(one) if few else _BLOCKS):
            with suppress(OSError):  # which the reader reports
                _update(digest, np.frombuffer(one.part(index).open().read(), np.uint8))
    where = " and ".join(dict.fromkeys(places.values()))
    what = f"{len(sizes)} images of {sizes.sum() / 1e6:.4g} MB in {where}"
    place = "\0".join(f"{key}={real_path(path)}" for key, path in places.items())
    return _identity(digest, place, what, newest, places)


def identity_of_files(files: Sequence[Path], places: Mapping[str, Any]) -> DataIdentity:
    """Return the identity of recordings, known by their contents.

    Args:
        files: what is read.
        places: the keys of `data` that name them: a path, a pattern or a list of these.
    """
    digest = hashlib.sha256()
    sizes, newest = _stat([os.fsencode(path) for path in files])
    _update(digest, sizes)
    for path in files:
        _update_by_file(digest, path)
    named = {
        key: absolute(value) if isinstance(value, (str, Path)) else [absolute(one) for one in value]
        for key, value in places.items()
    }
    shown = ", ".join(map(absolute, files[:_SHOWN]))
    if len(files) > _SHOWN:
        shown = f"{len(files)} files from {absolute(files[0])} to {absolute(files[-1])}"
    what = f"{shown}, {sizes.sum() / 1e6:.4g} MB"
    return _identity(digest, "\0".join(map(os.path.realpath, files)), what, newest, named)


def _identity(digest: Any, place: str, *rest: Any) -> DataIdentity:
    contents = digest.hexdigest()
    _update(digest, place)
    return DataIdentity(digest.hexdigest(), contents, *rest)


def absolute(path: str | Path) -> str:
    """Return a path as it is from any folder."""
    return os.path.abspath(os.path.expanduser(path))


def _below(paths: list[bytes]) -> np.ndarray:
    """Return paths below the folder that they share, however that is written."""
    shared = len(os.path.dirname(os.path.commonprefix(paths or [b""])))  # noqa: RUF071
    return np.array([path[shared:] for path in paths], dtype=np.bytes_)


def real_path(path: Any) -> Any:
    """Return an absolute path, or each of a list, with its links followed."""
    return os.path.realpath(path) if isinstance(path, str) else [*map(os.path.realpath, path)]


def _update(digest: Any, *parts: Any) -> None:
    """Add arrays and texts, each with its kind and length, so that no two lists of them agree."""
    for part in parts:
        if isinstance(part, str):
            part = np.frombuffer(os.fsencode(part), np.uint8)
        digest.update(f"{part.dtype.str}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).view(np.uint8).data)


def _update_by_file(digest: Any, path: str | Path) -> None:
    """Add a file's content; nothing for one that cannot be read, which the reader reports."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size <= _WHOLE:
                while block := stream.read(_BLOCK):
                    digest.update(block)
                return
            for number in range(_BLOCKS):
                stream.seek((size - _BLOCK) * number // (_BLOCKS - 1))
                digest.update(stream.read(_BLOCK))
    except OSError:
        return


def _stat(files: Sequence[bytes]) -> tuple[np.ndarray, float]:
    """Return the size of each file, -1 of one that is missing, and the newest time of change."""

    def of_chunk(start: int) -> list[tuple[int, float]]:
        found = []
        for path in files[start : start + _CHUNK]:
            try:
                status = os.stat(path)
                found.append((status.st_size, status.st_mtime))
            except OSError:
                found.append((-1, 0.0))
        return found

    with ThreadPoolExecutor(_THREADS) as threads:
        rows = [*chain.from_iterable(threads.map(of_chunk, range(0, len(files), _CHUNK)))]
    sizes = np.array([size for size, _ in rows], dtype=np.int64)
    return sizes, max((changed for _, changed in rows), default=0.0)
