"""Image sources: images by index with their labels, from memory or from files.

A source knows nothing of augmentation or of the library that does it.
"""

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from solo_ldm.data.sources.decoding import decode, read_image
from solo_ldm.data.sources.parts import Parts, Place
from solo_ldm.data.sources.pixels import Bands, Picture, Range, UnreadableImageError

__all__ = [
    "ArrayImages",
    "FileImages",
    "ImageSource",
    "ListImages",
    "Listing",
    "UnreadableImageError",
    "read_image",
]


class Listing(NamedTuple):
    """What a reader finds of a split.

    Args:
        images: paths of files, none of which has been opened, parts of files, uint8 pixels
            (N, H, W[, C]), or an array (N,) of such pixels of several sizes.
        labels: class numbers, -1 where an image is unlabelled.
        classes: the class names; empty when nothing is labelled.
        notices: a line for each kind of thing that was left out.
        pixel_range: from which the reader has scaled pixels to 8 bits; None for no such.
        captions: one or several texts of each image; None without.
    """

    images: Sequence[str] | Parts | npt.NDArray[np.uint8]
    labels: npt.ArrayLike
    classes: tuple[str, ...]
    notices: tuple[str, ...] = ()
    pixel_range: Range | None = None
    captions: Sequence[tuple[str, ...]] | None = None


@dataclass(eq=False)
class ImageSource(ABC):
    """Images by index.

    Args:
        images: of the files or the pixels; see the classes.
        name: the data set's name.
        labels: (N,) class numbers, -1 where an image is unlabelled.
        classes: the class names; empty when nothing is labelled.
        mean: of the channels, R, G and B unless `channels` says otherwise, in the range [0, 1].
        std: of the channels, in the range [0, 1].
        channels: that every image must have; None means R, G and B, or gray for all three.
        pixel_range: of pixels in files deeper than 8 bits, which becomes 0 ... 255; None refuses
            them.
        captions: (N,) tuples of texts, one or several an image; None without.
    """

    images: Any
    name: str
    labels: Any
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int | None = None
    pixel_range: Range | None = None
    captions: Any = None

    def __post_init__(self) -> None:
        self.labels = np.asarray(self.labels, dtype=np.int64)
        self.classes = tuple(self.classes)
        if self.captions is not None:
            given, self.captions = self.captions, np.empty(len(self.captions), object)
            for index, texts in enumerate(given):  # [:] = would make columns of them
                self.captions[index] = texts

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labelled(self) -> npt.NDArray[np.int64]:
        """The indexes of the labelled images, in order."""
        return np.flatnonzero(self.labels >= 0)

    @property
    def num_channels(self) -> int:
        """The number of channels of every image."""
        return self.channels or 3

    @abstractmethod
    def read(self, index: int) -> tuple[Picture, bool]:
        """Return image `index`, and whether values outside `pixel_range` were clipped.

        Returns:
            An image with 8 bits a channel, of mode RGB, or `Bands` of another number of channels.

        Raises:
            UnreadableImageError: its file cannot be decoded.
        """

    def load(self, index: int) -> Picture:
        """Return image `index`; see `read`."""
        return self.read(index)[0]

    def subset(self, indexes: npt.NDArray[np.int64]) -> "ImageSource":
        """Return the source of the images at `indexes`, in that order."""
        chosen = copy.copy(self)
        chosen.images, chosen.labels = self.images[indexes], self.labels[indexes]
        if self.captions is not None:
            chosen.captions = self.captions[indexes]
        return chosen

    def without_labels(self) -> "ImageSource":
        """Return the source of the same images with every label -1 and no classes."""
        unlabelled = copy.copy(self)
        unlabelled.labels = np.full(len(self), -1, dtype=np.int64)
        unlabelled.classes = ()
        return unlabelled


class ArrayImages(ImageSource):
    """Images in memory: `images` is uint8, (N, H, W) gray or (N, H, W, C), of any strides."""

    def __post_init__(self) -> None:
        super().__post_init__()
        images = self.images
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != len(self):
            raise ValueError(
                f"{self.name}: expected uint8 images (N, H, W[, C]) for {len(self)} labels, "
                f"got {images.dtype} {images.shape}"
            )
        held = (1, 3) if images.ndim == 3 else (images.shape[3],)
        if self.num_channels not in held:
            raise ValueError(
                f"data.channels: expected {' or '.join(map(str, held))}, the channels of "
                f"{self.name}, got {self.num_channels}; set data.channels={held[-1]}"
            )

    def pixels(self, indexes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the images at `indexes`, (B, H, W, C)."""
        chosen = self.images[indexes]
        return chosen if chosen.ndim == 4 else np.repeat(chosen[..., None], self.num_channels, 3)

    def read(self, index: int) -> tuple[Picture, bool]:
        """Return image `index`, in which nothing is clipped."""
        return as_read(self.images[index], self.num_channels), False


class ListImages(ImageSource):
    """Images of several sizes in memory: `images` is (N,) arrays of uint8, (H, W[, C])."""

    def read(self, index: int) -> tuple[Picture, bool]:
        """Return image `index`, in which nothing is clipped."""
        return as_read(self.images[index], self.num_channels), False


def as_read(pixels: npt.NDArray[np.uint8], channels: int) -> Picture:
    """Return pixels (H, W[, C]) as an image of so many channels; see `ImageSource.read`."""
    if channels != 3:
        return Bands.of(pixels.reshape(*pixels.shape[:2], channels))
    if pixels.ndim == 3:
        return Image.fromarray(np.ascontiguousarray(pixels))
    return Image.fromarray(pixels).convert("RGB")


class FileImages(ImageSource):
    """Images in files, decoded when they are loaded: `images` are their paths, or `Parts`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # One array rather than a million strings: worker processes share its memory, as reading
        # it touches no reference counts inside it.
        if not isinstance(self.images, Parts):
            self.images = np.array([os.fsencode(path) for path in self.images], dtype=np.bytes_)

    def place(self, index: int) -> Place:
        """Return where image `index` is: a path, or a part of a file."""
        if isinstance(self.images, Parts):
            return self.images.part(index)
        return os.fsdecode(bytes(self.images[index]))

    def path(self, index: int) -> str:
        """Return the path of image `index`; of a part of a file, its name below the file's."""
        return str(self.place(index))

    def read(self, index: int) -> tuple[Picture, bool]:
        """Decode image `index`; see `ImageSource`."""
        return decode(self.place(index), self.pixel_range, self.channels)
