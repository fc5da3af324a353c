"""Compare what position is decoded from: our states, averages, components, CEBRA; same folds.

    python benchmarks/recordings.py [--linear-track FILE] [--seeds 5] [--jobs 2] [--write]

Features come from the inputs alone and are fitted on a fold's training time; the same linear and
multi-layer decoders are fitted to them there and scored on the held-out time. Bins, sequences and
folds are those of the packaged configurations. Each result is kept in a file of --records and not
computed again: after an interruption the command continues, and --kept shows what there is. CEBRA
is compared where it is installed (pip install cebra). --write updates docs/recordings.md, its
picture, and short tables in docs/how-to/recording.md and README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common import ROOT, configuration, parser, publish, wide_console, workers
from omegaconf import DictConfig, OmegaConf
from positions.folds import Features, Fold, state_dim
from positions.picture import draw
from positions.rows import CEBRA, WIDTHS, averages, bayesian, cebra, components, ours
from positions.tables import summary, tables
from rich.console import Console
from rich.progress import Progress

from predictive.configuration import complete_predictive
from predictive.data.sequences import TimeSeriesData
from predictive.decoding.bins import sums_of_squares
from predictive.decoding.fit import fit_mlp
from predictive.decoding.score import score
from predictive.evaluation import targets_to_decode
from predictive.training import build_data, data_identity
from solo_ldm.files import read_json, write_text
from solo_ldm.run.folder import identity
from solo_ldm.run.record import provenance

# Part of every key: another one when what a row or a score means changes.
_PROTOCOL = 1
SIMULATED = {"place_cells": "place cells, simulated", "calcium": "calcium, simulated"}
LINEAR_TRACK = "rat on a linear track"
# Whether a method is trained anew for each seed.
METHODS = {"averages": False, "components": False, "Bayesian": False, "ours": True, "CEBRA": True}


@dataclass(frozen=True)
class Task:
    """One method on one fold.

    Args:
        name: of the data set.
        settings: the completed configuration, of this fold and seed.
        data_seed: of the data set, common to all seeds.
        number: of the seed, from 0.
        method: a name in `METHODS`.
        target: what is decoded.
        iterations: of CEBRA.
        contents: digest of the recording; "" for a simulation.
        records: folder of the results.
    """

    name: str
    settings: dict[str, Any]
    data_seed: int
    number: int
    method: str
    target: str
    iterations: int
    contents: str
    records: Path

    @property
    def cfg(self) -> DictConfig:
        """The configuration."""
        cfg: Any = OmegaConf.create(self.settings)
        return cfg

    @property
    def key(self) -> dict[str, Any]:
        """What decides the result."""
        whole = identity(self.cfg)
        data = dict(whole["data"])
        if self.contents:
            data["path"] = self.contents
        common = {"protocol": _PROTOCOL, "features": self.method, "target": self.target}
        if self.method == "ours":
            return {**common, **whole, "data": data, "data_seed": self.data_seed}
        for key in ("window", "stride"):
            data.pop(key, None)
        content = {**common, "data": data, "data_seed": self.data_seed, "seed": whole["seed"]}
        if self.method in ("components", "CEBRA"):
            content["dimension"] = state_dim(self.cfg)
        if self.method == "CEBRA":
            content |= {"cebra": CEBRA, "iterations": self.iterations}
        return {**content, "widths": list(WIDTHS)}

    @property
    def path(self) -> Path:
        """Where its result is."""
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:8]
        seed = f"-seed{self.number}" if METHODS[self.method] else ""
        fold = self.settings["data"]["fold"]
        return self.records / f"{self.name}-{self.method}-fold{fold}{seed}-{digest}.json"


@lru_cache(maxsize=2)
def _data(settings: str) -> TimeSeriesData:
    cfg: Any = OmegaConf.create(json.loads(settings))
    return build_data(cfg)


def run(task: Task) -> dict[str, Any]:
    """Compute the result of a task and keep it."""
    data = _data(json.dumps({**task.settings, "seed": task.data_seed}))
    fold = Fold(task.cfg, data, task.target, task.iterations)
    notes: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about versions and convergence
        found = {
            "averages": averages,
            "components": components,
            "Bayesian": bayesian,
            "CEBRA": lambda fold: cebra(fold, notes.__setitem__),
            "ours": lambda fold: ours(fold, notes.__setitem__),
        }[task.method](fold)
        scores = [one for features in found for one in scored(features, fold)]
    targets = fold.targets[1].double()
    targets = targets[targets.isfinite().all(dim=1)]
    record = {
        "data": task.name,
        "about": data.description,
        "fold": task.settings["data"]["fold"],
        "seed": task.number,
        "method": task.method,
        "bins": len(targets),
        "mean": targets.mean(dim=0).tolist(),
        "total": (targets - targets.mean(dim=0)).square().sum(dim=0).tolist(),
        "scores": scores,
        **notes,
        "key": task.key,
        **provenance(),
    }
    write_text(task.path, _compact(record))
    return record


def _compact(record: Mapping[str, Any]) -> str:
    """Return JSON with a line for each key and each score."""
    lines = []
    for key, value in record.items():
        text = json.dumps(value)
        if key == "scores":
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def scored(features: Features, fold: Fold) -> Iterator[dict[str, Any]]:
    """Yield what decoders of features make of the held-out bins."""
    y, true = fold.targets
    about = {
        "row": features.row,
        "time": features.time,
        "width": features.width,
        "seconds": round(features.seconds, 3),
        "supervised": features.supervised,
    }
    if features.supervised:
        squares, _ = sums_of_squares(true, features.held_out)
        yield {**about, "decoder": "its own", "squares": squares.tolist()}
        return
    known = (fold.groups, fold.cfg.seed)
    linear = score("linear", features.train, y, features.held_out, true, known[0], seed=known[1])
    squares, _ = sums_of_squares(true, linear.predictions)
    nulls = [float(f"{value:.6g}") for value in linear.null_squares.sum(dim=1).tolist()]
    yield {**about, "decoder": "linear", "squares": squares.tolist(), "nulls": nulls}
    decoder = fit_mlp(features.train, y, seed=known[1], groups=known[0])
    squares, _ = sums_of_squares(true, decoder.predict(features.held_out))
    yield {**about, "decoder": "mlp", "squares": squares.tolist()}


def tasks(args: argparse.Namespace) -> list[Task]:
    """Return all tasks, those of the first seeds first.

    Raises:
        ValueError: in one line: no data set, or as `build_data`.
    """
    chosen: dict[str, list[str]] = {name: [] for name in SIMULATED}
    if args.linear_track is not None:
        chosen["recording"] = [f"data.path={args.linear_track.resolve()}"]
    made = []
    for config, own in chosen.items():
        if args.only and config not in args.only:
            continue
        cfg = complete_predictive(
            configuration(config, [*own, *args.overrides], "predictive.configs")
        )
        recording = data_identity(cfg)
        target = targets_to_decode(cfg, build_data(cfg))[0]
        for number in range(args.seeds):
            for fold in range(cfg.data.folds):
                part: Any = OmegaConf.to_container(cfg)
                part["seed"] += number
                part["data"]["fold"] = fold
                made += [
                    Task(
                        "linear_track" if config == "recording" else config,
                        part,
                        cfg.seed,
                        number,
                        method,
                        target,
                        args.cebra_iterations,
                        "" if recording is None else recording.contents,
                        args.records,
                    )
                    for method, trained in METHODS.items()
                    if trained or number == 0
                ]
    if not made:
        raise ValueError("--only: expected place_cells, calcium, or recording with --linear-track")
    # CEBRA takes longest.
    return sorted(made, key=lambda task: (task.number, task.method == "CEBRA"))


def compute(
    planned: Sequence[Task], jobs: int, console: Console, only_kept: bool = False
) -> list[dict[str, Any]]:
    """Return the results of tasks, those of earlier commands read back.

    Args:
        planned: the tasks.
        jobs: processes.
        console: where to print.
        only_kept: whether to compute nothing.
    """
    results = [read_json(task.path) for task in planned if task.path.is_file()]
    missing = [task for task in planned if not task.path.is_file()]
    if only_kept:
        console.print(f"{len(results)} of {len(planned)} results; rows without all folds: left out")
        return results
    if find_spec("cebra") is None and any(task.method == "CEBRA" for task in missing):
        console.print("CEBRA-Time is left out: it is not installed (pip install cebra)")
        missing = [task for task in missing if task.method != "CEBRA"]
    with Progress(console=console, transient=True) as progress, workers(jobs, 1) as pool:
        shown = progress.add_task("results", total=len(missing))
        try:
            for future in as_completed([pool.submit(run, task) for task in missing]):
                results.append(future.result())
                progress.advance(shown)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is missing, print the tables and, with --write, update the docs."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=5, help="of ours and of CEBRA")
    options.add_argument("--jobs", type=int, default=1, help="processes, of a thread each")
    options.add_argument(
        "--linear-track", type=Path, help="linear_track.npz of github.com/nelpy/example-data"
    )
    options.add_argument("--only", nargs="+", help="place_cells, calcium, recording; all if unset")
    options.add_argument("--records", type=Path, default=ROOT / "docs" / "recordings" / "runs")
    options.add_argument("--kept", action="store_true", help="compute nothing, show what is there")
    options.add_argument("--cebra-iterations", type=int, default=5_000)
    options.add_argument("--write", action="store_true", help="update docs/")
    options.add_argument("overrides", nargs="*", help="key=value, for every data set")
    args = options.parse_args(arguments)
    console = wide_console()
    results = compute(tasks(args), args.jobs, console, args.kept)
    page = ROOT / "docs" / "recordings.md"
    names = {**SIMULATED, "linear_track": LINEAR_TRACK}
    rows, verdicts = tables(results, names)
    if args.write:
        shown = f"{verdicts.about}\n\n![1 − R² of every row, by fold and seed](recordings.png)"
        verdicts = replace(verdicts, about=shown)
    publish([rows, verdicts], page, "recordings", "recordings.py", args, console)
    args.csv = None
    real = {key: value for key, value in names.items() if key not in SIMULATED}
    for place, shown in (("README.md", real), ("docs/how-to/recording.md", names)):
        short = summary(results, shown, os.path.relpath(page, (ROOT / place).parent))
        if short.rows:
            publish([short], ROOT / place, "recordings", "recordings.py", args, console)
    console.print(f"results in {args.records}", soft_wrap=True, highlight=False, markup=False)
    if args.write:
        draw(results, names, ROOT / "docs" / "recordings.png")
        console.print("wrote docs/recordings.png")


if __name__ == "__main__":
    main()
