"""scikit-learn's 1,797 digits of 8 pixels: a data set without a download, for a CPU's minutes."""

from __future__ import annotations

from typing import Any

import numpy as np

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.base import Dataset, Split, Views, crop_view, masked, moved_views
from solo_ldm.data.sources.images import Listing


def _read(config: DataConfig, split: Split) -> Listing:
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Listing(pixels, digits.target, tuple(str(number) for number in digits.target_names))


def _masked() -> dict[str, Any]:
    """4 × 4 patches and a transformer that a CPU trains in minutes.

    The blocks are coarser than the paper's, as sixteen patches ask; batches are small for as many
    steps as it takes.
    """
    keys = masked(16, patch_size=4, crop=0.6, flip=False)
    keys["backbone"]["kwargs"] |= {"embed_dim": 96, "depth": 4, "num_heads": 3}
    keys["method_kwargs"] = {
        "num_targets": 3,
        "target_scale": [0.12, 0.25],
        "target_aspect": [0.5, 2.0],
        "least_context": 4,
        "pred_embed_dim": 48,
        "pred_depth": 2,
        "pred_num_heads": 3,
    }
    # For 256 samples; 0.001 for a batch.
    keys["optimizer"] = {"batch_size": 16, "lr": 0.016, "classifier_lr": 0.048}
    keys["scheduler"] = {"warmup_epochs": 4}
    keys["max_epochs"] = 40
    return keys


DIGITS = Dataset(
    _read,
    mean=(0.3053,) * 3,
    std=(0.3759,) * 3,
    views=Views(
        "digits",
        pretraining=moved_views(16, 0.8, degrees=10, shear=5),
        # With 8 pixels a side, smaller crops would cut strokes away that tell a 3 from an 8; a
        # mirrored digit is another sign, or none.
        linear=crop_view(16, 0.9, flip=False),
        masked=_masked(),
        # A quarter of 8 pixels a side is no part of a digit; eight, for a CPU's minutes.
        patch_share=0.6,
        num_patches=8,
    ),
    backbone="convnet_small",
    holds_out=lambda config: True,
)
