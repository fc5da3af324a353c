"""Folders to write to, tried before the work."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from omegaconf import OmegaConf

from solo_ldm.config.errors import of_system

# Keys of folders that a command writes to.
PLACES = ("output", "checkpoint.dir", "copy_to")

# Endings of the files that commands write.
_WRITTEN = (".json", ".csv", ".md", ".npy", ".png", ".safetensors")


def check_places(cfg: Any) -> None:
    """Raise a one-line ValueError unless what a configuration writes to can be written to."""
    for key in PLACES:
        path = OmegaConf.select(cfg, key)
        if path is not None:
            check_place(key, path)


def check_place(key: str, path: str | Path) -> None:
    """Raise a one-line ValueError unless a folder, there or to be made, can be written to.

    Nothing is left behind.

    Args:
        key: for the message.
        path: of the folder.
    """
    if path == "" or "\0" in str(path):
        raise ValueError(f"{key}: expected the name of a folder, got {str(path)!r}")
    folder = Path(path).absolute()
    try:
        folder.exists()  # raises where the name is too long
        there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
        if not there.is_dir():
            raise ValueError(
                f"{key}: expected a folder that can be made, got {path}, where {there.name} is a "
                "file; choose another folder"
            )
        with TemporaryFile(dir=there):
            pass
        for one in there.iterdir() if there == folder else ():
            if one.suffix in _WRITTEN and one.is_dir():
                raise ValueError(
                    f"{key}: expected no folder named as a file to write, got {one}; move it away"
                )
    except OSError as error:
        why = "nothing can be made there" if error.errno == errno.ENOENT else of_system(error)
        raise ValueError(
            f"{key}: expected a folder that can be written to, got {path}: {why}"
        ) from None
