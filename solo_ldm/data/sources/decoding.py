"""An image file's pixels: of any mode, depth and number of channels, as 8 bits a channel."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from solo_ldm.data.sources.deep import TIFF_MAGIC, is_unsigned, needs_tifffile, read_png, read_tiff
from solo_ldm.data.sources.parts import Place, opened
from solo_ldm.data.sources.pixels import (
    BROKEN_FILE,
    Bands,
    Picture,
    Pixels,
    Range,
    UnfitPixelsError,
    UnreadableImageError,
)

# Formats that Pillow names but cannot decode by itself: EPS starts another program.
_NOT_DECODED = ("EPS", "MPEG")
# What Pillow's JPEG reader opens besides those that it registers a reader for.
_MORE_SUFFIXES = (".mpo",)
# Channels of the modes whose bands are what the file holds; other modes are ways to write RGB.
_BANDS = {"1": 1, "L": 1, "LA": 2, "La": 2, "RGB": 3, "RGBA": 4, "RGBa": 4, "RGBX": 4}
# Of 255 levels: a value at the edge of the range is not outside it.
_ROUNDING = 1e-6


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of the files that Pillow decodes, in lower case."""
    suffixes = Image.registered_extensions()  # loads Pillow's readers
    stubs = {
        name
        for name, (reader, _) in Image.OPEN.items()
        if inspect.isclass(reader) and issubclass(reader, ImageFile.StubImageFile)
    }
    readable = Image.OPEN.keys() - stubs - set(_NOT_DECODED)
    return frozenset((*_MORE_SUFFIXES, *(one for one in suffixes if suffixes[one] in readable)))


def read_image(
    path: Place, pixel_range: Range | None = None, channels: int | None = None
) -> Picture:
    """Decode an image file to 8 bits a channel.

    Pixels deeper than 8 bits are scaled, pixel_range to 0 ... 255, and clipped outside it. Of three
    channels, gray becomes three equal ones, and transparent pixels show a white background.

    Args:
        path: of the file.
        pixel_range: of pixels deeper than 8 bits; None refuses them.
        channels: that the image must have; None means three.

    Returns:
        An image of mode RGB, or `Bands` where `channels` is given and not 3.

    Raises:
        UnreadableImageError: the file is missing or damaged, or its pixels do not fit.
    """
    return decode(path, pixel_range, channels)[0]


def as_picture(
    image: Any, pixel_range: Range | None = None, channels: int | None = None
) -> Picture:
    """Return what `read_image` does, of an image in memory or in a file.

    Args:
        image: a path, an image of Pillow's, or an array (H, W) or (H, W, C) of numbers.
        pixel_range: of pixels deeper than 8 bits; None refuses them.
        channels: that the image must have; None means three.

    Raises:
        ValueError: something that is no image, or one that does not fit.
    """
    if isinstance(image, (str, Path)):
        return read_image(image, pixel_range, channels)
    pixels = image
    if isinstance(image, Image.Image):
        pixels = Pixels(image)
        if image.mode.startswith(("I", "F")):
            pixels = Pixels(None, np.asarray(image)[:, :, None])
    elif isinstance(image, np.ndarray) and image.ndim in (2, 3):
        known = image.dtype == np.uint8 or pixel_range is not None
        if known and image.dtype.kind in "uif":
            pixels = Pixels(None, image.reshape(*image.shape[:2], -1))
    if not isinstance(pixels, Pixels):
        shape = getattr(image, "shape", None)
        got = type(image).__name__ if shape is None else f"{getattr(image, 'dtype', '')} {shape}"
        raise ValueError(
            f"images: expected a path, a Pillow image or a uint8 array (H, W) or (H, W, C), got "
            f"{got}; deeper pixels need a backbone that was trained on such"
        )
    try:
        return convert(pixels, pixel_range, channels)[0]
    except UnfitPixelsError as error:
        raise ValueError(f"images: {error}") from None


def decode(
    path: Place, pixel_range: Range | None = None, channels: int | None = None
) -> tuple[Picture, bool]:
    """Return what `read_image` does, and whether pixels were clipped."""
    try:
        return convert(read_pixels(path, channels), pixel_range, channels)
    except BROKEN_FILE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "" if isinstance(error, UnfitPixelsError) else "; repair the file or delete it"
        raise UnreadableImageError(
            f"{path}: cannot be read as an image ({reason}){remedy}"
        ) from error


