"""An image file's size and kind, read from its header and its last bytes.

A loader that decodes on a GPU, or that crops before it decodes, has to know an image's size and
kind without the milliseconds of a decoder. Pillow reads a header without the pixels.
"""

from enum import IntEnum
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from solo_ldm.data.sources.decoding import read_pixels
from solo_ldm.data.sources.parts import Place, opened
from solo_ldm.data.sources.pixels import BROKEN_FILE

_TAIL = 64
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
# Numbers of a JPEG's components that every decoder takes for luma and two chromas.
_YCBCR = ((1, 2, 3), (0, 1, 2))
_ADOBE_YCBCR = 1


class Kind(IntEnum):
    """What it takes to read an image file; small numbers, to be kept in an array."""

    PLAIN = 0
    """A JPEG (baseline or progressive) or PNG of 8-bit gray or colour: any decoder will do."""
    UNUSUAL = 1
    """`read_image` alone gives its pixels as meant: CMYK, a palette, alpha, 16 bits, WebP, ..."""
    UNREADABLE = 2
    """`read_image` raises whatever the range and the channels; call it for the reason."""


class Header(NamedTuple):
    """An image file's size in pixels (0 if it is unreadable) and its kind."""

    width: int
    height: int
    kind: Kind


_UNREADABLE = Header(0, 0, Kind.UNREADABLE)


def probe(path: Place) -> Header:
    """Read an image file's size and kind from its header and its last bytes.

    A JPEG or PNG without its usual end is decoded: it is truncated, or has a trailer.
    Damage in the middle of a file, and a truncated file of another format, show only when it is
    decoded. The content decides, never the file's suffix. An orientation in EXIF does not turn the
    size, as it does not turn what `read_image` returns.

    Args:
        path: of the file.

    Returns:
        The header; of a file that is missing or no image, one of kind UNREADABLE.
    """
    try:
        with opened(path) as file, Image.open(file) as image:
            if image.mode == "LAB":  # read_image refuses it
                return _UNREADABLE
            plain = image.mode in ("L", "RGB") and "transparency" not in image.info
            if image.format == "JPEG":
                # Padding behind the end is common, and every decoder ignores it.
                whole = _end(file).rstrip(b"\0").endswith(_JPEG_END)
                plain = plain and _is_plain_jpeg(image)
            elif image.format == "PNG":
                whole = bool(image.tile) and _end(file).endswith(_PNG_END)
                plain = plain and whole and _is_plain_png(image)
            else:
                whole, plain = True, False
            if whole:
                width, height = image.size
                return Header(width, height, Kind.PLAIN if plain else Kind.UNUSUAL)
    except BROKEN_FILE:
        pass  # it may be a TIFF of more channels than Pillow's images have
    try:
        pixels = read_pixels(path)
    except BROKEN_FILE:
        return _UNREADABLE
    if pixels.values is not None:
        height, width = pixels.values.shape[:2]
        return Header(width, height, Kind.UNUSUAL)
    assert pixels.image is not None, "one of the two"
    return Header(*pixels.image.size, Kind.UNUSUAL)


def _end(file: BinaryIO) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL))
    return file.read()


def _is_plain_jpeg(image: Any) -> bool:
    numbers = tuple(component[0] for component in image.layer)
    adobe = image.info.get("adobe_transform", _ADOBE_YCBCR)
    return len(numbers) == 1 or (numbers in _YCBCR and adobe == _ADOBE_YCBCR)


def _is_plain_png(image: Any) -> bool:
    # The raw mode of the first tile says the depth that Pillow converts to 8 bits.
    return image.tile[0][3] in ("L", "RGB") and not getattr(image, "is_animated", False)
