"""Simulated clips of a moving dot, labelled by its direction: images whose channels are frames."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.base import Dataset, Split, Views, crop_view, masked
from solo_ldm.data.sources.images import Listing

_CLIPS, _FRAMES, _SIDE, _DIRECTIONS = 2400, 8, 16, 8
# Pixels a frame, pixels of the Gaussian, and the deviation of the noise, of 255.
_SLOWEST, _FASTEST, _RADIUS, _NOISE = 0.5, 1.5, 1.25, 20.0


def clips(frames: int = _FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Simulate the clips, always the same ones.

    A Gaussian dot starts anywhere and moves evenly, at 0.5 to 1.5 pixels a frame, on a torus, so
    that no place of it tells where it goes. Its direction is one of eight.

    Args:
        frames: T of each clip.

    Returns:
        Pixels (N, H, W, T), uint8, and directions (N,).
    """
    generator = np.random.default_rng(0)
    label = np.arange(_CLIPS) % _DIRECTIONS
    angle = 2.0 * math.pi * label / _DIRECTIONS
    speed = generator.uniform(_SLOWEST, _FASTEST, _CLIPS)
    start = generator.uniform(0.0, _SIDE, (_CLIPS, 2))
    step = speed[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    place = start[:, None] + np.arange(frames)[:, None] * step[:, None]
    apart = np.abs(np.arange(_SIDE) - (place % _SIDE)[..., None])
    apart = np.minimum(apart, _SIDE - apart)
    rows, columns = np.moveaxis(np.exp(-0.5 * (apart / _RADIUS) ** 2), 2, 0)
    values = 200.0 * np.einsum("ntr,ntc->nrct", rows, columns)
    values += _NOISE * np.abs(generator.standard_normal(values.shape))
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8), label


def _read(config: DataConfig, split: Split) -> Listing:
    names = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
    return Listing(*clips(config.channels or 3), names)


def _masked() -> dict[str, Any]:
    """4 × 4 patches of 4 pixels and, of two frames each, 4 times: a CPU trains them in minutes."""
    keys = masked(_SIDE, patch_size=4, crop=0.8, flip=False)
    keys["backbone"]["kwargs"] |= {"embed_dim": 64, "depth": 3, "num_heads": 2}
    keys["method_kwargs"] = {
        # Of 16 patches, where the paper has 196.
        "range_scales": [0.15, 0.5],
        "range_shares": [0.5, 0.75],
        "target_scale": [0.12, 0.25],
        "target_aspect": [0.5, 2.0],
        "least_context": 4,
        "pred_embed_dim": 32,
        "pred_depth": 2,
        "pred_num_heads": 2,
    }
    keys["optimizer"] = {"batch_size": 32, "lr": 0.016, "classifier_lr": 0.048}
    keys["scheduler"] = {"warmup_epochs": 2}
    keys["max_epochs"] = 30
    return keys


MOVING_DOTS = Dataset(
    _read,
    # Of three frames; of more they are measured.
    mean=(0.108,) * 3,
    std=(0.119,) * 3,
    views=Views(
        "moving_dots",
        # A flip or a turn is another direction.
        pretraining=[{**crop_view(_SIDE, 0.8, flip=False)[0], "num_crops": 2}],
        linear=crop_view(_SIDE, 0.9, flip=False),
        masked=_masked(),
    ),
    backbone="convnet_small",
    paths={"channels": _FRAMES},
    holds_out=lambda config: True,
)
