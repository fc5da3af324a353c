"""Runs of a comparison trained in parallel, in processes or as jobs of a launcher of Hydra's."""

from __future__ import annotations

import copy
import os
import re
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from itertools import count
from multiprocessing import set_start_method
from typing import Any, TypeAlias

import torch
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from joblib.externals.loky import ProcessPoolExecutor
from omegaconf import open_dict, read_write

from solo_ldm.commands.compare.runs import Result, Run
from solo_ldm.commands.compare.waiting import Waiting, train_alone
from solo_ldm.config.errors import one_line
from solo_ldm.config.interruption import handlers_kept
from solo_ldm.config.places import SWEEP

# Starts the training of a run. The future's result is None if another comparison trains the run.
Submit: TypeAlias = Callable[[Run], "Future[Result | None]"]

# Hydra's own trains in this process; what joblib's does, jobs=N does, and loses one run at a time.
_OURS = ("BasicLauncher", "JoblibLauncher")

# Seconds between looks at runs that are trained elsewhere.
_POLL = 10.0
# Libraries read these when they are loaded: torch's own number says nothing to numpy's and scipy's,
# whose evaluations would take all cores from the other runs.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def train_all(
    waiting: Waiting,
    jobs: int,
    starting: Callable[[Run], None] = lambda run: None,
    launch: Submit | None = None,
) -> Iterator[Result]:
    """Train runs, `jobs` at a time, and yield each result as it comes.

    A single job trains in this process. Several train in joblib's worker processes, each with its
    share of torch's threads; if one is killed, only its run fails.

    Args:
        waiting: the runs; those that other processes are training come last.
        jobs: runs at a time.
        starting: called with each run when it starts.
        launch: starts a run elsewhere, instead.
    """
    engine: AbstractContextManager[Submit] = nullcontext(launch or _here)
    if launch is None and jobs > 1 and len(waiting) > 1:
        engine = _in_processes(jobs := min(jobs, len(waiting)))
    busy: dict[Future[Result | None], Run] = {}
    with engine as submit:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                taken = waiting.take()
                if taken is None:
                    break
                if isinstance(taken, Result):
                    yield taken
                    continue
                starting(taken)
                busy[submit(taken)] = taken
            if not busy:
                time.sleep(_POLL if waiting else 0)
                continue
            # Runs that are trained elsewhere may have ended in the meantime.
            for future in wait(busy, _POLL if waiting else None, FIRST_COMPLETED).done:
                run = busy.pop(future)
                try:
                    result = future.result()
                except BrokenExecutor as error:
                    result = Result(run.label, run.seed, error=_how(error))
                if result is None:
                    waiting.put_back(run)
                else:
                    yield result


def _here(run: Run) -> Future[Result | None]:
    future: Future[Result | None] = Future()
    future.set_result(train_alone(run))
    return future


@contextmanager
def _in_processes(jobs: int) -> Iterator[Submit]:
    """Train each run in one of several processes, and end them all in the end.

    Each process is the only one of its executor: an executor fails all that its processes do when
    one of them is killed.
    """
    threads = max(1, torch.get_num_threads() // jobs)
    last: dict[ProcessPoolExecutor, Future[Result | None]] = {}

    def submit(run: Run) -> Future[Result | None]:
        idle = [one for one, future in last.items() if future.done() and not future.exception()]
        executor = idle[0] if idle else _executor(threads)
        with _ignoring_signals():
            last[executor] = executor.submit(train_alone, run)
        return last[executor]

    try:
        yield submit
    finally:
        for executor in last:  # a run in progress keeps its last checkpoint
            executor.shutdown(kill_workers=True)


def _executor(threads: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=1,
        timeout=30,  # seconds after which an idle process ends
        env=dict.fromkeys(_THREADS, str(threads)),
        initializer=_prepare,
        initargs=(threads, os.getpid()),
    )


def _prepare(threads: int, comparison: int) -> None:
    """Begin a worker process.

    Args:
        threads: of torch.
        comparison: process that has started this one.
    """
    torch.set_num_threads(threads)
    set_start_method(None, force=True)  # the usual one: joblib's starts no loaders
    threading.Thread(target=_end_with, args=(comparison,), daemon=True).start()


def _end_with(process: int) -> None:
    """End this process when the comparison is killed: the next one continues the same run."""
    while os.getppid() == process:
        time.sleep(0.5)
    os._exit(1)


@contextmanager
def _ignoring_signals() -> Iterator[None]:
    """Let a process that starts inherit that Ctrl-C and Slurm's SIGUSR1 are ignored.

    Both reach every process of a terminal, or a job; the comparison itself ends the workers.
    """
    with handlers_kept() as before:
        for number in before:
            if number != signal.SIGTERM:
                signal.signal(number, signal.SIG_IGN)
        yield


def _how(error: BrokenExecutor) -> str:
    """Say how a worker process ended."""
    found = re.search(r"\{(\w+)\((-?\d+)\)", str(error))
    if found is None:
        return f"its process ended: {str(error).partition('.')[0]}"
    name, code = found.groups()
    if not name.startswith("SIG"):
        return f"its process ended with exit code {code}"
    memory = ", often because memory ran out" if name == "SIGKILL" else ""
    return f"its process ended by {name}{memory}"


def launch_elsewhere(output: str) -> Submit | None:
    """Return what starts a run as a job of the launcher that the command names.

    Each run is a launch of its own, so that results come one by one and a job that is lost loses no
    other. A launcher blocks until its jobs have ended, hence a thread for each.

    Args:
        output: folder for what the launcher writes.

    Returns:
        None where the command names none, in a sweep, whose jobs are launched themselves, and
        outside of commands.
    """
    if not HydraConfig.initialized() or SWEEP.apart:
        return None
    named = HydraConfig.get().launcher
    if named.get("n_jobs", -1) != -1:
        raise ValueError(f"hydra.launcher.n_jobs: give jobs={named.n_jobs}, for every launcher")
    if named._target_.endswith(_OURS):
        return None
    if named._target_.endswith("RayLauncher"):  # else every thread would start a cluster
        import_module("hydra_plugins.hydra_ray_launcher._launcher_util").start_ray(named.ray.init)
    hydra: Any = GlobalHydra.instance().hydra
    config: Any = copy.deepcopy(HydraConfig.instance().cfg)
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = output
    overrides = list(config.hydra.overrides.task)
    context, numbers = HydraContext(hydra.config_loader, Callbacks()), count()

    def submit(run: Run) -> Future[Result | None]:
        future: Future[Result | None] = Future()
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=partial(_job, run), config=config
        )
        given = (launcher, overrides, next(numbers), run, future)
        # No thread of a pool: these are waited for when the command ends.
        threading.Thread(target=_launch, args=given, daemon=True).start()
        return future

    return submit


def _launch(
    launcher: Launcher, overrides: list[str], number: int, run: Run, future: Future[Result | None]
) -> None:
    try:
        future.set_result(launcher.launch([overrides], number)[0].return_value)
    except Exception as error:
        line, kind = one_line(error)[:300], type(error)
        if kind.__module__ == "builtins" or "Submission" in kind.__name__:
            future.set_exception(ValueError(f"hydra/launcher: no job could be started: {line}"))
            return
        # What libraries raise where a job was started, and has not ended well.
        line, trace = f"its job was lost: {line}", traceback.format_exc()
        future.set_result(Result(run.label, run.seed, error=line, trace=trace))


def _job(run: Run, cfg: Any) -> Result | None:
    """Do the work of a job; its configuration is the comparison's."""
    return train_alone(run)
