"""A worker of a comparison that is killed; imports little, as it is spawned."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import Pipe, get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def die_at_seed_1(connection: Any, threads: int) -> None:
    """Answer every run with a result, but be killed as if memory ran out at seed 1."""
    while True:
        try:
            label, seed, *_ = connection.recv()
        except EOFError:
            return
        if seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        known = {"threads": threads, "libraries": os.environ["OPENBLAS_NUM_THREADS"]}
        connection.send(SimpleNamespace(label=label, seed=seed, results=known, finished=True))


def die_before_the_worker(path: Path) -> None:
    """Start a worker that notes its process in a file, and be killed."""
    ours, theirs = Pipe()
    get_context("fork").Process(target=_note_and_serve, args=(path, theirs, ours)).start()
    while not path.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def _note_and_serve(path: Path, connection: Any, *_: Any) -> None:
    from solo_ldm.commands.compare.workers import _serve

    path.with_suffix(".part").write_text(str(os.getpid()))
    path.with_suffix(".part").replace(path)
    _serve(connection, 1)