def read_pixels(path: Place, channels: int | None = None) -> Pixels:
    """Read a file as it is; raise one of `BROKEN_FILE` where that fails.

    Args:
        path: of the file.
        channels: that are asked for: so many gray pages of a TIFF are its channels.
    """
    with opened(path) as file:
        tiff = file.read(4) in TIFF_MAGIC
        file.seek(0)
        try:
            image = Image.open(file)
        except (OSError, SyntaxError, ValueError):
            if not tiff:
                raise
            return read_tiff(path, channels)
        with image:
            if tiff and needs_tifffile(image, channels):
                return read_tiff(path, channels)
            frames = getattr(image, "n_frames", 1) if tiff else 1
            raw = str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""
            if raw.endswith(";16B") and image.mode != "I;16":
                return read_png(file, raw)
            image.load()
            if not image.mode.startswith(("I", "F")):
                return Pixels(image, tiff=tiff, frames=frames)
            values = np.asarray(image)
            if tiff and is_unsigned(image) and values.dtype == np.int32:
                values = values.view(np.uint32)
            return Pixels(None, values[:, :, None], tiff=tiff, frames=frames)


def convert(
    pixels: Pixels, pixel_range: Range | None, channels: int | None
) -> tuple[Picture, bool]:
    """Turn what a file holds into 8 bits a channel, and say whether values were clipped.

    Raises:
        UnfitPixelsError: another number of channels, no known range, or NaN.
    """
    if pixels.image is not None:
        return _of_eight_bits(pixels, pixels.image, channels), False
    values = pixels.values
    assert values is not None, "one of the two"
    wanted, opacity = channels or 3, None
    if pixels.alpha and values.shape[2] != wanted:
        opacity, values = values[:, :, -1:] / np.iinfo(values.dtype).max, values[:, :, :-1]
    if (found := values.shape[2]) != wanted and (found, wanted) != (1, 3):
        raise UnfitPixelsError(_other_channels(pixels, found, wanted))
    if not np.isfinite(values).all():
        raise UnfitPixelsError(
            "it holds pixels that are no finite numbers (NaN or infinite); write a number in "
            "their place, as numpy.nan_to_num does, or leave the file out"
        )
    if values.dtype == np.uint8:
        pixel_range = (0, 255)
    if pixel_range is None:
        raise UnfitPixelsError(
            f"pixels of {values.dtype} have no known range; set data.range=[LOW,HIGH]"
        )
    low, high = pixel_range
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    clipped = bool(scaled.min() < -_ROUNDING or scaled.max() > 255 + _ROUNDING)
    scaled = scaled.clip(0, 255)
    if opacity is not None:
        scaled = 255 + (scaled - 255) * opacity
    levels = np.floor(scaled + 0.5).astype(np.uint8)
    if wanted != 3:
        return Bands.of(levels), clipped
    levels = np.broadcast_to(levels, (*levels.shape[:2], 3))
    return Image.fromarray(np.ascontiguousarray(levels)), clipped


def _of_eight_bits(pixels: Pixels, image: Image.Image, channels: int | None) -> Picture:
    found = _BANDS.get(image.mode, 3)
    if pixels.tiff and channels is None and found in (2, 4) and not _is_opaque(image):
        raise UnfitPixelsError(
            f"its channel {found} may be a band or transparency; set data.channels={found} for a "
            f"band, data.channels=3 for transparency"
        )
    if channels in (None, 3):
        if image.mode == "RGBX" and not _is_opaque(image):
            raise UnfitPixelsError(_other_channels(pixels, 4, 3))
        return _to_rgb(image)
    if found == channels and image.mode in _BANDS:
        return Bands([band.convert("L") for band in image.split()])
    if channels == 1 and image.mode in ("LA", "La"):
        return Bands([_to_rgb(image).getchannel(0)])
    raise UnfitPixelsError(_other_channels(pixels, found, channels or 3))


def _other_channels(pixels: Pixels, found: int, wanted: int) -> str:
    has = f"{found} channel{'' if found == 1 else 's'}, data.channels is {wanted}"
    if pixels.frames > 1:
        count = pixels.frames
        gray = f"data.channels={count} takes its pages, such as the {count} frames of a clip; else "
        return (
            f"it has {pixels.pages} and {has}; {gray if found == 1 else ''}write the channels of "
            f"an image as one page "
            f"(tifffile.imwrite(FILE, ARRAY, planarconfig='contig', photometric='minisblack') of "
            f"an array (H, W, C)), or one page a channel"
        )
    more = f", or write {wanted} channels, such as frames of a clip, as one TIFF of {wanted} pages"
    more = f"{more} (docs/video.md)" if found < wanted != 3 else ""
    return f"it has {has}; set data.channels={found}{more}"


def _is_opaque(image: Image.Image) -> bool:
    return image.getchannel(len(image.getbands()) - 1).getextrema()[0] == 255


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if is_translucent(image):
        image = image.convert("RGBA")
        background = Image.new("RGB", image.size, (255, 255, 255))
        background.paste(image, mask=image.getchannel("A"))
        return background
    return image.convert("RGB")


def is_translucent(image: Image.Image) -> bool:
    """Whether an image has a channel or a colour of transparency."""
    return image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info
