"""What a DALI pipeline is fed: paths of files with their sizes, or pixels in memory."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from solo_ldm.data.sources.headers import Kind as FileKind
from solo_ldm.data.sources.headers import probe
from solo_ldm.data.sources.images import ArrayImages, FileImages, ImageSource, UnreadableImageError
from solo_ldm.data.sources.unreadable import Unreadable

Indexes = npt.NDArray[np.int64]
_UNKNOWN = 255


class Feed(ABC):
    """The images of a source as a pipeline takes them."""

    files: bool

    @abstractmethod
    def sizes(self, indexes: Indexes) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return widths and heights, (B,) each, of readable images in pixels."""

    @abstractmethod
    def images(self, indexes: Indexes) -> npt.NDArray[Any]:
        """Return pixels (B, H, W, 3), or the bytes of paths, zero-padded (B, longest)."""

    @abstractmethod
    def readable(self, indexes: Indexes, replace: bool = True) -> Indexes:
        """Return the indexes with unreadable images replaced by the next, or left out."""

    @abstractmethod
    def find_unreadable(self, batches: Sequence[Indexes], error: RuntimeError) -> None:
        """Find out which images of some batches broke a pipeline, so that it can go on without.

        Raises:
            ValueError: they can all be read, so that the error means something else.
        """


class ArrayFeed(Feed):
    """Pixels in memory.

    Args:
        source: of the images.
    """

    files = False

    def __init__(self, source: ArrayImages) -> None:
        self._images = source.images

    def sizes(self, indexes: Indexes) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return widths and heights, all the same."""
        height, width = self._images.shape[1:3]
        return np.full(len(indexes), width), np.full(len(indexes), height)

    def images(self, indexes: Indexes) -> npt.NDArray[np.uint8]:
        """Return the pixels."""
        chosen = self._images[indexes]
        return np.repeat(chosen[..., None], 3, axis=3) if chosen.ndim == 3 else chosen

    def readable(self, indexes: Indexes, replace: bool = True) -> Indexes:
        """Return the indexes: images in memory can all be read."""
        return indexes

    def find_unreadable(self, batches: Sequence[Indexes], error: RuntimeError) -> None:
        """Raise the ValueError of `Feed`: images in memory can all be read."""
        raise ValueError(
            f"DALI failed on images in memory ({_reason(error)}); set data.format=torchvision"
        )


class FileFeed(Feed):
    """Paths of files, whose headers are read when they are first asked for.

    Files that DALI would decode otherwise than Pillow (CMYK, 16 bits, palettes, transparency) are
    decoded by Pillow once and kept without compression in a temporary folder.

    Args:
        source: of the images.
        unreadable: where images that cannot be read are noted.
    """

    files = True

    def __init__(self, source: FileImages, unreadable: Unreadable) -> None:
        self._source = source
        self._unreadable = unreadable
        self._widths = np.zeros(len(source), np.int32)
        self._heights = np.zeros(len(source), np.int32)
        self._kinds = np.full(len(source), _UNKNOWN, np.uint8)
        self._converted: dict[int, str] = {}
        self._folder: Path | None = None

    def sizes(self, indexes: Indexes) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return widths and heights."""
        return self._widths[indexes], self._heights[indexes]

    def images(self, indexes: Indexes) -> npt.NDArray[np.uint8]:
        """Return the paths."""
        paths = [
            os.fsencode(self._converted.get(index) or self._source.path(index))
            for index in indexes.tolist()
        ]
        return np.array(paths, dtype=np.bytes_).view(np.uint8).reshape(len(paths), -1)

    def readable(self, indexes: Indexes, replace: bool = True) -> Indexes:
        """Return the indexes with unreadable images replaced by the next, or left out."""
        kinds = np.array([self._kind(index) for index in indexes.tolist()])
        bad = np.flatnonzero(kinds == FileKind.UNREADABLE)
        if not replace:
            return np.delete(indexes, bad)
        chosen = indexes.copy()
        for row in bad:
            while self._kind(chosen[row]) == FileKind.UNREADABLE:
                chosen[row] = self._unreadable.replacement(int(chosen[row]))
        return chosen

    def find_unreadable(self, batches: Sequence[Indexes], error: RuntimeError) -> None:
        """Read the files of some batches one by one; what DALI cannot read, Pillow may.

        Raises:
            ValueError: all of them were decoded by Pillow before, so that it is not they.
        """
        indexes = np.unique(np.concatenate(batches))
        plain = indexes[self._kinds[indexes] == FileKind.PLAIN]
        if not len(plain):
            raise ValueError(
                f"DALI failed on images that Pillow reads ({_reason(error)}); "
                f"set data.format=torchvision"
            )
        for index in plain.tolist():
            self._convert(index)

    def _kind(self, index: int) -> int:
        """Return what it takes to read an image, from its header the first time."""
        if self._kinds[index] == _UNKNOWN:
            header = probe(self._source.path(index))
            self._kinds[index] = header.kind
            self._widths[index], self._heights[index] = header.width, header.height
            if header.kind == FileKind.UNREADABLE:
                self._unreadable.mark(index)
            elif header.kind == FileKind.UNUSUAL:
                self._convert(index)
        return self._kinds[index]

    def _convert(self, index: int) -> None:
        try:
            image = self._source.load(index)
        except UnreadableImageError:
            self._kinds[index] = FileKind.UNREADABLE
            self._unreadable.mark(index)
            return
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="solo_ldm-images-"))
            atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / f"{index}.ppm"
        image.save(path)
        self._kinds[index] = FileKind.UNUSUAL
        self._widths[index], self._heights[index] = image.size
        self._converted[index] = str(path)


def feed_for(source: ImageSource, unreadable: Unreadable) -> Feed:
    """Return the feed of a source.

    Raises:
        ValueError: a source that is neither in files nor in memory.
    """
    if isinstance(source, FileImages):
        return FileFeed(source, unreadable)
    if isinstance(source, ArrayImages):
        return ArrayFeed(source)
    raise ValueError(
        f"{source.name}: expected images in files or in memory, got {type(source).__name__}; "
        f"set data.format=torchvision"
    )


def _reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Critical error")]
    return (telling or lines or ["no reason given"])[0]
