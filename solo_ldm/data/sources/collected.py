"""Images that a Python program holds, of any of the usual kinds, as arrays of 8 bits a channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from solo_ldm.config.memory import check_memory
from solo_ldm.data.sources.columns import (
    Columns,
    as_array,
    by_position,
    columns_of,
    values_of,
)
from solo_ldm.data.sources.decoding import convert, read_pixels
from solo_ldm.data.sources.images import Listing
from solo_ldm.data.sources.labels import number_labels
from solo_ldm.data.sources.pixels import BROKEN_FILE, Pixels, Range, UnfitPixelsError
from solo_ldm.data.sources.survey import Deep, is_most, spread

Report = Callable[[int, int], None]

_BYTES = (0, 255)
# Values that are scaled at once.
_AT_ONCE = 1 << 20


def collect(
    images: Any,
    labels: Any = None,
    *,
    pixel_range: Range | None = None,
    guessed: bool = False,
    channels: int | None = None,
    key: str = "data",
    like: Listing | None = None,
    labelled: bool = True,
    report: Report = lambda done, total: None,
) -> Listing:
    """Read images, and labels, into memory.

    Args:
        images: an array (N, H, W) or (N, H, W, C); a tensor (N, H, W) or (N, C, H, W); a sequence
            of paths, Pillow images, arrays (H, W[, C]) or tensors (C, H, W); a data set of torch,
            of these or of pairs (image, label); or one of Hugging Face.
        labels: (N,) whole numbers or names, -1 where an image has none; the column of them in a
            data set of Hugging Face; None takes those of the data set, if it has some.
        pixel_range: what is black and white in values that are not of 8 bits; see `convert`. Given
            with an array of 8 bits, it is used as well.
        guessed: whether the range is that of other images, so that arrays of 8 bits are refused.
        channels: that every image must have; None means three, or gray for all three.
        key: the argument that gives them, for messages.
        like: the training images, whose classes validation images have.
        labelled: whether labels, where there are some, are wanted.
        report: called with the number of images read and of all.

    Returns:
        The images, as uint8 pixels (N, H, W[, C]) or, of several sizes, (N,) such arrays.

    Raises:
        ValueError: in one line: something that is no set of images, or that does not fit.
    """
    images = by_position(images)
    pixels = as_array(images, key)
    wanted = labels if labelled else ()
    columns = Columns(None, None) if pixels is not None else columns_of(images, wanted, key)
    scale = _Scale(pixel_range, channels, key, guessed)
    if pixels is not None:
        found, own = scale.all(pixels, report), None
    else:
        found, own = _read(images, columns, scale, report)
    given = own if labels is None or labels is columns.label else labels
    given = given if labelled else None
    numbers, classes = number_labels(
        given, len(found), columns.names if given is own else None, key, like and like.classes
    )
    return Listing(found, numbers, classes, scale.notices(images), scale.used)


def side_of(images: Any, labels: Any = None, key: str = "data") -> int:
    """Return the shorter side in pixels of the images, or of the first of them."""
    images = by_position(images)
    pixels = as_array(images, key)
    if pixels is not None:
        return min(pixels.shape[1:3])
    columns = columns_of(images, labels, key)
    first = columns.read(images, 0, key)[0]
    if isinstance(first, (str, Path)):
        with Image.open(Path(first).expanduser()) as image:
            return min(image.size)
    return min(
        first.size if isinstance(first, Image.Image) else values_of(first, f"{key}[0]").shape[:2]
    )


class _Scale:
    """Turns values into 8 bits a channel, and counts what is unusual.

    Args:
        pixel_range: what is black and white; None refuses values that are not of 8 bits.
        channels: that every image must have; None means three.
        key: of the images, for messages.
        guessed: whether the range is that of other images.
    """

    def __init__(
        self, pixel_range: Range | None, channels: int | None, key: str, guessed: bool
    ) -> None:
        self.range, self.channels, self.key, self.guessed = pixel_range, channels, key, guessed
        self.used: Range | None = None
        self.clipped = 0
        self.sampled = Deep()

    def all(self, pixels: npt.NDArray[Any], report: Report) -> npt.NDArray[np.uint8]:
        """Return uint8 images (N, H, W[, C]) of values of the same shape."""
        count = 1 if pixels.ndim == 3 else pixels.shape[3]
        if count not in ((1, 3) if pixels.ndim == 3 else (self.channels or 3,)):
            self._refuse_channels(count, pixels.shape)
        self._check_range(pixels)
        if pixels.dtype == np.uint8 and self.range in (None, _BYTES):
            return pixels
        levels = np.empty(pixels.shape, np.uint8)
        step = max(1, _AT_ONCE // pixels[0].size)
        for start in range(0, len(pixels), step):
            part = pixels[start : start + step]
            tall = part.reshape(-1, part.shape[2], count)
            try:
                found = self._levels(tall, count)
            except UnfitPixelsError:
                found = None
            if found is None or found[1]:  # which image, and how many
                for index, image in enumerate(part, start):
                    one = self._named(
                        f"{self.key}[{index}]", image.reshape(*image.shape[:2], count), count
                    )
                    levels[index] = one.reshape(image.shape)
            else:
                levels[start : start + step] = found[0].reshape(part.shape)
            report(start + len(part), len(pixels))
        self.sample(pixels[spread(range(len(pixels)))])
        return levels

    def sample(self, values: npt.NDArray[Any]) -> None:
        """Keep the values of some of the images, which `notices` judges the range by."""
        as_bytes = values.dtype == np.uint8 and self.range == _BYTES
        if self.range is not None and not as_bytes:
            self.sampled.add(values, self.range)

    def one(self, image: Any, name: str, sampled: bool) -> npt.NDArray[np.uint8]:
        """Return the uint8 pixels (H, W, C), gray ones (H, W), of an image of any kind."""
        if isinstance(image, (str, Path, Image.Image)):
            levels, values = self._picture(image, name)
        else:
            values = values_of(image, name)
            self._check_range(values)
            values = values.reshape(*values.shape[:2], -1)
            levels = self._named(name, values, self.channels or 3)
        if sampled and values is not None:
            self.sample(values)
        return levels[..., 0] if levels.ndim == 3 and levels.shape[2] == 1 else levels

    def _picture(
        self, image: Any, name: str
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any] | None]:
        """Return the levels of a file or Pillow image, and values deeper than those."""
        try:
            named = isinstance(image, (str, Path))
            pixels = read_pixels(Path(image).expanduser()) if named else Pixels(image)
        except IsADirectoryError:
            raise ValueError(
                f"{name}: {image} is a folder; give a list of the paths in it"
            ) from None
        except BROKEN_FILE as error:
            raise ValueError(f"{name}: {image} cannot be read as an image ({error})") from None
        if isinstance(image, Image.Image) and image.mode.startswith(("I", "F")):
            pixels = Pixels(None, np.asarray(image)[:, :, None])
        if pixels.values is not None:
            self._check_range(pixels.values)
        return self._named(name, pixels, self.channels or 3), pixels.values

    def _named(
        self, name: str, pixels: Pixels | npt.NDArray[Any], channels: int
    ) -> npt.NDArray[np.uint8]:
        """Return the levels of an image, which an error names, and count it if it is clipped."""
        try:
            levels, clipped = self._levels(pixels, channels)
        except UnfitPixelsError as error:
            raise ValueError(f"{name}: {error}") from None
        self.clipped += clipped
        return levels

    def _levels(
        self, pixels: Pixels | npt.NDArray[Any], channels: int
    ) -> tuple[npt.NDArray[np.uint8], bool]:
        """Return pixels, or values (H, W, C), as levels, and whether some were clipped."""
        if isinstance(pixels, np.ndarray):
            if pixels.dtype == np.uint8 and self.range not in (None, _BYTES):
                pixels = pixels.astype(np.int16)  # a range of 8 bits that is given counts
            pixels = Pixels(None, pixels)
        if pixels.values is not None and pixels.values.dtype != np.uint8:
            self.used = self.range
        picture, clipped = convert(pixels, self.range, channels)
        return np.asarray(picture), clipped

    def _check_range(self, values: npt.NDArray[Any]) -> None:
        if self.guessed and values.dtype == np.uint8 and self.range not in (None, _BYTES):
            low, high = self.range or _BYTES
            raise ValueError(
                f"data_range: expected what is black and white, as {self.key} are uint8, the run "
                f"was trained on values in {low:g} ... {high:g}; give data_range=({low:g}, "
                f"{high:g}), or (0, 255)"
            )
        if self.range is None and values.dtype != np.uint8:
            low, high = float(values.min()), float(values.max())
            theirs = f"theirs lie in {low:g} ... {high:g}" if low <= high else "theirs hold NaN"
            raise ValueError(
                f"data_range: expected what is black and white in {self.key}, which is "
                f"{values.dtype}; {theirs}: give data_range=(0, 1), or what it is"
            )

    def _refuse_channels(self, count: int, shape: tuple[int, ...]) -> None:
        drop = "; or leave transparency out, X[..., :3]" if count == 4 else ""
        raise ValueError(
            f"{self.key}: expected images of {self.channels or 3} channels (data.channels), got "
            f'{count}, {tuple(shape)}; give **{{"data.channels": {count}}}{drop}'
        )

    def notices(self, images: Any) -> tuple[str, ...]:
        """Return a line for each thing that was changed, dropped or is not used."""
        lines = []
        low, high = self.range or _BYTES
        if is_most(self.sampled.share_outside):
            raise ValueError(
                f"data_range: expected a range that holds the values of {self.key}, got ({low:g}, "
                f"{high:g}), outside of which are {100 * self.sampled.share_outside:.0f} %, as "
                f"they lie in {self.sampled.low:g} ... {self.sampled.high:g}; give theirs, or "
                " clip them by numpy.clip"
            )
        crowded = self.sampled.crowded(low, high, "data_range") if self.sampled.files else None
        if crowded:
            lines.append(f"{self.key}: {crowded}")
        if self.clipped:
            lines.append(
                f"{self.key}: {self.clipped} images hold values outside data_range=({low:g}, "
                f"{high:g}), which are clipped"
            )
        if any(getattr(images, name, None) is not None for name in ("transform", "transforms")):
            lines.append(
                f"{self.key}: the transform of the data set was applied once, when it was read; "
                "views are drawn by augmentations"
            )
        return tuple(lines)


def _read(
    images: Any, columns: Columns, scale: _Scale, report: Report
) -> tuple[npt.NDArray[Any], list[Any] | None]:
    """Read images one by one; return them and their labels."""
    count, labels = len(images), []
    sampled = {*spread(range(count))}
    found: npt.NDArray[Any] = np.empty(0, object)
    for index in range(count):
        image, label = columns.read(images, index, scale.key)
        pixels = scale.one(image, f"{scale.key}[{index}]", index in sampled)
        labels.append(label)
        if index == 0:
            check_memory(
                scale.key, count, pixels.nbytes, bytes_each=1,
                remedy="save the images as files and give their folder",
            )  # fmt: skip
            found = np.empty((count, *pixels.shape), np.uint8)
        if found.dtype == np.uint8 and pixels.shape != found.shape[1:]:
            several = np.empty(count, object)
            several[:index] = list(found[:index])
            found = several
        found[index] = pixels
        report(index + 1, count)
    return found, labels if columns.has_labels else None
