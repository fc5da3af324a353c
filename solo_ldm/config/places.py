"""Folders to write to, tried before the work."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from omegaconf import OmegaConf

from solo_ldm.config.errors import of_system

# Keys of folders that a command writes to.
PLACES = ("output", "checkpoint.dir", "copy_to", "records")

# Endings of the files that commands write.
_WRITTEN = (".json", ".csv", ".md", ".npy", ".png", ".safetensors")


# Keys that decide where the results lie if output is not given.
_OF_DEFAULTS = (
    "run",
    "pretrained_feature_extractor",
    "data",
    "data.dataset",
    "name",
    "task",
    "mixtures",
)


@dataclass
class Sweep:
    """The job of a sweep that runs, and the folders of results of the jobs before it.

    Args:
        number: of the job.
        varied: its overrides, KEY=VALUE, that the jobs do not share; none outside of sweeps.
        given: whether its overrides name the folder, by output.
        apart: whether jobs run in several processes, which do not know each other's folders.
        folders: of the results.
    """

    number: int = 0
    varied: Sequence[str] = ()
    given: bool = False
    apart: bool = False
    folders: set[Path] = field(default_factory=set)


SWEEP = Sweep()


def results_folder(path: str | Path) -> Path:
    """Return the folder of a command's results, as `check_place` allows it.

    The jobs of a sweep that would share it have folders in it, named by what varies.
    """
    folder = Path(path)
    if SWEEP.varied:
        decides = ("output",) if SWEEP.given else _OF_DEFAULTS
        named = [one for one in SWEEP.varied if one.partition("=")[0] not in decides]
        folder /= re.sub(r"[^\w.=,-]+", "-", re.sub(r"[]['\"]", "", ",".join(named)))[:100]
        if SWEEP.apart or folder in SWEEP.folders:
            folder /= f"job-{SWEEP.number}"
        SWEEP.folders.add(folder)
    check_place("output", folder)
    return folder


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
