"""Image sources: images by index with their labels, from memory or from files.

A source knows nothing of augmentation or of the library that does it.
"""

import copy
import os
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
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


class Listing(NamedTuple):
    """What a reader finds of a split.

    Args:
        images: paths of files, none of which has been opened, or uint8 pixels (N, H, W[, 3]).
        labels: class numbers, -1 where an image is unlabelled.
        classes: the class names; empty when nothing is labelled.
    """

    images: Sequence[str] | npt.NDArray[np.uint8]
    labels: npt.ArrayLike
    classes: tuple[str, ...]


class UnreadableImageError(ValueError):
    """An image file that cannot be decoded; the message names it and what to do."""

    def __init__(self, message: str) -> None:
        # torch raises a worker's error again with the worker's whole traceback as its message;
        # the line that a person needs is its end.
        marker = f"{type(self).__name__}: "
        super().__init__(message.rpartition(marker)[2].strip())


@dataclass(eq=False)
class ImageSource(ABC):
    """Images by index.

    Args:
        images: of the files or the pixels; see the classes.
        name: the data set's name.
        labels: (N,) class numbers, -1 where an image is unlabelled.
        classes: the class names; empty when nothing is labelled.
        mean: of the channels R, G, B, in the range [0, 1].
        std: of the channels R, G, B, in the range [0, 1].
    """

    images: Any
    name: str
    labels: Any
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        self.labels = np.asarray(self.labels, dtype=np.int64)
        self.classes = tuple(self.classes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labelled(self) -> npt.NDArray[np.int64]:
        """The indexes of the labelled images, in order."""
        return np.flatnonzero(self.labels >= 0)

    @abstractmethod
    def load(self, index: int) -> Image.Image:
        """Return image `index` in mode RGB, with 8 bits a channel.

        Raises:
            UnreadableImageError: its file cannot be decoded.
        """

    def subset(self, indexes: npt.NDArray[np.int64]) -> "ImageSource":
        """Return the source of the images at `indexes`, in that order."""
        chosen = copy.copy(self)
        chosen.images, chosen.labels = self.images[indexes], self.labels[indexes]
        return chosen

    def without_labels(self) -> "ImageSource":
        """Return the source of the same images with every label -1 and no classes."""
        unlabelled = copy.copy(self)
        unlabelled.labels = np.full(len(self), -1, dtype=np.int64)
        unlabelled.classes = ()
        return unlabelled


class ArrayImages(ImageSource):
    """Images in memory: `images` is uint8, (N, H, W) gray or (N, H, W, 3) RGB, of any strides."""

    def __post_init__(self) -> None:
        super().__post_init__()
        images = self.images
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != len(self):
            raise ValueError(
                f"{self.name}: expected uint8 images (N, H, W[, 3]) for {len(self)} labels, "
                f"got {images.dtype} {images.shape}"
            )

    def load(self, index: int) -> Image.Image:
        """Return image `index` in mode RGB."""
        pixels = self.images[index]
        if pixels.ndim == 3:
            return Image.fromarray(np.ascontiguousarray(pixels))
        return Image.fromarray(pixels).convert("RGB")


class FileImages(ImageSource):
    """Images in files, decoded when they are loaded: `images` are their paths."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # One array rather than a million strings: worker processes share its memory, as reading
        # it touches no reference counts inside it.
        self.images = np.array([os.fsencode(path) for path in self.images], dtype=np.bytes_)

    def path(self, index: int) -> str:
        """Return the path of image `index`."""
        return os.fsdecode(bytes(self.images[index]))

    def load(self, index: int) -> Image.Image:
        """Decode image `index`; see `ImageSource`."""
        return read_image(self.path(index))


def read_image(path: str | Path) -> Image.Image:
    """Decode an image file of any usual mode to RGB with 8 bits a channel.

    Gray becomes three equal channels, 16-bit values are scaled (not clipped), and transparent
    pixels show a white background.

    Raises:
        UnreadableImageError: the file is missing, damaged, or holds floating-point pixels.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return _to_rgb(image)
    except BROKEN_FILE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableImageError(
            f"{path}: cannot be read as an image ({reason}); repair the file or delete it"
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        # 65535 / 257 = 255, so that 16 bits map onto 8 exactly.
        pixels = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((pixels + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        background = Image.new("RGB", image.size, (255, 255, 255))
        background.paste(image, mask=image.getchannel("A"))
        return background
    return image.convert("RGB")
