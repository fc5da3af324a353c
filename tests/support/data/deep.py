"""Image files of any depth and number of channels, for tests of data."""

from __future__ import annotations

import numpy as np
import tifffile
from PIL import Image

from solo_ldm.data import DataConfig
from solo_ldm.data.datasets.registry import Splits

# Smooth, as resizing in two libraries must agree: two waves an image.
WAVE = (np.sin(np.add.outer(np.arange(30), np.arange(32)) / 4) + 1) / 2


def files(root, arrays, **options):
    """Write an image file of each array, those of two channels and more as TIFF."""
    for number, array in enumerate(arrays):
        path = root / "ab"[number % 2] / f"{number:02}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if array.ndim == 2 and array.dtype in (np.uint8, np.uint16):
            Image.fromarray(array).save(f"{path}.png")
        else:
            photometric = "rgb" if array.ndim == 3 and array.shape[2] > 2 else "minisblack"
            tifffile.imwrite(f"{path}.tif", array, photometric=photometric, **options)
    return root


def splits(root, **values):
    return Splits(DataConfig(dataset="custom", train_path=str(root), **values))


def levels(source):
    return [np.asarray(source.load(index)) for index in range(len(source))]


def stacks(channels, dtype=np.uint8, count=4, scale=255):
    return [
        (np.stack([np.roll(WAVE, 3 * n + c, 1) for c in range(channels)], -1) * scale).astype(dtype)
        for n in range(count)
    ]
