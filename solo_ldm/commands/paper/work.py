"""Run what is not recorded yet, as processes of their own, within a budget of minutes."""

from __future__ import annotations

import csv
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from solo_ldm.commands.paper.entries import Claim, Point, Registry, Run
from solo_ldm.commands.paper.records import Records
from solo_ldm.files import read_json

_RESULTS = "results.json"


@dataclass(frozen=True)
class Task:
    """A run at one seed and one point of its grid."""

    run: Run
    point: Point
    seed: int

    @property
    def label(self) -> str:
        """The task in words."""
        levels = " ".join(level for _, level in self.point)
        return " ".join(filter(None, (self.run.name, levels, f"seed {self.seed}")))


@dataclass(frozen=True)
class Done:
    """What was done.

    Args:
        finished: tasks with a record now.
        failed: with the last line that their command printed.
        left: tasks that the budget left out.
        lacking: data that were not given, and the tasks that want them.
    """

    finished: list[Task]
    failed: dict[Task, str]
    left: list[Task]
    lacking: dict[str, list[Task]]


class Worker:
    """Runs tasks.

    Args:
        registry: of the runs.
        records: where finished ones are recorded.
        folder: for the results of the runs.
        data: paths that the user gave, by name.
        jobs: processes at a time, with a thread each.
    """

    def __init__(
        self,
        registry: Registry,
        records: Records,
        folder: Path,
        data: Mapping[str, str],
        jobs: int,
    ) -> None:
        self.registry, self.records, self.folder = registry, records, folder
        self.data, self.jobs = data, jobs

    def tasks(self, claims: Sequence[Claim]) -> list[Task]:
        """Return what is not recorded: the first seed of all claims, then the second of all, …

        A run whose results another reads is there too if they are not on this machine.
        """
        runs = {run.name: run for claim in claims for run in self.registry.runs_of(claim)}
        most = max((run.seeds for run in runs.values()), default=0)
        found: dict[Task, None] = {}
        for seed in range(most):
            for run in runs.values():
                if run.records or seed >= run.seeds:
                    continue
                for point in run.points():
                    if not self.records.complete(run, point, seed):
                        for task in self._chain(run, point, seed):
                            found.setdefault(task)
        return list(found)

    def _chain(self, run: Run, point: Point, seed: int) -> Iterator[Task]:
        """Give the runs whose folders a run reads and that are not here, then the run itself."""
        for name in run.after:
            before = self.registry.runs[name]
            levels = tuple((axis, level) for axis, level in point if axis in before.grid)
            if self.results(before, levels, seed) is None:
                yield from self._chain(before, levels, seed)
        yield Task(run, point, seed)

    def place(self, run: Run, point: Point, seed: int) -> Path:
        """Return the folder that a run's command is given."""
        return self.folder / self.records.path(run, point, seed).stem

    def results(self, run: Run, point: Point, seed: int) -> Path | None:
        """Return the folder with a run's results on this machine, or None."""
        place = self.place(run, point, seed)
        # Of a command that makes several runs, its own results are the last.
        found = sorted(
            place.rglob(_RESULTS), key=lambda path: (len(path.parts), -path.stat().st_mtime)
        )
        return found[0].parent if found else None

    def command(self, task: Task) -> list[str]:
        """Return the arguments of `solo-ldm` for a task."""
        run, point = task.run, dict(task.point)
        before = {}
        for name in run.after:
            other = self.registry.runs[name]
            levels = tuple((axis, level) for axis, level in task.point if axis in other.grid)
            before[name] = self.results(other, levels, task.seed)
        place = self.place(run, task.point, task.seed)
        return [
            word.format(seed=task.seed, folder=place, run=before, data=self.data, **point)
            for word in shlex.split(run.command)
        ]

    def work(self, tasks: Sequence[Task], minutes: float, console: Console) -> Done:
        """Run tasks, none that would end after the budget.

        Args:
            tasks: in the order in which they are begun.
            minutes: the budget. How long a task takes is told by tasks of its run that ended here,
                or by the registry's minutes and how much faster or slower others were than theirs.
            console: where progress is shown.
        """
        lacking: dict[str, list[Task]] = {}
        for task in tasks:
            for name in self.registry.needs(task.run):
                if name not in self.data:
                    lacking.setdefault(name, []).append(task)
        without = {task for wanting in lacking.values() for task in wanting}
        waiting = [task for task in tasks if task not in without]
        done = Done([], {}, [], lacking)
        ends = time.monotonic() + 60 * minutes
        took: dict[str, list[float]] = {}
        running: dict[Future[tuple[str | None, float]], Task] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[runs]}"))
        shown = console.is_terminal
        with (
            ThreadPoolExecutor(self.jobs) as pool,
            Progress(*columns, TimeElapsedColumn(), console=console, disable=not shown) as bar,
        ):
            line = bar.add_task("runs", total=len(waiting), runs="")
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    task = self._next(waiting, running)
                    if task is None:
                        break
                    waiting.remove(task)
                    before = self._before(task)
                    late = time.monotonic() + 60 * self._expected(task.run, took) > ends
                    if late or before & {*done.left}:
                        done.left.append(task)
                        bar.advance(line)
                        continue
                    if before & {*done.failed}:
                        done.failed[task] = "a run that it reads failed"
                        bar.advance(line)
                        continue
                    running[pool.submit(self._one, task)] = task
                bar.update(line, runs=", ".join(task.label for task in running.values()))
                if not running:
                    continue
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    task = running.pop(future)
                    error, spent = future.result()
                    if error is None:
                        done.finished.append(task)
                        took.setdefault(task.run.name, []).append(spent)
                    else:
                        done.failed[task] = error
                    bar.advance(line)
                    text = f"{task.label}: {error or f'{spent:.1f} min'}"
                    console.print(
                        text, style="red" if error else "", highlight=False, soft_wrap=True
                    )
        return done

    def _next(self, waiting: list[Task], running: Mapping[Any, Task]) -> Task | None:
        """Return the first task that waits for no other; None where all do."""
        unfinished = {*waiting, *running.values()}
        return next((task for task in waiting if not self._before(task) & unfinished), None)

    def _before(self, task: Task) -> set[Task]:
        found = set()
        for name in task.run.after:
            run = self.registry.runs[name]
            levels = tuple((axis, level) for axis, level in task.point if axis in run.grid)
            found.add(Task(run, levels, task.seed))
        return found

    def _expected(self, run: Run, took: Mapping[str, list[float]]) -> float:
        if run.name in took:
            return statistics.median(took[run.name])
        ratios = [
            statistics.fmean(spent) / self.registry.runs[name].minutes
            for name, spent in took.items()
        ]
        return run.minutes * (statistics.median(ratios) if ratios else 1.0)

    def _one(self, task: Task) -> tuple[str | None, float]:
        """Run a task in a process; return what went wrong, if anything, and the minutes."""
        started = time.monotonic()
        place = self.place(task.run, task.point, task.seed)
        place.mkdir(parents=True, exist_ok=True)
        log = place / "log.txt"
        threads = {"OMP_NUM_THREADS": "1"} if self.jobs > 1 else {}
        try:
            words = self.command(task)
        except (KeyError, IndexError) as error:
            return f"{task.run.command}: no {error} is known", 0.0
        with log.open("w", encoding="utf-8") as stream:
            code = subprocess.run(
                [sys.executable, "-m", "solo_ldm.cli", *words],
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **threads},
                check=False,
            ).returncode
        spent = (time.monotonic() - started) / 60
        results = self.results(task.run, task.point, task.seed)
        if code or results is None:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return f"exit code {code}: {lines[-1] if lines else 'no output'} ({log})", spent
        lacking = self.records.keep(task.run, task.point, task.seed, results_in(results), spent)
        what = f"{results / _RESULTS} has no number at {', '.join(lacking)}" if lacking else None
        return what, spent


def results_in(folder: Path) -> dict[str, Any]:
    """Return results.json of a folder, with the rows of its CSV files as `tables`."""
    tables = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            tables[path.stem] = [{key: _value(text) for key, text in row.items()} for row in rows]
    return {**read_json(folder / _RESULTS), "tables": tables}


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
