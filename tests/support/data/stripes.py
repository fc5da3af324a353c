"""An image data set of a user's own: one module, as those of solo_ldm.data.datasets."""

from __future__ import annotations

import numpy as np

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.base import Dataset, Split, Views, crop_view, masked
from solo_ldm.data.sources.images import Listing


def read(config: DataConfig, split: Split) -> Listing:
    """Horizontal and vertical stripes of 12 pixels with noise."""
    count, generator = {"train": 96, "val": 40}[split], np.random.default_rng(len(split))
    labels = np.arange(count) % 2
    bands = np.where(np.arange(12) // 3 % 2, 200, 50)
    images = np.where(labels[:, None, None] == 0, bands[:, None], bands[None, :])
    images = images + generator.integers(-20, 20, images.shape)
    return Listing(images.astype(np.uint8), labels, ("rows", "columns"))


STRIPES = Dataset(
    read,
    mean=(0.5,) * 3,
    std=(0.3,) * 3,
    views=Views(
        "stripes",
        pretraining=[{"rrc": {"crop_min_scale": 0.7}, "crop_size": 16, "num_crops": 2}],
        linear=crop_view(16, 0.95, flip=False),
        masked=masked(16, patch_size=8),
    ),
    backbone="convnet_small",
)
