"""Images: where they come from, how their views are drawn, and in which order they are seen.

Nothing here imports torch: configurations are checked before it is.
"""

from solo_ldm.data.config import DataConfig, ViewSpec, parse_augmentations
from solo_ldm.data.datasets.registry import DATASETS, load_source
from solo_ldm.data.sources.images import ImageSource, UnreadableImageError

__all__ = [
    "DATASETS",
    "DataConfig",
    "ImageSource",
    "UnreadableImageError",
    "ViewSpec",
    "load_source",
    "parse_augmentations",
]
