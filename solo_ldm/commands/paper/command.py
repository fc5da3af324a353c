"""`solo-ldm paper list | run | report`."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console
from rich.table import Table
from rich.text import Text

from solo_ldm.commands.paper.entries import Claim, Registry
from solo_ldm.commands.paper.reading import load_registry
from solo_ldm.commands.paper.records import Records
from solo_ldm.commands.paper.report import check_folder, write_report
from solo_ldm.commands.paper.verdicts import Judgement, judge, judge_all
from solo_ldm.commands.paper.work import Done, Worker
from solo_ldm.config.errors import Parser, printing
from solo_ldm.config.places import check_place
from solo_ldm.config.suggestions import suggestion
from solo_ldm.run.console import plain_console

_FOLDER, _RUNS = "docs/paper", "trained_models/paper"


def command(
    argv: Sequence[str], console: Console | None = None, registry: Registry | None = None
) -> int:
    """Do what the command line after `solo-ldm paper` says; 1 where a run failed."""
    given = _parser().parse_args(argv)
    given.again = shlex.join(["solo-ldm", "paper", *argv])
    check_place("--folder", given.folder)
    check_place("--runs", given.runs)
    check_folder(given.folder)
    with printing():
        return given.work(given, registry or load_registry(), plain_console(console))


def _parser() -> argparse.ArgumentParser:
    parser = Parser("solo-ldm paper", description="The paper's claims, each with a verdict.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, help: str, work: Any) -> Any:
        one = commands.add_parser(name, help=help, description=help)
        one.set_defaults(work=work)
        one.add_argument("names", nargs="*", metavar="NAME", help="of claims; all if none")
        one.add_argument(
            "--folder",
            type=Path,
            default=Path(_FOLDER),
            help=f"of records and figures; the page is beside it (default: {_FOLDER}). Another "
            "one measures everything again",
        )
        one.add_argument(
            "--runs", type=Path, default=Path(_RUNS), help=f"of the runs (default: {_RUNS})"
        )
        return one.add_argument

    add("list", "the claims, what is recorded and how long the rest takes", _list)
    add("report", "write the page from the records", _report)
    argument = add("run", "measure what is not recorded, and write the page", _run)
    argument("--budget", type=minutes, default=60.0, metavar="MINUTES", help="default: 60")
    argument("--jobs", type=number, default=os.cpu_count() or 1, help="processes at a time")
    argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="data that claims ask for: cifar10-jpeg=FOLDER, linear_track=FILE, hc-11=FILE",
    )
    argument("--seeds", type=number, default=None, help="at most so many of each run")
    return parser


def minutes(text: str) -> float:
    """Return a budget, for argparse."""
    if not float(text) > 0:
        raise argparse.ArgumentTypeError(f"expected minutes above zero, got {text}")
    return float(text)


def number(text: str) -> int:
    """Return a count, for argparse."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return int(text)


def _claims(given: Any, registry: Registry) -> list[Claim]:
    for name in given.names:
        if name not in registry.claims:
            nearest = suggestion(name, list(registry.claims))
            raise ValueError(
                f"unknown claim {name}: expected one of {', '.join(registry.claims)}{nearest}"
            )
    return [registry.claims[name] for name in given.names or registry.claims]


def _data(given: Any, registry: Registry) -> dict[str, str]:
    wanted = sorted({name for run in registry.runs.values() for name in run.needs})
    found = {}
    for text in given.data:
        name, _, path = text.partition("=")
        if name not in wanted or not path:
            raise ValueError(f"--data: expected NAME=PATH of {', '.join(wanted)}, got {text}")
        if not Path(path).expanduser().exists():
            raise FileNotFoundError(f"--data: {path} is not there; expected {name}")
        found[name] = str(Path(path).expanduser().resolve())
    return found


