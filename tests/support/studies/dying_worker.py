"""Workers of a comparison that are killed, or left alone; imports little, as they are spawned."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_THREADS: list[int] = []


def prepare(threads: int, comparison: int) -> None:
    """Note what a worker is told."""
    _THREADS.append(threads)


def die_at_seed_1(run: Any) -> Any:
    """Give a result, but be killed as if memory ran out at seed 1."""
    if run.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    known = {
        "threads": _THREADS,
        "libraries": os.environ["OPENBLAS_NUM_THREADS"],
        "pid": os.getpid(),
        "ignores": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    }
    return SimpleNamespace(label=run.label, seed=run.seed, results=known, finished=True)


def die_before_the_worker(path: Path) -> None:
    """Start a worker that notes its process in a file, and be killed."""
    get_context("fork").Process(target=_note_and_work, args=(path, os.getpid())).start()
    while not path.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def _note_and_work(path: Path, comparison: int) -> None:
    from solo_ldm.commands.compare.workers import _prepare

    _prepare(1, comparison)
    path.with_suffix(".part").write_text(str(os.getpid()))
    path.with_suffix(".part").replace(path)
    time.sleep(600)
