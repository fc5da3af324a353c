"""Run the predictive tasks and write the table of the README.

    python benchmarks/time_series.py [--seeds 3] [--jobs 2] [--linear-track FILE] [--write]

Each task is a packaged config with its entropy overridden; place cells and the linear track are
decoded over their folds, with one seed. Finished runs are not repeated: after an interruption the
command continues. --write puts the table into README.md.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT, Figures, configuration, parser, publish, spread, wide_console, workers
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from predictive.commands.decode import decode as decode_folds
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


def decoding_table(named: dict[str, dict[str, Any]]) -> Figures:
    """Return the table of decoding over folds."""
    heads = ["spikes", "decoded from", "linear", "mlp", "null at most", "in the 95 % interval"]
    lines = []
    for name, results in named.items():
        found = results["results"]["position"]
        rows: dict[str, dict[str, Any]] = {}
        for score in found["scores"]:
            rows.setdefault(score["features"], {})[score["decoder"]] = score
        for features, scores in rows.items():
            if features == "latents":
                continue
            by_kind = [
                f"{one['r2']:.3f} ± {one['spread']:.3f}" if one else "–"
                for one in map(scores.get, ("linear", "mlp"))
            ]
            null = max(score["null_high"] for score in scores.values())
            covered = f"{100 * found['coverage']:.1f} %" if features == "latent state" else ""
            lines.append([name, features, *by_kind, f"{null:.3f}", covered])
    about = (
        "R² of position on held-out time: 20 s blocks in five folds, each held out once; ± is the "
        "standard deviation over folds. The null shifts the training positions in time."
    )
    return Figures(heads, lines, about)


def decode(linear_track: str | None, overrides: list[str]) -> dict[str, dict[str, Any]]:
    """Decode the simulated place cells and, if given, the recording, over their folds."""
    chosen = {"place cells, simulated": configuration("place_cells", overrides, PACKAGE)}
    if linear_track is not None:
        path = [f"data.path={Path(linear_track).resolve()}", "name=linear_track", *overrides]
        chosen["rat on a linear track"] = configuration("recording", path, PACKAGE)
    found = {}
    for name, cfg in chosen.items():
        outcome = decode_folds(cfg)
        assert outcome is not None, "decoding runs in one process"
        found[name] = outcome.results
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tasks, print the tables and, with --write, update the README."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    options.add_argument("--linear-track", help="linear_track.npz of github.com/nelpy/example-data")
    options.add_argument("--write", action="store_true", help="update README.md")
    options.add_argument("--decoding", nargs="+", default=[], help="key=value, for decoding")
    options.add_argument("overrides", nargs="*", help="key=value, for every task")
    args = options.parse_args(arguments)
    console = wide_console()
    where = "checkpoint.dir=trained_models/benchmark"
    overrides = [where, "evaluation.report=false", *args.overrides]
    results = train(args.seeds, args.jobs, overrides, console)
    decoded = decode(args.linear_track, [where, *args.decoding])
    tables = [task_table(results, args.jobs), decoding_table(decoded)]
    publish(tables, ROOT / "README.md", "predictive", "time_series.py", args, console)


if __name__ == "__main__":
    main()
