"""Methods × seeds under one budget: solo-ldm compare trains, ranks and documents them."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from solo_ldm.commands.compare.differences import (
    budget_differences,
    budget_of,
    describe_differences,
    published_line,
)
from solo_ldm.commands.compare.entries import Entry, prepare_entries
from solo_ldm.commands.compare.picture import write_comparison
from solo_ldm.commands.compare.ranking import rank_methods, top1
from solo_ldm.commands.compare.report import print_comparison
from solo_ldm.commands.compare.runs import Result, Run, find_result, train_all
from solo_ldm.commands.compare.table import Comparison, csv_text, markdown
from solo_ldm.files import write_atomically, write_json
from solo_ldm.run.provenance import commit, versions

TABLE, ROWS, PICTURE, RUNS = "table.md", "table.csv", "comparison.png", "runs.json"


def run(
    cfg: DictConfig, console: Console | None = None, configs: Path | None = None
) -> Comparison:
    """Train every method with every seed, unless it was, and rank them.

    Everything that can be wrong with an entry is found before the first run starts. A run that
    fails on its way is a line of the table, and is tried again by the next call.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.
        configs: a folder of the user's own configurations; --config-path if not given.

    Returns:
        The comparison; its files lie in cfg.folder.

    Raises:
        ValueError: in one line: a key or a value of the comparison, or what is wrong with an entry.
        FileNotFoundError: in one line: the data of an entry is not there.
    """
    console = console or Console()
    with console.status("trying out every entry"):
        entries = prepare_entries(cfg, configs or _config_path())
    differences = {
        label: describe_differences(found) for label, found in budget_differences(entries).items()
    }
    for label, line in differences.items():
        notice = escape(f"{label} differs from the others: {line}")
        console.print(f"[yellow]{notice}[/]", soft_wrap=True, highlight=False)
    folder = Path(cfg.folder)
    results = _run_all(cfg, entries, folder, console)
    comparison = _ranked(cfg, entries, differences, results)
    write_atomically(folder / TABLE, lambda to: to.write_text(markdown(comparison, PICTURE)))
    write_atomically(folder / ROWS, lambda to: to.write_text(csv_text(comparison)))
    write_comparison(folder / PICTURE, comparison)
    written = [folder / name for name in (TABLE, ROWS, PICTURE, RUNS)]
    if cfg.copy_to is not None:
        target = Path(cfg.copy_to)
        target.mkdir(parents=True, exist_ok=True)
        written += [Path(shutil.copy(folder / name, target)) for name in (PICTURE, TABLE)]
    print_comparison(comparison, written, console)
    return comparison


def _run_all(
    cfg: DictConfig, entries: Sequence[Entry], folder: Path, console: Console
) -> dict[str, list[Result]]:
    """Return the results of every entry, and write runs.json after each.

    Seeds are the outer loop, so that what is there of an unfinished comparison is balanced.
    """
    runs = [Run(e.label, seed, e.runs[seed]) for seed in cfg.seeds for e in entries]
    results: dict[str, list[Result]] = {entry.label: [] for entry in entries}
    waiting: list[Run] = []
    for run in runs:
        found = find_result(run)
        if found is None:
            waiting.append(run)
        else:
            results[run.label].append(found)
    methods = f"{len(entries)} methods" if len(entries) > 1 else "1 method"
    console.print(
        f"[bold]{escape(cfg.name)}[/]: {methods} × {len(cfg.seeds)} seeds, {cfg.jobs} at a time; "
        f"{len(runs) - len(waiting)} of {len(runs)} runs are there already",
        soft_wrap=True,
    )
    write_json(folder / RUNS, _record(cfg, entries, results))
    with _Watch(len(runs), len(waiting), cfg, console) as watch:
        for result in train_all(waiting, cfg.jobs, watch.starting):
            results[result.label].append(result)
            write_json(folder / RUNS, _record(cfg, entries, results))
            watch.ended(result)
    return results


class _Watch:
    """Show runs as they end: a bar on a terminal, else a line each.

    Args:
        total: runs of the comparison.
        waiting: those that are not there yet.
        cfg: the comparison.
        console: where to print.
    """

    def __init__(self, total: int, waiting: int, cfg: DictConfig, console: Console) -> None:
        self.total, self.left, self.cfg, self.console = total, waiting, cfg, console
        self.durations: list[float] = []
        self.progress = Progress(
            TextColumn("{task.completed} of {task.total} runs"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[status]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task(
            "runs", total=total, completed=total - waiting, left="", status=""
        )

    def __enter__(self) -> _Watch:
        self.progress.start()
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.progress.stop()
        if kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit)):
            self.console.print("stopped; the same command goes on where it was")

    def starting(self, run: Run) -> None:
        """Name the run that starts."""
        self.progress.update(self.task, status=escape(f"training {run.label}, seed {run.seed}"))

    def ended(self, result: Result) -> None:
        """Say the score of a run, or why it has none, and how long the rest will take."""
        self.left -= 1
        if result.results is not None:
            self.durations.append(result.seconds)
        who = escape(f"{result.label}, seed {result.seed}")
        if result.results is None:
            line = f"[red]{who}: failed: {escape(str(result.error))}[/]"
        else:
            score = 100 * top1(result, self.cfg.rank_by)
            line = f"{who}: {self.cfg.rank_by} {score:.1f} % in {result.seconds:.0f} s"
        left = self._time_left()
        self.progress.update(self.task, advance=1, left=left, status=line)
        if not self.console.is_terminal:
            done = f"{self.total - self.left} of {self.total} runs"
            line = f"{line}; {done}{', ' if left else ''}{left}"
        if not self.console.is_terminal or result.results is None:
            self.console.print(line, soft_wrap=True, highlight=False)

    def _time_left(self) -> str:
        if not self.left or not self.durations:
            return ""
        seconds = statistics.fmean(self.durations) * self.left / min(self.cfg.jobs, self.left)
        return f"{seconds:.0f} s left" if seconds < 120 else f"{seconds / 60:.0f} min left"


def _ranked(
    cfg: DictConfig,
    entries: Sequence[Entry],
    differences: dict[str, str],
    results: dict[str, list[Result]],
) -> Comparison:
    standings = rank_methods(
        results,
        list(cfg.protocols),
        cfg.rank_by,
        {entry.label: entry.description.on_sphere for entry in entries},
    )
    return Comparison(
        name=cfg.name,
        protocols=tuple(cfg.protocols),
        rank_by=cfg.rank_by,
        seeds=tuple(cfg.seeds),
        standings=tuple(standings),
        cells={entry.label: entry.cell for entry in entries},
        configs={entry.label: (entry.spec.config, entry.spec.overrides) for entry in entries},
        differences=differences,
        published={entry.label: _published(entry) for entry in entries},
    )


def _published(entry: Entry) -> str | None:
    return published_line(OmegaConf.to_container(entry.cfg), entry.description.settings)


def _record(
    cfg: DictConfig, entries: Sequence[Entry], results: dict[str, list[Result]]
) -> dict[str, Any]:
    """Return the content of runs.json: what was asked for, and what became of each run."""
    runs = []
    for entry in entries:
        ended = {result.seed: result for result in results[entry.label]}
        for seed in entry.runs:
            result = ended.get(seed)
            about: dict[str, Any] = {"label": entry.label, "seed": seed, "status": "waiting"}
            if result is not None:
                about["status"] = "failed" if result.results is None else "finished"
                kept = ("path", "error", "trace")
                about |= {key: value for key, value in asdict(result).items() if key in kept}
            runs.append(about)
    return {
        "comparison": OmegaConf.to_container(cfg),
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
        "commit": commit(),
        "methods": [
            {
                "label": entry.label,
                "config": entry.spec.config,
                "overrides": list(entry.spec.overrides),
                "headline": entry.description.headline,
                "resolved": OmegaConf.to_container(entry.cfg),
            }
            for entry in entries
        ],
        "budget": budget_of(OmegaConf.to_container(entries[0].cfg)),
        "runs": runs,
    }


def _config_path() -> Path | None:
    """Return the folder that --config-path names; None for the packaged configurations."""
    if not HydraConfig.initialized():
        return None
    for source in HydraConfig.get().runtime.config_sources:
        if source.provider == "main" and source.schema == "file":
            return Path(source.path)
    return None
