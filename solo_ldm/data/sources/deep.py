"""Files that Pillow opens in part: PNG of 16 bits and TIFF of many channels, bits or pages."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from solo_ldm.data.sources.parts import Part, Place
from solo_ldm.data.sources.pixels import Pixels, UnfitPixelsError

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Tags of a TIFF.
_BITS, _PHOTOMETRIC, _SAMPLES, _SAMPLE_FORMAT = 258, 262, 277, 339
_INKS, _UNSIGNED = 5, 1


def read_png(file: Any, raw: str) -> Pixels:
    """Read a PNG of 16 bits and several channels, of which Pillow keeps the upper 8 bits.

    Args:
        file: open for reading.
        raw: Pillow's name for how it is stored, such as RGB;16B.
    """
    if raw not in ("RGB;16B", "RGBA;16B"):
        raise UnfitPixelsError("gray with transparency, of 16 bits; save it without transparency")
    # Taken for 16 bits in the other order of bytes, Pillow keeps the lower 8 bits.
    high, low = (_read_as(file, one).astype(np.uint16) for one in (raw, f"{raw[:-1]}L"))
    return Pixels(None, high * 256 + low, alpha=raw.startswith("RGBA"))


def _read_as(file: Any, raw: str) -> npt.NDArray[np.uint8]:
    file.seek(0)
    image: Any = Image.open(file)
    tile = image.tile[0]
    image.tile = [tile._replace(args=raw) if hasattr(tile, "_replace") else (*tile[:3], raw)]
    image.load()
    return np.asarray(image)


def needs_tifffile(image: Any, channels: int | None) -> bool:
    """Whether Pillow would drop depth, channels or pages that are asked for."""
    samples = _tag(image, _SAMPLES, 1)
    if _tag(image, _PHOTOMETRIC, 0) == _INKS:
        return False
    if samples > 1:
        return samples > len(image.getbands()) or max(image.tag_v2.get(_BITS, (8,))) > 8
    return channels is not None and channels > 1 and getattr(image, "n_frames", 1) == channels


def is_unsigned(image: Any) -> bool:
    """Whether the whole numbers of a TIFF, as Pillow opened it, are not negative."""
    return _tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED


def _tag(image: Any, tag: int, default: int) -> int:
    value = image.tag_v2.get(tag, default)
    return value[0] if isinstance(value, tuple) else value


def read_tiff(path: Place, channels: int | None) -> Pixels:
    """Read a TIFF of any channels and depth; see `read_pixels`."""
    try:
        import tifffile
    except ImportError:
        raise UnfitPixelsError(
            "a TIFF of several channels deeper than 8 bits; pip install 'solo-ldm[tiff]'"
        ) from None
    try:
        with tifffile.TiffFile(path.open() if isinstance(path, Part) else path) as tiff:
            series = tiff.series[0]
            values, axes = series.asarray(), series.axes
    except Exception as error:  # tifffile's own, NumPy's, the codecs'
        raise ValueError(str(error) or type(error).__name__) from None
    one = [n for n, axis in enumerate(axes) if axis not in "YX" and values.shape[n] == 1]
    values, axes = values.squeeze(tuple(one)), "".join(np.delete(list(axes), one))
    frames = 1
    for axis in [axis for axis in axes if axis not in "YXSC"]:
        place = axes.index(axis)
        if values.shape[place] == channels and not set("SC") & set(axes):
            axes = axes.replace(axis, "C")
        else:  # the first of several images, as of any other format
            frames *= values.shape[place]
            values, axes = values.take(0, axis=place), axes.replace(axis, "")
    if sorted(axes.replace("S", "C")) not in (["X", "Y"], ["C", "X", "Y"]):
        raise UnfitPixelsError(f"a TIFF of axes {axes} and shape {values.shape}")
    if values.dtype.kind not in "uif":
        raise UnfitPixelsError(f"a TIFF of {values.dtype}")
    places = [axes.replace("S", "C").find(axis) for axis in "YXC"]
    values = (
        values.transpose(places) if values.ndim == 3 else values.transpose(places[:2])[..., None]
    )
    return Pixels(None, values, tiff=True, frames=frames)
