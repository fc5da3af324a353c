"""Linear ICA as a command: mixtures in, sources, numbers and a picture out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from solo_ldm.commands.ica.picture import write_picture
from solo_ldm.commands.ica.report import content_of, print_ica_summary
from solo_ldm.commands.ica.schema import complete_ica
from solo_ldm.files import write_atomically, write_json
from solo_ldm.ica.own import own_mixtures
from solo_ldm.ica.photographs import photographs
from solo_ldm.ica.problems import Problem, generalised_gaussian, ornstein_uhlenbeck
from solo_ldm.ica.trial import Trial, run_trial

RESULTS, PICTURE, SOURCES = "results.json", "picture.png", "sources.npy"

_SETTINGS = ("model", "unmixing", "entropy", "entropy_samples", "smallest_shape", "restarts")


@dataclass(frozen=True)
class ICAOutcome:
    """What the command left behind.

    Args:
        folder: where its files are.
        trials: one a seed.
        results: the content of results.json.
    """

    folder: Path
    trials: tuple[Trial, ...]
    results: dict[str, Any]


def ica(cfg: DictConfig, console: Console | None = None) -> ICAOutcome:
    """Tell mixed sources apart, for every seed, and compare with the truth where it is known.

    Args:
        cfg: what Hydra composed; completed and checked here.
        console: where to print; standard output by default.

    Returns:
        The outcome.

    Raises:
        ValueError: in one line: a key, a value, or mixtures that do not fit.
        FileNotFoundError: in one line: mixtures that are not there.
    """
    console = console or Console()
    cfg = complete_ica(cfg)
    settings = {key: cfg[key] for key in _SETTINGS}
    settings["entropy_kwargs"] = OmegaConf.to_container(cfg.entropy_kwargs)
    trials: list[Trial] = []
    for seed in cfg.seeds:
        with console.status(f"telling sources apart, seed {seed}"):
            trials.append(run_trial(build_problem(cfg, seed), seed, **settings))
    folder = _folder(cfg)
    results = content_of(cfg, trials)
    first = trials[0]
    write_json(folder / RESULTS, results)
    write_picture(folder / PICTURE, first)
    images = first.recovered_images
    sources = first.recovered if images is None else images
    write_atomically(folder / SOURCES, lambda to: np.save(to, sources))
    print_ica_summary(cfg, trials, folder, [RESULTS, PICTURE, SOURCES], console)
    return ICAOutcome(folder, tuple(trials), results)


def build_problem(cfg: DictConfig, seed: int) -> Problem:
    """Make or read the mixtures that a completed configuration names."""
    if cfg.mixtures is not None:
        in_time = cfg.model == "ornstein_uhlenbeck"
        return own_mixtures(cfg.mixtures, cfg.step_seconds if in_time else None)
    own: dict[str, Any] = dict(cfg[cfg.task])
    if cfg.task == "images":
        return photographs(cfg.num_sources, **own, seed=seed)
    if cfg.task == "generalised_gaussian":
        return generalised_gaussian(cfg.num_sources, **own, seed=seed)
    rotation = cfg.unmixing == "rotation"
    return ornstein_uhlenbeck(
        cfg.num_sources, step_seconds=cfg.step_seconds, rotation=rotation, **own, seed=seed
    )


def _folder(cfg: DictConfig) -> Path:
    if cfg.folder is not None:
        return Path(cfg.folder)
    return Path("ica") / (cfg.task if cfg.mixtures is None else Path(cfg.mixtures).stem)
