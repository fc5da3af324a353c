"""What an image file's first and last bytes say: its size, and whether any decoder will do.

A loader that decodes on a GPU, or that crops before it decodes, has to know an image's size and
kind without the milliseconds of a decoder.
"""

import struct
import zlib
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from solo_ldm.data.sources.images import BROKEN_FILE, UnreadableImageError, read_image

# Most headers end within the first block; JPEGs with a thumbnail or a colour profile are followed
# further, segment by segment.
_HEAD = 4096
_TAIL = 64
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
# JPEG markers (ITU-T T.81, table B.1).
_SOF_BASELINE, _SOF_PROGRESSIVE, _DHT, _SOS, _DQT, _ADOBE = 0xC0, 0xC2, 0xC4, 0xDA, 0xDB, 0xEE
_DRI, _COMMENT = 0xDD, 0xFE
# The segments of a usual header; any other (arithmetic coding, lossless, hierarchical, ...) is
# left to Pillow.
_UNDERSTOOD = frozenset(
    (_SOF_BASELINE, _SOF_PROGRESSIVE, _DHT, _SOS, _DQT, _DRI, _COMMENT, *range(0xE0, 0xF0))
)
# Component numbers that every decoder takes for luma and two chromas.
_YCBCR = ((1, 2, 3), (0, 1, 2))
_ADOBE_YCBCR = 1
# Colour type and its depths (PNG specification, table 11.1).
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


class Kind(IntEnum):
    """What it takes to read an image file; small numbers, to be kept in an array."""

    PLAIN = 0
    """A JPEG (baseline or progressive) or PNG of 8-bit gray or colour: any decoder will do."""
    UNUSUAL = 1
    """`read_image` alone gives its pixels as meant: CMYK, a palette, alpha, 16 bits, WebP, ..."""
    UNREADABLE = 2
    """`read_image` raises; call it for the reason."""


class Header(NamedTuple):
    """An image file's size in pixels (0 if it is unreadable) and its kind."""

    width: int
    height: int
    kind: Kind


class _NotUnderstoodError(Exception):
    """The parser met something that it leaves to Pillow."""


def probe(path: str | Path) -> Header:
    """Read an image file's size and kind from its first and last bytes.

    Truncated JPEGs and PNGs are told apart from whole ones; damage in the middle of a file, and a
    truncated file of another format, show only when it is decoded. The content decides, never the
    file's suffix. An orientation in EXIF does not turn the size, as it does not turn what
    `read_image` returns.

    Args:
        path: of the file.

    Returns:
        The header; of a file that is missing or no image, one of kind UNREADABLE.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_HEAD)
            if head.startswith(b"\xff\xd8\xff"):
                return _jpeg(file, head)
            if head.startswith(_PNG_SIGNATURE):
                return _png(file, head)
    except (_NotUnderstoodError, struct.error, IndexError):
        return _decoded(path)
    except OSError:
        return Header(0, 0, Kind.UNREADABLE)
    return _opened(path)


def _jpeg(file: BinaryIO, head: bytes) -> Header:
    # Padding behind the end is common, and every decoder ignores it.
    if not _tail(file, head).rstrip(b"\0").endswith(_JPEG_END):
        raise _NotUnderstoodError
    size: tuple[int, int] | None = None
    components: tuple[int, ...] = ()
    adobe_transform: int | None = None
    seen = set()
    position, start = 2, 0
    while True:
        if position + 24 > start + len(head):
            head, start = _read(file, position), position
        at = position - start
        if head[at] != 0xFF:
            raise _NotUnderstoodError
        marker = head[at + 1]
        if marker == 0xFF:  # padding before a marker
            position += 1
            continue
        length = head[at + 2] << 8 | head[at + 3]
        if length < 2 or marker not in _UNDERSTOOD:
            raise _NotUnderstoodError
        if marker == _SOS:
            break
        seen.add(marker)
        if marker in (_SOF_BASELINE, _SOF_PROGRESSIVE):
            if size is not None:
                raise _NotUnderstoodError
            depth, height, width, count = struct.unpack_from(">BHHB", head, at + 4)
            if depth != 8 or count not in (1, 3, 4) or length != 8 + 3 * count:
                raise _NotUnderstoodError
            size = (width, height)
            components = tuple(head[at + 10 : at + 10 + 3 * count : 3])
        elif marker == _ADOBE and head[at + 4 : at + 9] == b"Adobe":
            adobe_transform = head[at + 15]
        position += 2 + length
    if size is None or _DQT not in seen or _DHT not in seen:
        raise _NotUnderstoodError
    plain = len(components) == 1 or (
        components in _YCBCR and adobe_transform in (None, _ADOBE_YCBCR)
    )
    return _header(size, plain)


def _png(file: BinaryIO, head: bytes) -> Header:
    if not _tail(file, head).endswith(_PNG_END):
        raise _NotUnderstoodError
    checksum = int.from_bytes(head[29:33], "big")
    if head[8:16] != b"\0\0\0\rIHDR" or zlib.crc32(head[12:29]) != checksum:
        raise _NotUnderstoodError
    width, height, depth, colour, compression, row_filter, interlace = struct.unpack_from(
        ">IIBBBBB", head, 16
    )
    if depth not in _PNG_DEPTHS.get(colour, ()) or compression or row_filter or interlace > 1:
        raise _NotUnderstoodError
    plain = depth == 8 and colour in (0, 2)
    position, start = 33, 0
    while plain:
        if position + 8 > start + len(head):
            head, start = _read(file, position), position
        length, name = struct.unpack_from(">I4s", head, position - start)
        if name == b"IDAT":
            break
        if name in (b"acTL", b"IEND"):
            raise _NotUnderstoodError
        plain = name != b"tRNS"
        position += 12 + length
    return _header((width, height), plain)


def _header(size: tuple[int, int], plain: bool) -> Header:
    width, height = size
    limit = Image.MAX_IMAGE_PIXELS
    # Pillow refuses images far above its limit, and a JPEG of height 0 states it elsewhere.
    if not width or not height or (limit is not None and width * height > limit):
        raise _NotUnderstoodError
    return Header(width, height, Kind.PLAIN if plain else Kind.UNUSUAL)


def _tail(file: BinaryIO, head: bytes) -> bytes:
    if len(head) < _HEAD:
        return head[-_TAIL:]
    file.seek(-_TAIL, 2)
    return file.read(_TAIL)


def _read(file: BinaryIO, position: int) -> bytes:
    file.seek(position)
    return file.read(_HEAD)


def _decoded(path: str | Path) -> Header:
    try:
        width, height = read_image(path).size
    except UnreadableImageError:
        return Header(0, 0, Kind.UNREADABLE)
    return Header(width, height, Kind.UNUSUAL)


def _opened(path: str | Path) -> Header:
    """The header as Pillow reads it, without the pixels."""
    try:
        with Image.open(path) as image:
            if image.mode in ("F", "LAB"):  # read_image refuses them
                return Header(0, 0, Kind.UNREADABLE)
            width, height = image.size
            return Header(width, height, Kind.UNUSUAL)
    except BROKEN_FILE:
        return Header(0, 0, Kind.UNREADABLE)
