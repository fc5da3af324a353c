"""Runs of a comparison trained in parallel, independent of one another."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from omegaconf import OmegaConf

from solo_ldm.commands.compare.runs import Result, Run, train
from solo_ldm.commands.compare.waiting import Waiting

# Seconds between looks at runs that are trained elsewhere.
_POLL = 10.0
# Libraries read these when they are loaded: torch's own number says nothing to numpy's and scipy's,
# whose evaluations would take all cores from the other runs.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def train_all(
    waiting: Waiting, jobs: int, starting: Callable[[Run], None] = lambda run: None
) -> Iterator[Result]:
    """Train runs, `jobs` at a time, and yield each result as it comes.

    A single job trains in this process. Several train in worker processes, each with its share of
    torch's threads; if one is killed, only its run fails.

    Args:
        waiting: the runs; those that other processes are training come last.
        jobs: runs at a time.
        starting: called with each run when it starts.
    """
    if jobs > 1 and len(waiting) > 1:
        yield from _train_in_processes(waiting, min(jobs, len(waiting)), starting)
        return
    while waiting:
        taken = waiting.take()
        if taken is None:
            time.sleep(_POLL)
            continue
        if isinstance(taken, Run):
            starting(taken)
            taken = train(taken)
        yield taken
        waiting.done(taken)


class _Worker:
    """A process that trains the runs that it is sent, one after another.

    Args:
        threads: of torch and of the libraries of linear algebra in it.
    """

    def __init__(self, threads: int) -> None:
        context = get_context("spawn")  # a fork would share CUDA's and OpenMP's state
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, threads))
        with _ignoring_interrupts(), _environment(dict.fromkeys(_THREADS, str(threads))):
            self.process.start()
        theirs.close()

    def start(self, run: Run) -> None:
        """Send it a run."""
        self.run, self.busy = run, True
        self.connection.send((run.label, run.seed, OmegaConf.to_container(run.cfg), run.data))

    def result(self) -> Result:
        """Wait for the result of its run."""
        self.busy = False
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            line = f"its process ended {_how(self.process.exitcode)}"
            return Result(self.run.label, self.run.seed, error=line)

    def stop(self) -> None:
        """End the process; a run in progress keeps its last checkpoint."""
        self.connection.close()
        if self.busy:
            self.process.kill()
        self.process.join()


def _train_in_processes(
    waiting: Waiting, jobs: int, starting: Callable[[Run], None]
) -> Iterator[Result]:
    threads = max(1, torch.get_num_threads() // jobs)
    busy: dict[Any, _Worker] = {}
    idle: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                taken = waiting.take()
                if taken is None:
                    break
                if isinstance(taken, Result):
                    yield taken
                    continue
                worker = idle.pop() if idle else _Worker(threads)
                starting(taken)
                worker.start(taken)
                busy[worker.connection] = worker
            if not busy:
                time.sleep(_POLL if waiting else 0)
            # Runs that are trained elsewhere may have ended in the meantime.
            for connection in wait(list(busy), _POLL if waiting else None) if busy else ():
                worker = busy.pop(connection)
                result = worker.result()
                if worker.process.exitcode is None and waiting:
                    idle.append(worker)
                else:
                    worker.stop()
                yield result
                waiting.done(result)
    finally:
        for worker in (*busy.values(), *idle):
            worker.stop()


def _serve(connection: Connection, threads: int) -> None:
    """Train the runs that arrive until the other end closes, or its process is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    while True:
        try:
            label, seed, cfg, data = connection.recv()
        except EOFError:
            return
        created: Any = OmegaConf.create(cfg)
        connection.send(train(Run(label, seed, created, data)))


def _end_with_parent() -> None:
    """End the process when the comparison is killed: the next one continues the same run."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for the processes that start meanwhile."""
    before = {key: os.environ.pop(key, None) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            del os.environ[key]
            if value is not None:
                os.environ[key] = value


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Let a process that starts inherit that Ctrl-C is ignored.

    Ctrl-C reaches every process of a terminal; the comparison itself ends the workers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _how(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        memory = ", often because memory ran out" if name == "SIGKILL" else ""
        return f"by {name}{memory}"
    return f"with exit code {exitcode}"
