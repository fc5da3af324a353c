"""Small images of files, decoded once and kept in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import cast

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from solo_ldm.config.memory import check_memory
from solo_ldm.data.sources.headers import Kind, probe
from solo_ldm.data.sources.images import FileImages, ImageSource, as_read
from solo_ldm.data.sources.pixels import Picture, UnreadableImageError
from solo_ldm.data.sources.survey import sample

# Bytes of pixels that are kept without being asked for.
_MOST = 1 << 30
# Files without a progress bar: they take a second.
_FEW = 10_000


class DecodedImages(FileImages):
    """Images of files of one size, whose pixels are in memory.

    Args:
        source: of the files. What cannot be decoded is read from its file again, for the reason.
        pixels: (N, H, W, C), uint8.
        readable: (N,), of which images `pixels` are.
        clipped: (N,), of which images values were clipped.
    """

    def __init__(
        self,
        source: FileImages,
        pixels: npt.NDArray[np.uint8],
        readable: npt.NDArray[np.bool_],
        clipped: npt.NDArray[np.bool_],
    ) -> None:
        super().__init__(**{one.name: getattr(source, one.name) for one in fields(source)})
        self.readable, self.clipped = readable, clipped
        self._pixels, self._rows = pixels, np.arange(len(pixels))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every image."""
        return self._pixels.shape[1:3]

    def pixels(self, indexes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the images at `indexes`, (B, H, W, C)."""
        return self._pixels[self._rows[indexes]]

    def read(self, index: int) -> tuple[Picture, bool]:
        """Return image `index`; see `ImageSource`."""
        if not self.readable[index]:
            return super().read(index)
        pixels = self._pixels[self._rows[index]]
        return as_read(pixels, self.num_channels), bool(self.clipped[index])

    def subset(self, indexes: npt.NDArray[np.int64]) -> DecodedImages:
        """Return the source of the images at `indexes`, in that order, of the same pixels."""
        chosen = cast(DecodedImages, super().subset(indexes))
        chosen.readable, chosen.clipped = self.readable[indexes], self.clipped[indexes]
        chosen._rows = self._rows[indexes]
        return chosen


class Decoded:
    """Which files are decoded once, and do it.

    Args:
        wanted: true, false, or None for those of one size that are small.
    """

    def __init__(self, wanted: bool | None) -> None:
        self._wanted = wanted
        self._waiting: set[str] = set()
        self.num_bytes = 0
        self.console: Console | None = None

    def plan(self, split: str, source: ImageSource | None) -> None:
        """Decide whether the images of a split are kept.

        Raises:
            ValueError: in one line: it is wanted, and the images of a sample are of several sizes
                or the memory does not hold all.
        """
        if self._wanted is False or not isinstance(source, FileImages):
            return
        headers = [(path, probe(path)) for path in map(source.place, sample(source))]
        sizes = {
            (one.height, one.width): str(path)
            for path, one in headers
            if one.kind != Kind.UNREADABLE
        }
        if len(sizes) != 1:
            if self._wanted and sizes:
                _refuse(*list(sizes.items())[:2])
            return
        needed = len(source) * math.prod(*sizes) * source.num_channels
        if self._wanted:
            check_memory("data.in_memory", needed, remedy="leave it out", bytes_each=1)
        if self._wanted or needed <= _MOST:
            self.num_bytes += needed
            self._waiting.add(split)

    def __call__(self, split: str, source: ImageSource | None) -> ImageSource | None:
        """Return a split's images in memory, or as they are, where that is decided or done before.

        There is a progress bar on `console`, if it is a terminal.

        Raises:
            ValueError: in one line: it is wanted, and the images turn out to be of several sizes.
        """
        if split not in self._waiting or not isinstance(source, FileImages):
            return source
        self._waiting.remove(split)
        pixels = np.empty((0, 0, 0, 0), np.uint8)
        readable, clipped = np.zeros((2, len(source)), bool)
        first = ""
        for index in _shown(len(source), self.console):
            try:
                image, clipped[index] = source.read(index)
            except UnreadableImageError:
                continue
            values = np.asarray(image)
            if not first:
                first = source.path(index)
                pixels = np.empty((len(source), *values.shape), np.uint8)
            if values.shape != pixels.shape[1:]:
                if self._wanted:
                    _refuse((pixels.shape[1:3], first), (values.shape[:2], source.path(index)))
                return source
            pixels[index], readable[index] = values, True
        return DecodedImages(source, pixels, readable, clipped) if first else source


def _shown(count: int, console: Console | None) -> Iterable[int]:
    hidden = count < _FEW or console is None or not console.is_terminal
    return track(range(count), "decoding", console=console, transient=True, disable=hidden)


def _refuse(*found: tuple[tuple[int, ...], str]) -> None:
    said = " and ".join(f"{path} of {size[0]} × {size[1]} pixels" for size, path in found)
    raise ValueError(
        f"data.in_memory: expected images of one size, got {said}; leave it out, or resize them"
    )
