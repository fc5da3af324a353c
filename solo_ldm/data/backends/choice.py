"""Which library reads and augments: DALI where it is installed and fits, else torchvision."""

from __future__ import annotations

import importlib.util
from functools import cache

import numpy as np
import torch

from solo_ldm.data.backends.base import Backend
from solo_ldm.data.config import DataConfig
from solo_ldm.data.sources.headers import Kind, probe
from solo_ldm.data.sources.images import ArrayImages, FileImages, ImageSource

# Files probed to tell what a folder holds, and the share of them that DALI should read itself.
_PROBED = 64
_MOSTLY = 0.5


def choose_backend(data: DataConfig, source: ImageSource, device: torch.device) -> Backend:
    """Choose the backend that a configuration, a source and a machine allow.

    `auto` takes DALI where it is installed and can read most of the images by itself.

    Args:
        data: `format` and `device` are used.
        source: of the images.
        device: that the model trains on.

    Raises:
        ValueError: DALI is asked for but is not installed, or a GPU where there is none.
    """
    if data.device == "gpu" and not torch.cuda.is_available():
        raise ValueError("data.device: gpu is asked for, but there is none; set data.device=cpu")
    if data.format == "dali" and not dali_installed():
        raise ValueError(
            "data.format: dali is asked for, but it is not installed; "
            "pip install 'solo-ldm[dali]' (Linux), or set data.format=torchvision"
        )
    if data.format == "dali" or (
        data.format == "auto" and dali_installed() and _mostly_plain(source)
    ):
        from solo_ldm.data.backends.dali.loader import DaliBackend

        on_gpu = data.device == "gpu" or (data.device == "auto" and device.type == "cuda")
        if not on_gpu:
            return DaliBackend(torch.device("cpu"))
        return DaliBackend(device if device.type == "cuda" else torch.device("cuda"))
    from solo_ldm.data.backends.torchvision import TorchvisionBackend

    return TorchvisionBackend()


@cache
def dali_installed() -> bool:
    """Whether DALI can be imported."""
    try:
        return importlib.util.find_spec("nvidia.dali") is not None
    except ModuleNotFoundError:  # not even the namespace that CUDA builds of torch bring
        return False


def _mostly_plain(source: ImageSource) -> bool:
    if not isinstance(source, FileImages):
        return isinstance(source, ArrayImages)
    if source.num_channels != 3:
        return False
    spread = np.linspace(0, len(source) - 1, min(_PROBED, len(source))).astype(int)
    kinds = [probe(source.place(index)).kind for index in spread.tolist()]
    return kinds.count(Kind.UNUSUAL) <= _MOSTLY * len(kinds)
