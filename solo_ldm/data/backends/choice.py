"""Which library reads and augments: DALI where it is installed and fits, else torchvision."""

from __future__ import annotations

import importlib
import importlib.util
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from solo_ldm.data.config import DataConfig
from solo_ldm.data.sources.headers import Kind, probe
from solo_ldm.data.sources.images import FileImages, ImageSource

# Files looked at to tell what a folder holds, and the share of them that DALI should read itself.
_LOOKED_AT = 64
_MOSTLY = 0.5


@dataclass(frozen=True)
class Backend:
    """A backend, ready to make loaders.

    Args:
        library: dali or torchvision.
        device: where images are decoded and augmented.
        loaders: the module with `train_loader` and `evaluation_loader`.
        arguments: what the module's loaders take besides.
        version: of the library.
    """

    library: str
    device: torch.device
    loaders: Any
    arguments: dict[str, Any]
    version: str

    @property
    def name(self) -> str:
        """The backend as results name it."""
        where = "gpu" if self.device.type == "cuda" else "cpu"
        return f"{self.library} {self.version} ({where})"


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
    gpu = data.device == "gpu" or (data.device == "auto" and device.type == "cuda")
    where = (device if device.type == "cuda" else torch.device("cuda")) if gpu else _CPU
    if data.format == "dali":
        if not dali_installed():
            raise ValueError(
                "data.format: dali is asked for, but it is not installed; "
                "pip install 'solo-ldm[dali]' (Linux), or set data.format=torchvision"
            )
        return _dali(where)
    if data.format == "auto" and dali_installed() and _mostly_plain(source):
        return _dali(where)
    import torchvision

    loaders = importlib.import_module("solo_ldm.data.backends.torchvision")
    return Backend("torchvision", _CPU, loaders, {}, torchvision.__version__)


_CPU = torch.device("cpu")


@cache
def dali_installed() -> bool:
    """Say whether DALI can be imported."""
    try:
        return importlib.util.find_spec("nvidia.dali") is not None
    except ModuleNotFoundError:  # not even the namespace that CUDA builds of torch bring
        return False


def usable_cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _dali(device: torch.device) -> Backend:
    import nvidia.dali

    loaders = importlib.import_module("solo_ldm.data.backends.dali.loader")
    return Backend("dali", device, loaders, {"device": device}, nvidia.dali.__version__)


def _mostly_plain(source: ImageSource) -> bool:
    if not isinstance(source, FileImages):
        return True
    spread = np.linspace(0, len(source) - 1, min(_LOOKED_AT, len(source))).astype(int)
    kinds = [probe(source.path(index)).kind for index in spread.tolist()]
    return kinds.count(Kind.UNUSUAL) <= _MOSTLY * len(kinds)
