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

from solo_ldm.data.backends.dali.graph import Crop, Inputs, Kind, decodes_window
from solo_ldm.data.sources.headers import Kind as FileKind
from solo_ldm.data.sources.headers import probe
from solo_ldm.data.sources.images import ArrayImages, FileImages, ImageSource, UnreadableImageError
from solo_ldm.data.sources.unreadable import Unreadable

Indexes = npt.NDArray[np.int64]
_UNKNOWN = 255


class Feed(ABC):
    """The images of a source as a pipeline takes them."""

    kind: Kind

    @abstractmethod
    def sizes(self, indexes: Indexes) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return widths and heights, (B,) each, of readable images in pixels."""

    @abstractmethod
    def images(self, indexes: Indexes) -> Inputs:
        """Return the input that holds the images."""

    def readable(self, indexes: Indexes, replace: bool = True) -> Indexes:
        """Return the indexes with unreadable images replaced by the next, or left out."""
        return indexes

    def find_unreadable(self, batches: Sequence[Indexes], error: RuntimeError) -> None:
        """Find out which images of some batches broke a pipeline, so that it can go on without.

        Raises:
            ValueError: they can all be read, so that the error means something else.
        """
        reason = _reason(error)
        raise ValueError(f"DALI failed on images in memory ({reason}); set data.format=torchvision")

    def inputs(
        self, indexes: Indexes, boxes: Sequence[npt.NDArray[np.float64]], crops: Sequence[Crop]
    ) -> Inputs:
        """Return what the pipeline is fed for a batch, by name.

        Args:
            indexes: (B,) of readable images.
            boxes: for each crop, (B, 4) left, top, width and height in pixels of the image.
            crops: how each box becomes a view.
        """
        fed = self.images(indexes)
        origin = np.zeros((len(indexes), 2))
        # DALI counts from the top, rows before columns.
        starts = [box[:, [1, 0]] for box in boxes]
        ends = [box[:, [1, 0]] + box[:, [3, 2]] for box in boxes]
        if decodes_window(self.kind, crops):
            origin, corner = np.minimum.reduce(starts), np.maximum.reduce(ends)
            fed["window_start"] = origin.astype(np.int32)
            fed["window_shape"] = (corner - origin).astype(np.int32)
            if len(crops) == 1:
                return fed
        for number, (crop, start, end) in enumerate(zip(crops, starts, ends, strict=True)):
            if crop.cut_first:
                fed[f"start{number}"] = (start - origin).astype(np.int32)
                fed[f"shape{number}"] = (end - start).astype(np.int32)
            else:
                fed[f"start{number}"] = start.astype(np.float32)
                fed[f"end{number}"] = end.astype(np.float32)
        return fed


class ArrayFeed(Feed):
    """Pixels in memory.

    Args:
        source: of the images.
    """

    kind: Kind = "arrays"

    def __init__(self, source: ArrayImages) -> None:
        self._images = source.images

    def sizes(self, indexes: Indexes) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return widths and heights, all the same."""
        height, width = self._images.shape[1:3]
        return np.full(len(indexes), width), np.full(len(indexes), height)

    def images(self, indexes: Indexes) -> Inputs:
        """Return the pixels (B, H, W, 3)."""
        chosen = self._images[indexes]
        if chosen.ndim == 3:
            chosen = np.repeat(chosen[..., None], 3, axis=3)
        return {"pixels": np.ascontiguousarray(chosen)}


class FileFeed(Feed):
    """Paths of files, whose headers are read when they are first asked for.

    Files that DALI would decode otherwise than Pillow (CMYK, 16 bits, palettes, transparency) are
    decoded by Pillow once and kept without compression in a temporary folder.

    Args:
        source: of the images.
        unreadable: where images that cannot be read are noted.
    """

    kind: Kind = "files"

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

    def images(self, indexes: Indexes) -> Inputs:
        """Return the paths, zero-padded (B, longest)."""
        paths = [
            os.fsencode(self._converted.get(index) or self._source.path(index))
            for index in indexes.tolist()
        ]
        padded = np.array(paths, dtype=np.bytes_)
        return {"paths": padded.view(np.uint8).reshape(len(paths), -1)}

    def readable(self, indexes: Indexes, replace: bool = True) -> Indexes:
        """Return the indexes with unreadable images replaced by the next, or left out."""
        for index in indexes[self._kinds[indexes] == _UNKNOWN].tolist():
            self._probe(index)
        bad = self._kinds[indexes] == FileKind.UNREADABLE
        if not bad.any():
            return indexes
        if not replace:
            return indexes[~bad]
        chosen = indexes.copy()
        for row in np.flatnonzero(bad):
            index = int(chosen[row])
            while self._kinds[index] == FileKind.UNREADABLE:
                index = self._unreadable.replacement(index)
                if self._kinds[index] == _UNKNOWN:
                    self._probe(index)
            chosen[row] = index
        return chosen

    def find_unreadable(self, batches: Sequence[Indexes], error: RuntimeError) -> None:
        """Read the files of some batches one by one; what DALI cannot read, Pillow may.

        Raises:
            ValueError: all of them were decoded by Pillow before, so that it is not they.
        """
        found = False
        for index in np.unique(np.concatenate(batches)).tolist():
            if self._kinds[index] != FileKind.PLAIN:
                continue
            found = True
            self._convert(index)
        if not found:
            raise ValueError(
                f"DALI failed on images that Pillow reads ({_reason(error)}); "
                f"set data.format=torchvision"
            )

    def _probe(self, index: int) -> None:
        header = probe(self._source.path(index))
        self._kinds[index] = header.kind
        self._widths[index], self._heights[index] = header.width, header.height
        if header.kind == FileKind.UNREADABLE:
            self._unreadable.mark(index)
        elif header.kind == FileKind.UNUSUAL:
            self._convert(index)

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