def _list(given: Any, registry: Registry, console: Console) -> int:
    records = Records(given.folder / "records", registry)
    worker = Worker(registry, records, given.runs, {}, 1)
    table = Table("claim", "figure", "verdict", "to measure", box=None, pad_edge=False)
    for claim in _claims(given, registry):
        left = worker.tasks([claim])
        needed = sum(task.run.minutes for task in left)
        lacking = sorted({name for task in left for name in registry.needs(task.run)})
        wants = f", --data {' '.join(f'{name}=…' for name in lacking)}" if lacking else ""
        rest = f"{_runs(len(left))}, {needed:.1f} core minutes{wants}" if left else "nothing"
        absent = [
            run.records for run in registry.runs_of(claim) if run.records and not records.seeds(run)
        ]
        if absent:
            rest = f"no records in {', '.join(absent)}, which a checkout has"
        table.add_row(claim.name, claim.figure, judge(claim, records).verdict, rest)
    console.print(table)
    return 0


def _report(given: Any, registry: Registry, console: Console) -> int:
    records = Records(given.folder / "records", registry)
    _written(given, registry, records, Worker(registry, records, given.runs, {}, 1), console)
    return 0


def _run(given: Any, registry: Registry, console: Console) -> int:
    records = Records(given.folder / "records", registry)
    worker = Worker(registry, records, given.runs, _data(given, registry), given.jobs)
    records.check_data(worker.identities)
    tasks = worker.tasks(_claims(given, registry))
    if given.seeds is not None:
        tasks = [task for task in tasks if task.seed < given.seeds]
    able = [task for task in tasks if not {*registry.needs(task.run)} - worker.data.keys()]
    needed = sum(task.run.minutes for task in able) / given.jobs
    console.print(
        f"{_runs(len(able))} to do, about {needed:.1f} minutes by {given.jobs} at a time; the "
        f"budget is {given.budget:g}",
        highlight=False,
        soft_wrap=True,
    )
    given.runs.mkdir(parents=True, exist_ok=True)
    lock = FileLock(given.runs / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"--runs: expected a folder in which nothing runs, got {given.runs}, in which another "
            "solo-ldm paper does; wait for it, or name another folder"
        ) from None
    try:
        done = worker.work(tasks, given.budget, console)
    finally:  # of what is recorded, also after an interruption
        lock.release()
        _written(given, registry, records, worker, console)
    if able and not done.finished and not done.failed and done.left == able:
        shortest = min(task.run.minutes for task in able)
        console.print(
            f"nothing was begun: the shortest run takes about {shortest:g} minutes; raise --budget",
            style="yellow",
        )
    _say_what_is_left(done, given, console)
    return 1 if done.failed else 0


def _written(
    given: Any, registry: Registry, records: Records, worker: Worker, console: Console
) -> None:
    judgements = judge_all(registry, records)
    page = write_report(given.folder, registry, records, judgements, worker)
    chosen = {claim.name for claim in _claims(given, registry)}
    console.print(_table([one for one in judgements if one.claim.name in chosen]))
    console.print(f"in {page} and {given.folder}", soft_wrap=True, highlight=False)


def _table(judgements: Sequence[Judgement]) -> Table:
    table = Table("figure", "claim", "verdict", box=None, pad_edge=False)
    for one in judgements:
        table.add_row(one.claim.figure, Text(one.claim.claim), one.verdict)
    return table


def _say_what_is_left(done: Done, given: Any, console: Console) -> None:
    for name, tasks in done.lacking.items():
        runs = ", ".join(sorted({task.run.name for task in tasks}))
        line = f"{_runs(len(tasks))} of {runs} want --data {name}=PATH"
        console.print(line, style="yellow", soft_wrap=True, highlight=False)
    if done.left:
        rest = sum(task.run.minutes for task in done.left) / given.jobs
        console.print(
            f"{_runs(len(done.left))} did not fit into the budget; the same command goes on with "
            f"them, about {rest:.0f} minutes more",
            style="yellow",
            soft_wrap=True,
            highlight=False,
        )
    folder = shlex.quote(str(given.folder))
    goes_on = given.again if done.left or done.failed else f"solo-ldm paper list --folder {folder}"
    console.print(f"next: {goes_on}", soft_wrap=True, highlight=False, markup=False)
    if done.failed:
        console.print(f"{_runs(len(done.failed))} failed, see above", style="red")


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"
