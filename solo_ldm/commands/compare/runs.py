"""The runs of a comparison: found, continued or trained, in parallel and independent of others."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.config.errors import one_line
from solo_ldm.files import read_json
from solo_ldm.run.data_identity import DataIdentity
from solo_ldm.run.folder import RunFolder, find_finished

# Libraries read these when they are loaded: torch's own number says nothing to numpy's and scipy's,
# whose evaluations would take all cores from the other runs.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    """A method with a seed.

    Args:
        label: the method's name in the comparison.
        seed: of the run.
        cfg: its completed configuration.
        data: that a finished run must have been trained on; None does not compare them.
    """

    label: str
    seed: int
    cfg: DictConfig
    data: DataIdentity | None = None

    @property
    def protocols(self) -> set[str]:
        """Names of the scores that it must have."""
        return set(self.cfg.evaluation.protocols)


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Args:
        label: the method's name in the comparison.
        seed: of the run.
        path: its folder or its record; None if it failed.
        results: the content of its results.json; empty if it failed.
        error: in one line, why it failed.
        trace: of the error.
        seconds: wall-clock time that the comparison spent on it, evaluation included.
    """

    label: str
    seed: int
    path: str | None = None
    results: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    trace: str | None = None
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether the run has scores."""
        return self.error is None

    @property
    def health(self) -> dict[str, float]:
        """Measures of its latents at the end, as far as there are."""
        return self.results.get("health", {})

    def top1(self, protocol: str) -> float:
        """Return its score, 0 to 1."""
        return float(self.results["results"][protocol]["top1"])

    def untrained_top1(self, protocol: str) -> float | None:
        """Return the score of its network before training; None where it was not measured."""
        return self.results["results"][protocol].get("untrained_top1")


def find_result(run: Run) -> Result | None:
    """Return the result of a finished run of the same configuration that has all scores."""

    def scored(folder: RunFolder) -> bool:
        return run.protocols <= set(_read(folder)["results"])

    folder = find_finished(run.cfg, scored, run.data)
    return None if folder is None else Result(run.label, run.seed, str(folder.path), _read(folder))


def train(run: Run) -> Result:
    """Train and score a run, or continue it; an error becomes its result.

    Warnings are not shown: a collapse, which they report, is seen in the results.
    """
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = pretrain(run.cfg, Console(quiet=True))
    except Exception as error:
        line = one_line(error)
        if not isinstance(error, (ValueError, FileNotFoundError)):
            line = f"{type(error).__name__}: {line}"
        return Result(run.label, run.seed, error=line, trace=traceback.format_exc())
    if outcome is None:  # Lightning stops at Ctrl-C without raising it
        raise KeyboardInterrupt
    seconds = time.perf_counter() - started
    return Result(run.label, run.seed, str(outcome.folder.path), outcome.results, seconds=seconds)


def train_all(
    runs: Sequence[Run], jobs: int, starting: Callable[[Run], None] = lambda run: None
) -> Iterator[Result]:
    """Train runs, `jobs` at a time, and yield each result as it comes.

    A single job trains in this process. Several train in worker processes, each with its share of
    torch's threads; if one is killed, only its run fails.

    Args:
        runs: in the order to start them.
        jobs: runs at a time.
        starting: called with each run when it starts.
    """
    if jobs > 1 and len(runs) > 1:
        yield from _train_in_processes(deque(runs), min(jobs, len(runs)), starting)
        return
    for run in runs:
        starting(run)
        yield train(run)


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
        self.connection.send((run.label, run.seed, OmegaConf.to_container(run.cfg)))

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
    waiting: deque[Run], jobs: int, starting: Callable[[Run], None]
) -> Iterator[Result]:
    threads = max(1, torch.get_num_threads() // jobs)
    workers: dict[Any, _Worker] = {}

    def begin(worker: _Worker) -> None:
        starting(waiting[0])
        worker.start(waiting.popleft())
        workers[worker.connection] = worker

    try:
        for _ in range(jobs):
            begin(_Worker(threads))
        while workers:
            for connection in wait(list(workers)):
                worker = workers[connection]
                result = worker.result()
                if worker.process.exitcode is not None or not waiting:
                    workers.pop(connection).stop()
                if waiting:
                    begin(worker if connection in workers else _Worker(threads))
                yield result
    finally:
        for worker in workers.values():
            worker.stop()


def _serve(connection: Connection, threads: int) -> None:
    """Train the runs that arrive until the other end closes."""
    torch.set_num_threads(threads)
    while True:
        try:
            label, seed, cfg = connection.recv()
        except EOFError:
            return
        created: Any = OmegaConf.create(cfg)
        connection.send(train(Run(label, seed, created)))


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


def _read(folder: RunFolder) -> dict[str, Any]:
    return read_json(folder.results)
