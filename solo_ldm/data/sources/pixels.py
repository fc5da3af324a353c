"""What an image file holds, and what becomes of it: of Pillow's images, or of any channels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

# What Pillow raises for a file that it cannot read.
BROKEN_FILE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
Range = tuple[float, float]


class UnreadableImageError(ValueError):
    """An image file that cannot be decoded; the message names it and what to do."""

    def __init__(self, message: str) -> None:
        # torch raises a worker's error again with the worker's whole traceback as its message;
        # the line that a person needs is its end.
        marker = f"{type(self).__name__}: "
        super().__init__(message.rpartition(marker)[2].strip())


class UnfitPixelsError(ValueError):
    """Pixels that are whole, but not as the configuration takes them; the message says why."""


class UnfitImagesError(ValueError):
    """Most of the sampled files do not fit the configuration; the message says what to change."""


class Bands:
    """An image of any number of channels, handled as Pillow's images of one channel each.

    Args:
        bands: of mode L and one size.
    """

    def __init__(self, bands: Sequence[Image.Image]) -> None:
        self.bands = list(bands)

    @classmethod
    def of(cls, pixels: npt.NDArray[np.uint8]) -> Bands:
        """Return the image of uint8 pixels (H, W, C)."""
        return cls(
            [Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(pixels, 2, 0)]
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.bands[0].size

    def crop(self, *args: Any) -> Bands:
        """Return a part; see Pillow's crop."""
        return Bands([band.crop(*args) for band in self.bands])

    def resize(self, *args: Any, **kwargs: Any) -> Bands:
        """Return the image resized; see Pillow's resize."""
        return Bands([band.resize(*args, **kwargs) for band in self.bands])

    def transform(self, *args: Any) -> Bands:
        """Return the image warped; see Pillow's transform."""
        return Bands([band.transform(*args) for band in self.bands])

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        return np.stack([np.asarray(band, dtype) for band in self.bands], axis=2)


Picture = Image.Image | Bands


class Pixels(NamedTuple):
    """What a file holds.

    Args:
        image: of 8 bits a channel; None where they are deeper.
        values: (H, W, C) deeper than 8 bits, as they are stored.
        alpha: whether the last channel of `values` is opacity.
        tiff: whether the file is a TIFF, whose last channel may be opacity or a band.
        frames: how many images the file holds; 1 where that takes reading it.
    """

    image: Image.Image | None
    values: npt.NDArray[Any] | None = None
    alpha: bool = False
    tiff: bool = False
    frames: int = 1

    @property
    def pages(self) -> str:
        """The number and the size of the images of a file."""
        width, height = self.image.size if self.image else np.asarray(self.values).shape[1::-1]
        return f"{self.frames} pages of {height} × {width} pixels"
