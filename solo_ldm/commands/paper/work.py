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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from solo_ldm.commands.paper.entries import Claim, Point, Registry, Run
from solo_ldm.commands.paper.records import Records, identity
from solo_ldm.files import read_json

_RESULTS, _LOG = "results.json", "log.txt"
_LOOK = 0.1  # seconds between two looks at what runs
_FOR_RUNS = 0.98  # of the budget; the rest is for the start and the page


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


class _Started(NamedTuple):
    task: Task
    process: subprocess.Popen[bytes]
    since: float


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
        self.identities = {name: identity(Path(path)) for name, path in data.items()}
        self._took: dict[str, list[float]] = {}  # minutes of what ended, by run

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
        """Run tasks until the budget ends, none that would not end by then.

        What still runs at its end, or when interrupted, is ended; its command goes on from there.

        Args:
            tasks: in the order in which they are begun.
            minutes: the budget. How long a task takes is told by tasks of its run that ended here,
                or by the registry's minutes and how much faster or slower others were than theirs.
            console: where progress is shown.
        """
        done = Done([], {}, [], self._lacking(tasks))
        without = {task for wanting in done.lacking.values() for task in wanting}
        waiting = [task for task in tasks if task not in without]
        ends = time.monotonic() + 60 * minutes * _FOR_RUNS
        running: list[_Started] = []
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[runs]}"))
        shown = console.is_terminal
        with Progress(*columns, TimeElapsedColumn(), console=console, disable=not shown) as bar:
            line = bar.add_task("runs", total=len(waiting), runs="")
            try:
                while waiting or running:
                    self._begin(waiting, running, done, ends, console)
                    names = ", ".join(one.task.label for one in running)
                    left = len(waiting) + len(running)
                    bar.update(line, runs=names, completed=len(tasks) - len(without) - left)
                    time.sleep(_LOOK)
                    for one in [one for one in running if one.process.poll() is not None]:
                        running.remove(one)
                        self._end(one, done, console)
                    if time.monotonic() > ends:
                        done.left.extend([*(one.task for one in running), *waiting])
                        break
            finally:
                for one in running:
                    one.process.terminate()
                for one in running:
                    one.process.wait()
        return done

    def _lacking(self, tasks: Sequence[Task]) -> dict[str, list[Task]]:
        """Return the tasks that want data which were not given, by the name of the data."""
        found: dict[str, list[Task]] = {}
        for task in tasks:
            for name in self.registry.needs(task.run):
                if name not in self.data:
                    found.setdefault(name, []).append(task)
        return found

    def _begin(
        self,
        waiting: list[Task],
        running: list[_Started],
        done: Done,
        ends: float,
        console: Console,
    ) -> None:
        """Start tasks that wait for no other, as many as may run."""
        while len(running) < self.jobs:
            unfinished = {*waiting, *(one.task for one in running)}
            ready = (task for task in waiting if not self._before(task) & unfinished)
            task = next(ready, None)
            if task is None:
                return
            waiting.remove(task)
            before = self._before(task)
            if before & {*done.failed}:
                self._fail(task, "a run that it reads failed", done, console)
            elif before & {*done.left} or time.monotonic() + self._seconds(task.run) > ends:
                done.left.append(task)
            else:
                running.append(self._started(task))

    def _started(self, task: Task) -> _Started:
        place = self.place(task.run, task.point, task.seed)
        place.mkdir(parents=True, exist_ok=True)
        threads = {"OMP_NUM_THREADS": "1"} if self.jobs > 1 else {}
        with (place / _LOG).open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "solo_ldm.cli", *self.command(task)],
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **threads},
            )
        return _Started(task, process, time.monotonic())

    def _end(self, one: _Started, done: Done, console: Console) -> None:
        """Record what a process left, or say what went wrong."""
        task, minutes = one.task, (time.monotonic() - one.since) / 60
        results = self.results(task.run, task.point, task.seed)
        log = self.place(task.run, task.point, task.seed) / _LOG
        error = None
        if one.process.returncode:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = lines[-1] if lines else "no output"
            error = f"exit code {one.process.returncode}: {last} ({log})"
        elif results is None:
            error = f"expected a {_RESULTS} in {log.parent}, got none ({log})"
        else:
            try:
                found = results_in(results)
                lacking = self.records.keep(
                    task.run, task.point, task.seed, found, minutes, self.identities
                )
                if lacking:
                    error = f"{results / _RESULTS} has no number at {', '.join(lacking)}"
            except ValueError as damaged:
                error = f"{results}: {damaged}"
        if error is not None:
            self._fail(task, error, done, console)
            return
        done.finished.append(task)
        self._took.setdefault(task.run.name, []).append(minutes)
        console.print(f"{task.label}: {minutes:.1f} min", highlight=False, soft_wrap=True)

    def _fail(self, task: Task, why: str, done: Done, console: Console) -> None:
        done.failed[task] = why
        line = f"{task.label}: {why}"
        console.print(line, style="red", highlight=False, soft_wrap=True, markup=False)

    def _before(self, task: Task) -> set[Task]:
        """Return the tasks whose results a task reads."""
        found = set()
        for name in task.run.after:
            run = self.registry.runs[name]
            levels = tuple((axis, level) for axis, level in task.point if axis in run.grid)
            found.add(Task(run, levels, task.seed))
        return found

    def _seconds(self, run: Run) -> float:
        """Return how long a run is expected to take."""
        if run.name in self._took:
            return 60 * statistics.median(self._took[run.name])
        ratios = [
            statistics.median(minutes) / self.registry.runs[name].minutes
            for name, minutes in self._took.items()
        ]
        return 60 * run.minutes * (statistics.median(ratios) if ratios else 1.0)


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
