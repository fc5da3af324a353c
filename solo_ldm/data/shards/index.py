"""What an index of shards has, and how it is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from solo_ldm.data.sources.folders import some
from solo_ldm.data.sources.parts import Parts
from solo_ldm.files import user_cache, write_atomically

# Of what is kept: files of another version are not read.
_VERSION = 1


class Index(NamedTuple):
    """The images of some shards.

    Args:
        images: where they lie.
        labels: of each, whole numbers or names, None where it has none; None without labels.
        names: of the classes, in the order of their numbers, where the shards say them.
        notices: a line for each thing that was left out or guessed.
        guessed: where the labels are, if nothing says so; "" for labels that are told.
    """

    images: Parts
    labels: list[Any] | None
    names: Sequence[str] | None
    notices: tuple[str, ...]
    guessed: str = ""


def kept(path: Path, about: Sequence[Any], suffix: str, write: Callable[[Path], Any]) -> Path:
    """Return a file in the user's cache that is made from a shard, once.

    Args:
        path: of the shard, known by its place, size and time of change.
        about: what else decides the file, JSON.
        suffix: of the file.
        write: writes it to the path that it is given.
    """
    status = path.stat()
    known = [_VERSION, os.path.realpath(path), status.st_size, status.st_mtime_ns, *about]
    digest = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
    target = user_cache("shards") / f"{path.stem}-{digest}{suffix}"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_file():
                write_atomically(target, write)
    return target


def line_of(error: Exception) -> str:
    """Return the first line of an error's message, or its kind."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def counted(things: Sequence[str], of: int, what: str) -> str:
    """Return a number of things of all, and the first of them."""
    return f"{len(things)} of {of} {what} ({some(things)})"
