"""Images: where they come from, how their views are drawn, and in which order they are seen.

`solo_ldm.data.module` holds the Lightning data module; it is not imported here, because importing
Lightning takes seconds and the configuration is checked before.
"""

from solo_ldm.data.config import (
    DataConfig,
    ViewSpec,
    num_large_crops,
    num_small_crops,
    parse_augmentations,
)
from solo_ldm.data.datasets.registry import DATASETS, load_source
from solo_ldm.data.sources.images import ImageSource, UnreadableImageError

__all__ = [
    "DATASETS",
    "DataConfig",
    "ImageSource",
    "UnreadableImageError",
    "ViewSpec",
    "load_source",
    "num_large_crops",
    "num_small_crops",
    "parse_augmentations",
]
