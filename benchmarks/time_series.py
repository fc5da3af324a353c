"""Run the predictive tasks and write the table of the README.

    python benchmarks/time_series.py [--seeds 3] [--jobs 2] [--write]

Each task is a packaged config with its entropy overridden. Finished runs are not repeated: after an
interruption the command continues. --write puts the table into README.md.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common import ROOT, Figures, configuration, parser, publish, spread, wide_console, workers
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from predictive.commands.predictive import predictive
from predictive.configuration import complete_predictive
from solo_ldm.run.folder import find_finished

PACKAGE = "predictive.configs"


@dataclass(frozen=True)
class Task:
    """One row of the table.

    Args:
        config: a packaged configuration.
        entropy: of the objective.
        reference: what the authors' notebook prints for it, "" where nothing.
    """

    config: str
    entropy: str
    reference: str = ""


# The authors' numbers are those of eval/paper_figures.ipynb, one held-out sequence each.
TASKS = (
    Task("figure8", "stop_gradient", "0.990"),
    Task("figure8", "neighbour", "0.991"),
    Task("square", "stop_gradient", "0.967"),
    Task("square", "neighbour"),
    Task("circular", "logdet", "0.959"),
    Task("nonlinear_system", "neighbour"),
    Task("nonlinear_system", "stop_gradient"),
)


def run_task(cfg: DictConfig) -> dict[str, Any]:
    """Train one task unless it was; return its results."""
    completed = complete_predictive(cfg)
    found = find_finished(completed)
    if found is not None:
        return json.loads(found.results.read_text())
    outcome = predictive(cfg, Console(quiet=True))
    assert outcome is not None, "a task trains in one process"
    return outcome.results


def train(
    seeds: int, jobs: int, overrides: list[str], console: Console
) -> dict[Task, list[dict[str, Any]]]:
    """Return the results of every task, one entry a seed."""
    results: dict[Task, list[dict[str, Any]]] = {task: [] for task in TASKS}
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with workers(jobs, threads) as pool:
        futures = []
        for seed, task in itertools.product(range(seeds), TASKS):
            own = [f"objective.entropy={task.entropy}", f"seed={seed}", *overrides]
            cfg = configuration(task.config, own, PACKAGE)
            futures.append((task, pool.submit(run_task, cfg)))
        for task, future in track(futures, "tasks", console=console):
            results[task].append(future.result())
    return results


def task_row(task: Task, runs: list[dict[str, Any]]) -> list[str]:
    """Return a row of the table of tasks."""
    found = [run["results"] for run in runs]
    features = "latents" if found[0]["identifiability"] else "latent state"
    scores = [
        score["r2"]
        for one in found
        for score in one["decoding"]["position"]
        if (score["features"], score["decoder"]) == (features, "linear")
    ]
    notes = []
    if found[0]["noise_correlation"] is not None:
        correlation = spread([one["noise_correlation"] for one in found], 3)
        notes.append(f"inferred noise r = {correlation}")
    if found[0]["identifiability"]:
        before, after = (
            statistics.mean(one["identifiability"][when]["affine_r2"] for one in found)
            for when in ("before", "after")
        )
        notes.append(f"affine R² {before:.2f} before, {after:.3f} after training")
    coverage = statistics.mean(one["intervals"]["position"]["coverage"] for one in found)
    seconds = statistics.median(run["seconds"] for run in runs)
    return [
        task.config.replace("_", " "),
        task.entropy.replace("_", " "),
        spread(scores, 3),
        task.reference,
        f"{100 * coverage:.0f} %",
        f"{seconds:.0f} s",
        "; ".join(notes),
    ]


def task_table(results: dict[Task, list[dict[str, Any]]], jobs: int) -> Figures:
    """Return the table of the tasks."""
    one = next(iter(results.values()))[0]
    count = len(next(iter(results.values())))
    heads = ["task", "entropy", "R² of position", "authors", "in the 95 % interval", "training", ""]
    rows = [task_row(task, runs) for task, runs in results.items()]
    about = (
        "Position decoded linearly from the latent state (nonlinear system: from the latents) on "
        f"held-out sequences, mean ± standard deviation over {count} seeds; {one['hardware']}"
        f"{f', {jobs} runs at a time' if jobs > 1 else ''}, solo_ldm "
        f"{one['versions']['solo_ldm']}, torch {one['versions']['torch']}, {one['finished'][:10]}. "
        "The authors' column is what their notebook prints for one held-out sequence."
    )
    return Figures(heads, rows, about)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tasks, print the tables and, with --write, update the README."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    options.add_argument("--write", action="store_true", help="update README.md")
    options.add_argument("overrides", nargs="*", help="key=value, for every task")
    args = options.parse_args(arguments)
    console = wide_console()
    where = "checkpoint.dir=trained_models/benchmark"
    overrides = [where, "evaluation.report=false", *args.overrides]
    results = train(args.seeds, args.jobs, overrides, console)
    tables = [task_table(results, args.jobs)]
    publish(tables, ROOT / "README.md", "predictive", "time_series.py", args, console)


if __name__ == "__main__":
    main()
