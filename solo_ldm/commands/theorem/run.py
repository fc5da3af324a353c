"""The theorem as a command: cases trained, compared with what it says of them, and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from solo_ldm.commands.theorem.picture import write_picture
from solo_ldm.commands.theorem.report import (
    content_of,
    in_words,
    judge_all,
    print_theorem_summary,
)
from solo_ldm.files import write_json
from solo_ldm.theorem.problems import Problem
from solo_ldm.theorem.trial import Trial, build_objective, run_trial

RESULTS, PICTURE = "results.json", "picture.png"

_SETTINGS = ("steps", "batch_size", "lr", "hidden", "entropy")


@dataclass(frozen=True)
class TheoremOutcome:
    """What the command left behind.

    Args:
        folder: where its files are.
        cases: the trials of each case, one a seed.
        results: the content of results.json.
    """

    folder: Path
    cases: dict[str, list[Trial]]
    results: dict[str, Any]


def run(cfg: DictConfig, console: Console | None = None) -> TheoremOutcome:
    """Train every case with every seed, and compare with what the theorem says.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.

    Returns:
        The outcome.

    Raises:
        ValueError: in one line: a key or a value that does not fit, a training that diverged.
    """
    console = console or Console()
    settings = {key: cfg[key] for key in _SETTINGS}
    settings["entropy_kwargs"] = dict(cfg.entropy_kwargs)
    build_objective(cfg.entropy, settings["entropy_kwargs"])
    device = _device(cfg.accelerator)
    cases: dict[str, list[Trial]] = {name: [] for name in cfg.cases}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    total = cfg.steps * len(cfg.cases) * len(cfg.seeds)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=total)
        for name in cfg.cases:
            for seed in cfg.seeds:
                progress.update(task, description=f"{name}, seed {seed}")
                problem = Problem(name, seed)
                trial = run_trial(
                    problem, **settings, device=device, on_step=lambda: progress.advance(task)
                )
                cases[name].append(trial)
                if not console.is_terminal:
                    line = f"{name}, seed {seed}: R² {trial.learned.r2:.3f}, {trial.seconds:.1f} s"
                    console.print(line, highlight=False, soft_wrap=True)
    folder = Path(cfg.folder)
    results = content_of(cfg, cases, device)
    write_json(folder / RESULTS, results)
    verdict = in_words(judge_all(cases, cfg.threshold))
    write_picture(folder / PICTURE, cases, cfg.threshold, verdict)
    print_theorem_summary(cfg, cases, folder, [RESULTS, PICTURE], console)
    return TheoremOutcome(folder, cases, results)


def _device(accelerator: str) -> str:
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "cuda"
    # Distances and neighbours are taken in float64, which Apple's MPS lacks: asked for alone.
    if accelerator == "mps" and torch.backends.mps.is_available():
        return "mps"
    return "cpu"
