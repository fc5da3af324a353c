"""Changes of a zoo's folder: one at a time, and whole even if the process that makes them dies.

A change is prepared in a folder of its own, which is renamed once it is complete; its parts are
then moved into place. What a killed process left is finished or removed by the next one that reads
the manifest.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK, _PREPARING, _COMPLETE = ".lock", ".preparing-", ".complete"
_WEIGHTS, _BEFORE = "weights", "before"
# Moved after the weights; the manifest is the last.
_FILES = ("scores.png", "README.md", "manifest.yaml")
# Moving parts takes a moment, preparing them minutes.
_SECONDS = 60.0


@contextmanager
def change(folder: Path, waiting: Callable[[], None]) -> Iterator[Path]:
    """Yield a folder laid out as the zoo's, and move what it then holds into the zoo.

    Other changes wait meanwhile, so that a manifest that is read here is the one that is replaced.

    Args:
        folder: of the zoo, made if needed.
        waiting: called before it waits for another process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        _finish(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=_PREPARING) as temporary:
            staged = Path(temporary) / "staged"
            staged.mkdir()
            yield staged
            staged.replace(folder / _COMPLETE)
        _finish(folder)
    finally:
        lock.release()


def recover(folder: Path) -> None:
    """Finish or remove what a killed process left, unless it may not be written to."""
    complete = (folder / _COMPLETE).exists()
    if complete or any(folder.glob(f"{_PREPARING}*")):
        # A change that is being prepared by a living process is left alone.
        with suppress(Timeout, OSError), FileLock(folder / _LOCK, timeout=_SECONDS * complete):
            _finish(folder)


def _finish(folder: Path) -> None:
    """Move the parts of a complete change that are not in place yet, and remove the rest."""
    complete = folder / _COMPLETE
    for made in (complete / _WEIGHTS).glob("*"):
        target = folder / _WEIGHTS / made.name
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            target.replace(complete / _BEFORE)
        made.replace(target)
    for name in _FILES:
        if (complete / name).exists():
            (complete / name).replace(folder / name)
    for left in (*folder.glob(f"{_PREPARING}*"), *folder.glob(_COMPLETE)):
        shutil.rmtree(left)
