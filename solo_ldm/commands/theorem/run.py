"""The theorem as a command: cases trained, compared with its claims, and drawn."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress

from solo_ldm.commands.theorem.picture import draw_picture
from solo_ldm.commands.theorem.report import (
    content_of,
    judge_all,
    print_theorem_summary,
    verdict_of,
)
from solo_ldm.config.places import results_folder
from solo_ldm.files import write_json
from solo_ldm.plotting.page import save
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import Hardware
from solo_ldm.run.record import Outcome
from solo_ldm.theorem.problems import Problem
from solo_ldm.theorem.trial import Trial, build_objective, run_trial

_SETTINGS = ("steps", "batch_size", "lr", "hidden", "entropy", "entropy_kwargs")


def run(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Train every case with every seed, compare with what the theorem says, and report.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.
    """
    console = plain_console(console)
    plain: Any = OmegaConf.to_container(cfg)
    hardware = _hardware(cfg.accelerator)
    cases = train_cases(plain, hardware.accelerator, console)
    folder = results_folder(cfg.output)
    results = content_of(plain, cases, hardware)
    write_json(folder / "results.json", results)
    verdict = verdict_of(judge_all(cases, cfg.threshold))
    save(folder / "picture.png", draw_picture(cases, cfg.threshold, verdict))
    print_theorem_summary(cfg, cases, folder, console)
    return Outcome(RunFolder(folder), results)


def train_cases(cfg: dict[str, Any], device: str, console: Console) -> dict[str, list[Trial]]:
    """Return the trials of each case, one for each seed.

    Args:
        cfg: the completed configuration.
        device: to train on.
        console: where to show the progress.
    """
    settings = {key: cfg[key] for key in _SETTINGS}
    build_objective(cfg["entropy"], cfg["entropy_kwargs"])  # refused before the first training
    cases: dict[str, list[Trial]] = {name: [] for name in cfg["cases"]}
    total = cfg["steps"] * len(cases) * len(cfg["seeds"])
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=total)
        for name, seed in ((name, seed) for name in cases for seed in cfg["seeds"]):
            progress.update(task, description=f"{name}, seed {seed}")
            trial = run_trial(
                Problem(name, seed),
                **settings,
                device=device,
                on_step=lambda: progress.advance(task),
            )
            cases[name].append(trial)
            if not console.is_terminal:
                line = f"{name}, seed {seed}: R² {trial.learned.r2:.3f}, {trial.seconds:.1f} s"
                console.print(line, highlight=False, soft_wrap=True)
    return cases


def _hardware(wanted: str) -> Hardware:
    accelerator = "cpu"
    if wanted in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        accelerator = "cuda"
    # Entropies are computed in float64, which Apple's MPS lacks: only on request.
    if wanted == "mps" and torch.backends.mps.is_available():
        accelerator = "mps"
    return Hardware(accelerator, 1, "auto", "32-true", False, 1, ())
