"""What a DALI pipeline is fed: paths or bytes of files with their sizes, or pixels in memory."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from solo_ldm.data.backends.dali.graph import FedKind
from solo_ldm.data.sources.decoded import DecodedImages
from solo_ldm.data.sources.headers import Kind as FileKind
from solo_ldm.data.sources.headers import probe
from solo_ldm.data.sources.images import ArrayImages, FileImages, ImageSource, UnreadableImageError
from solo_ldm.data.sources.parts import Parts, Place, opened
from solo_ldm.data.sources.pixels import Bands
from solo_ldm.data.sources.unreadable import Unreadable

Indexes = npt.NDArray[np.int64]
_UNKNOWN = 255
# Parts of files that are read at a time: a file system of the network is waited for.
_READERS = 8


class Feed:
    """The images of a source as a pipeline takes them: pixels in memory, or paths of files.

    Of images that are parts of files, as in shards, it takes their bytes. Headers of files are read
    when they are first asked for. Files that DALI would decode otherwise than Pillow (CMYK, 16
    bits, palettes, transparency), and all of another number of channels than three, are decoded by
    Pillow once and kept without compression in a temporary folder.

    Args:
        source: of the images.
        unreadable: where images that cannot be read are noted.

    Raises:
        ValueError: a source that is neither in files nor in memory.
    """

    def __init__(self, source: ImageSource, unreadable: Unreadable) -> None:
        self._source, self._unreadable = source, unreadable
        self._widths, self._heights = np.zeros((2, len(source)), np.int32)
        self._kinds = np.full(len(source), _UNKNOWN, np.uint8)
        self._converted: dict[int, str] = {}
        self._folder: Path | None = None
        self.files = isinstance(source, FileImages) and not isinstance(source, DecodedImages)
        # Whether every file fed holds the bytes of pixels (H, W, C) alone.
        self.raw = self.files and source.num_channels != 3
        # What the pipeline is fed.
        in_parts = isinstance(images := source.images, Parts)
        self.kind: FedKind = ("encoded" if in_parts else "paths") if self.files else "pixels"
        self.channels = source.num_channels
        if isinstance(source, DecodedImages):
            self._kinds[source.readable & ~source.clipped] = FileKind.PLAIN
            self._heights[:], self._widths[:] = source.shape
        elif isinstance(source, ArrayImages):
            self._kinds[:] = FileKind.PLAIN
            self._heights[:], self._widths[:] = images.shape[1:3]
        elif not self.files:
            raise ValueError(
                f"{source.name}: expected images in files or in memory, got "
                f"{type(source).__name__}; set data.format=torchvision"
            )

    def sizes(self, indexes: Indexes) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return widths and heights, (B,) each, of readable images in pixels."""
        return self._widths[indexes], self._heights[indexes]

    def shapes(self, indexes: Indexes) -> npt.NDArray[np.int32]:
        """Return heights, widths and channels of readable images, (B, 3)."""
        channels = np.full(len(indexes), self.channels, np.int32)
        return np.stack([self._heights[indexes], self._widths[indexes], channels], axis=1)

    def images(self, indexes: Indexes) -> npt.NDArray[np.uint8] | list[npt.NDArray[np.uint8]]:
        """Return pixels (B, H, W, C), the bytes of paths, zero-padded (B, longest), or of files."""
        if isinstance(self._source, (ArrayImages, DecodedImages)):
            return self._source.pixels(indexes)
        assert isinstance(self._source, FileImages), "one of the two"
        places = [
            self._converted.get(index) or self._source.place(index) for index in indexes.tolist()
        ]
        if self.kind == "encoded":
            with ThreadPoolExecutor(_READERS) as threads:
                return [*threads.map(_bytes_of, places)]
        paths = [os.fsencode(str(place)) for place in places]
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
            ValueError: none is to blame: they are in memory, or all decoded by Pillow before.
        """
        indexes = np.unique(np.concatenate(batches))
        plain = indexes[self._kinds[indexes] == FileKind.PLAIN]
        if not self.files or not len(plain):
            raise ValueError(
                f"DALI failed on images that Pillow reads or that are in memory "
                f"({_reason(error)}); set data.format=torchvision"
            )
        for index in plain.tolist():
            self._convert(index)

    def _kind(self, index: int) -> int:
        """Return what it takes to read an image, from its header the first time."""
        if self._kinds[index] == _UNKNOWN and not self.files:
            try:
                self._unreadable.load(index)
                self._kinds[index] = FileKind.PLAIN
            except UnreadableImageError:
                self._kinds[index] = FileKind.UNREADABLE
        elif self._kinds[index] == _UNKNOWN and isinstance(self._source, FileImages):
            header = probe(self._source.place(index))
            self._kinds[index] = header.kind
            self._widths[index], self._heights[index] = header.width, header.height
            if header.kind == FileKind.UNREADABLE:
                self._unreadable.mark(index)
            elif header.kind == FileKind.UNUSUAL or self.raw:
                self._convert(index)
        return self._kinds[index]

    def _convert(self, index: int) -> None:
        try:
            image = self._unreadable.load(index)
        except UnreadableImageError:
            self._kinds[index] = FileKind.UNREADABLE
            return
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="solo_ldm-images-"))
            atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / f"{index}.ppm"
        if isinstance(image, Bands):
            path.write_bytes(np.asarray(image).tobytes())
        else:
            image.save(path)
        self._kinds[index] = FileKind.UNUSUAL
        self._widths[index], self._heights[index] = image.size
        self._converted[index] = str(path)


def _bytes_of(place: Place) -> npt.NDArray[np.uint8]:
    with opened(place) as file:
        return np.frombuffer(file.read(), np.uint8)


def _reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Critical error")]
    return (telling or lines or ["no reason given"])[0]
