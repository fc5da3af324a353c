"""Linear ICA as a command: mixtures in, sources, numbers and a picture out."""

from __future__ import annotations

from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress

from solo_ldm.commands.ica.mixtures import own_mixtures
from solo_ldm.commands.ica.picture import draw_picture
from solo_ldm.commands.ica.report import content_of, print_ica_summary
from solo_ldm.config.places import results_folder
from solo_ldm.files import write_atomically, write_json
from solo_ldm.ica.photographs import photographs
from solo_ldm.ica.problems import Problem, generalised_gaussian, ornstein_uhlenbeck
from solo_ldm.ica.trial import run_trial
from solo_ldm.plotting.page import save
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.record import Outcome

_SETTINGS = (
    "model", "unmixing", "entropy", "entropy_kwargs", "entropy_samples", "smallest_shape",
    "restarts",
)  # fmt: skip


def run(cfg: DictConfig, console: Console | None = None) -> Outcome:
    """Separate the sources for every seed, compare with the truth where it is known, and report.

    Args:
        cfg: the completed configuration.
        console: where to print; standard output by default.
    """
    console = plain_console(console)
    plain: Any = OmegaConf.to_container(cfg)
    settings = {key: plain[key] for key in _SETTINGS}
    trials = []
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("separating sources", total=len(cfg.seeds) * cfg.restarts)
        for seed in cfg.seeds:
            if not console.is_terminal:
                console.print(f"separating sources, seed {seed}", highlight=False)
            problem = _problem(plain, seed)
            trials.append(
                run_trial(problem, seed, on_start=lambda: progress.advance(task), **settings)
            )
    folder, first = results_folder(cfg.output), trials[0]
    sources = first.recovered if first.recovered_images is None else first.recovered_images
    results = content_of(plain, trials)
    write_json(folder / "results.json", results)
    save(folder / "picture.png", draw_picture(first))
    write_atomically(folder / "sources.npy", lambda to: np.save(to, sources))
    print_ica_summary(cfg, trials, folder, console)
    return Outcome(RunFolder(folder), results)


def _problem(cfg: dict[str, Any], seed: int) -> Problem:
    """Generate or read the mixtures of a configuration."""
    if cfg["mixtures"] is not None:
        in_time = cfg["model"] == "ornstein_uhlenbeck"
        return own_mixtures(cfg["mixtures"], cfg["step_seconds"] if in_time else None)
    own = {"num_sources": cfg["num_sources"], "seed": seed, **cfg[cfg["task"]]}
    if cfg["task"] == "images":
        return photographs(**own)
    if cfg["task"] == "generalised_gaussian":
        return generalised_gaussian(**own)
    rotation = cfg["unmixing"] == "rotation"
    return ornstein_uhlenbeck(step_seconds=cfg["step_seconds"], rotation=rotation, **own)
