"""What a sample of image files says of all: the range of their pixels, and what is unusual."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from solo_ldm.data.sources.decoding import convert, is_translucent, read_pixels
from solo_ldm.data.sources.headers import Kind, probe
from solo_ldm.data.sources.images import FileImages, ImageSource
from solo_ldm.data.sources.parts import Place, opened
from solo_ldm.data.sources.pixels import (
    BROKEN_FILE,
    Range,
    UnfitImagesError,
    UnfitPixelsError,
    UnreadableImageError,
)

# Files of the sample: of each suffix, evenly spread.
SAMPLED = 64
# Files whose suffixes are looked at.
_LISTED = 20_000
# A configuration that does not fit more than this share of the sample is refused.
_MOST = 0.5
# Values of a file deeper than 8 bits that are kept, evenly spread.
_KEPT = 2**16
# A range of whose 256 levels no more than these are used is named.
_FEW_LEVELS = 16
# Formats of several images, of which none is a part of another's.
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")


@dataclass
class Survey:
    """A sample of files that was read.

    Args:
        pixel_range: of pixels deeper than 8 bits; None where there are none.
        notices: a line for each thing that the images' owner should know.
        crowded: a line if the range maps most values to few levels.
    """

    pixel_range: Range | None = None
    notices: list[str] = field(default_factory=list)
    crowded: str | None = None


@dataclass
class Deep:
    """The values of files deeper than 8 bits, or of arrays."""

    files: int = 0
    low: float = np.inf
    high: float = -np.inf
    whole: bool = True
    values: int = 0
    outside: int = 0
    kept: list[Any] = field(default_factory=list)

    def add(self, values: Any, given: Range | None) -> None:
        """Count the values of a file, or of arrays."""
        self.files += 1
        self.low = min(self.low, values.min().item())
        self.high = max(self.high, values.max().item())
        self.whole = self.whole and values.dtype.kind in "ui"
        self.values += values.size
        self.kept.append(values.ravel()[:: -(-values.size // _KEPT)].astype(np.float64))
        if given is not None:
            self.outside += int(((values < given[0]) | (values > given[1])).sum())

    def pixel_range(self) -> Range:
        """The range that the values seem to be of.

        Whole numbers from 0 are those of the fewest bits (8 or more) that hold them, fractions
        within [0, 1] of that; all others are between their smallest and their largest.
        """
        if self.low >= 0 and self.whole:
            return 0, 2 ** max(8, int(self.high).bit_length()) - 1
        if self.low >= 0 and self.high <= 1:
            return 0, 1
        return self.low, self.high if self.high > self.low else self.low + 1

    @property
    def share_outside(self) -> float:
        """The share of the values that the given range leaves out."""
        return self.outside / self.values if self.values else 0.0

    def crowded(self, low: float, high: float, key: str = "data.range") -> str | None:
        """Say so if a range maps most values to few levels, as of hot pixels or of no data."""
        values, counts = np.unique(np.concatenate(self.kept), return_counts=True)
        levels = np.clip(np.rint((values - low) * (255 / (high - low))), 0, 255)
        runs = np.split(np.arange(len(values)), np.flatnonzero(np.diff(levels) > 1) + 1)
        run = max(runs, key=len)  # what stands apart, such as -9999 for no data, has few values
        used = int(levels[run[-1]] - levels[run[0]]) + 1
        if used > _FEW_LEVELS or len(run) < 4 * used:
            return None
        share, first, last = counts[run].sum() / counts.sum(), values[run[0]], values[run[-1]]
        return (
            f"{key}: {100 * share:.4g} % of the sampled pixels are from {first:.6g} to "
            f"{last:.6g}, which are {used} of the 256 levels of [{low:.6g}, {high:.6g}]; "
            f"{key}=[{first:.6g},{last:.6g}] uses all levels for them and clips others"
        )


def survey(source: FileImages, given: Range | None) -> Survey:
    """Read a sample of a source's files.

    Args:
        source: of the files; its `channels` are those asked for.
        given: the range that the configuration gives; None to decide it.

    Raises:
        ValueError: in one line: most of the sample does not fit the channels or the range.
    """
    deep, unfit = Deep(), list[str]()
    clear, count, pages, framed = 0, 0, False, list[str]()
    for path in map(source.place, sample(source)):
        count += 1
        if source.num_channels == 3 and probe(path).kind == Kind.PLAIN:
            continue
        try:
            pixels = read_pixels(path, source.channels)
            if pixels.frames > 1 or (not pixels.tiff and _is_animated(path)):
                framed.append(f"{path} of {pixels.pages}" if pixels.tiff else str(path))
                pages = pages or pixels.tiff
            if pixels.image is not None and not pixels.tiff and source.channels is None:
                clear += is_translucent(pixels.image) and _shows_white(pixels.image)
            values = pixels.values
            if values is not None and values.dtype != np.uint8 and np.isfinite(values).all():
                deep.add(values, given)
            convert(pixels, given or (0, 1), source.channels)
        except UnfitPixelsError as error:
            unfit.append(f"{path}: {error}")
        except BROKEN_FILE:
            continue
    found = Survey()
    if len(unfit) > _MOST * count:
        raise UnfitImagesError(
            f"data: {len(unfit)} of {count} sampled files do not fit the configuration, such as "
            f"{unfit[0]}"
        )
    if unfit:
        found.notices.append(f"{_of(len(unfit), count)} cannot be used, such as {unfit[0]}")
    if clear:
        found.notices.append(
            f"{_of(clear, count)} are transparent in part and shown on white; data.channels=4 "
            f"takes a fourth channel as one of the image's"
        )
    if framed:
        found.notices.append(
            f"{_of(len(framed), count)} hold several images, of which the first is used, such as "
            f"{framed[0]}" + "; data.channels=N takes N gray pages of a TIFF for channels" * pages
        )
    _decide_range(found, deep, given, count)
    return found


def _decide_range(found: Survey, deep: Deep, given: Range | None, count: int) -> None:
    if not deep.files:
        if given is not None:
            found.notices.append(
                f"data.range: not used, as all of {count} sampled files have 8 bits a channel"
            )
            found.pixel_range = given
        return
    reach = f"pixels of {_of(deep.files, count)} are deeper than 8 bits"
    reach += f", from {deep.low:.6g} to {deep.high:.6g}"
    if given is None:
        found.pixel_range = deep.pixel_range()
        low, high = found.pixel_range
        found.notices.append(
            f"data.range: taken as [{low:.6g}, {high:.6g}], as {reach}; set data.range=[LOW,HIGH] "
            f"for another"
        )
        found.crowded = deep.crowded(low, high)
        return
    found.pixel_range = given
    share = deep.share_outside
    if is_most(share):
        raise UnfitImagesError(
            f"data.range: expected a range that holds the pixels, got [{given[0]:g}, "
            f"{given[1]:g}], outside of which are {100 * share:.0f} %, as {reach}; leave it out to "
            f"take the range of the files"
        )
    if share:
        found.notices.append(
            f"data.range: {100 * share:.2g} % of the sampled pixels are outside of "
            f"[{given[0]:g}, {given[1]:g}] and are clipped, as {reach}"
        )
    found.crowded = deep.crowded(*given)


def statistics(source: ImageSource) -> tuple[tuple[float, ...], tuple[float, ...], int]:
    """Return mean and deviation of each channel, in [0, 1], over a sample of a source's images.

    Returns:
        Means and deviations to four decimals, and the number of images.
    """
    total, squares, pixels, images = 0.0, 0.0, 0, 0
    for index in sample(source):
        try:
            values = np.asarray(source.load(index)).reshape(-1, source.num_channels) / 255
        except UnreadableImageError:
            continue
        total, squares = total + values.sum(0), squares + (values**2).sum(0)
        pixels, images = pixels + len(values), images + 1
    if not images:
        return (0.5,) * source.num_channels, (0.25,) * source.num_channels, 0
    mean = total / pixels
    deviation = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    deviation = np.where(deviation < 1e-4, 1.0, deviation)
    return tuple(np.round(mean, 4).tolist()), tuple(np.round(deviation, 4).tolist()), images


def sample(source: ImageSource) -> list[int]:
    """Return the indexes of the images of a sample: of each suffix, evenly spread."""
    if not isinstance(source, FileImages):
        return spread(range(len(source)))
    by_suffix: dict[str, list[int]] = defaultdict(list)
    for index in spread(range(len(source)), _LISTED):
        by_suffix[os.path.splitext(source.path(index))[1].lower()].append(index)
    return sorted(index for group in by_suffix.values() for index in spread(group))


def is_most(share: float) -> bool:
    """Whether a share of a sample is so large that the configuration is wrong."""
    return share > _MOST


def spread(indexes: Sequence[int], most: int = SAMPLED) -> list[int]:
    """Return some of the indexes, evenly spread."""
    places = np.linspace(0, len(indexes) - 1, min(most, len(indexes))).astype(int)
    return [indexes[place] for place in places.tolist()]


def _shows_white(image: Any) -> bool:
    return image.convert("RGBA").getchannel("A").getextrema()[0] < 255


def _is_animated(path: Place) -> bool:
    with opened(path) as file, Image.open(file) as image:
        return image.format in _ANIMATED and getattr(image, "is_animated", False)


def _of(number: int, count: int) -> str:
    return f"{number} of {count} sampled files"
