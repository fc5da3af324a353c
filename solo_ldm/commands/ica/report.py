"""What linear ICA tells: results.json, and the summary on the terminal."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from solo_ldm.ica.trial import Trial
from solo_ldm.run.provenance import commit, cpu_name, versions

PROTOCOL = (
    "Amari distance of W A with rows of length one, for sources of variance one: 0 is a perfect "
    "separation, 1 the worst (Amari, Cichocki & Yang 1996); FastICA is scikit-learn's with its "
    "own defaults (parallel, logcosh) on the same mixtures"
)
# Below this the sources are told apart for all that the eye sees.
GOOD = 0.05


def content_of(cfg: DictConfig, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the content of results.json.

    Args:
        cfg: the completed configuration.
        trials: one a seed.
    """
    content: dict[str, Any] = {
        "task": cfg.task if cfg.mixtures is None else "mixtures",
        "description": trials[0].problem.description,
        "protocol": PROTOCOL,
        "num_samples": len(trials[0].problem.mixtures),
        "num_sources": trials[0].recovered.shape[1],
    }
    compared = [trial.truth for trial in trials if trial.truth is not None]
    if compared:
        content["amari_distance"] = _spread([one.amari_distance for one in compared])
        content["fast_ica_amari_distance"] = _spread(
            [one.fast_ica_amari_distance for one in compared]
        )
    content["trials"] = [_trial(trial) for trial in trials]
    content |= {
        "config": OmegaConf.to_container(cfg),
        "hardware": f"{cpu_name()}, {os.cpu_count()} cores",
        "versions": versions(),
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(sum(trial.seconds for trial in trials), 3),
    }
    return content


def _spread(values: list[float]) -> dict[str, float]:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": spread, "largest": max(values)}


def _trial(trial: Trial) -> dict[str, Any]:
    separation, truth, problem = trial.separation, trial.truth, trial.problem
    content: dict[str, Any] = {"seed": trial.seed}
    if truth is not None:
        content["amari_distance"] = truth.amari_distance
        content["correlations"] = list(truth.correlations)
        content["fast_ica"] = {
            "amari_distance": truth.fast_ica_amari_distance,
            "correlations": list(truth.fast_ica_correlations),
            "converged": truth.fast_ica_converged,
        }
    content |= {
        "loss": separation.loss,
        "log_prob": separation.log_prob,
        "entropy": separation.entropy,
        "restart_losses": list(separation.restart_losses),
        "learned": trial.parameters,
        "true": problem.truth,
        "mean": separation.mean.tolist(),
        "unmixing": trial.unmixing.tolist(),
        "mixing": None if problem.mixing is None else problem.mixing.tolist(),
        "seconds": round(trial.seconds, 3),
    }
    return content


def print_ica_summary(
    cfg: DictConfig,
    trials: Sequence[Trial],
    folder: Path,
    files: Sequence[str],
    console: Console,
) -> None:
    """Print what was told apart, how well, what was written, and what to do next.

    Args:
        cfg: the completed configuration.
        trials: one a seed.
        folder: where the files are.
        files: their names.
        console: where to print.
    """
    first = trials[0]
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    body.add_row("mixtures", escape(first.problem.description))
    words = cfg.model.replace("_", " ")
    body.add_row("model", f"{words}, entropy {cfg.entropy}, {cfg.unmixing} unmixing")
    if first.truth is not None:
        _add_scores(body, trials)
    for name, values in first.parameters.items():
        if name == "decay" and "time_constant_seconds" in first.parameters:
            continue
        body.add_row(name.replace("_", " "), _listed(values, first.problem.truth.get(name)))
    losses = first.separation.restart_losses
    body.add_row("loss", f"{min(losses):.5f} nats per sample; starts {_starts(losses)}")
    seconds = sum(trial.seconds for trial in trials)
    body.add_row("time", f"{seconds:.1f} s")
    body.add_row("files", ", ".join(files))
    console.print(Panel(body, title=f"linear ICA: {_name(cfg)}", expand=False))
    for line in (f"in {folder}", f"next: {_next(cfg)}"):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _add_scores(body: Table, trials: Sequence[Trial]) -> None:
    truths = [trial.truth for trial in trials if trial.truth is not None]
    ours = [one.amari_distance for one in truths]
    theirs = [one.fast_ica_amari_distance for one in truths]
    colour = "green" if max(ours) < GOOD else "yellow"
    body.add_row("Amari distance", f"[bold {colour}]{_values(ours)}[/] (0 perfect, 1 worst)")
    stopped = sum(not one.fast_ica_converged for one in truths)
    note = (
        ""
        if not stopped
        else "; did not converge"
        + (f" for {stopped} of {len(truths)} seeds" if len(truths) > 1 else "")
    )
    body.add_row("FastICA's", f"{_values(theirs)}{note}")
    correlations = [value for one in truths for value in one.correlations]
    body.add_row("correlations", f"at least {min(correlations):.4f} with the true sources")


def _values(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.fmean(values):.4f}, at most {max(values):.4f} over {len(values)} seeds"


def _listed(values: list[float], true: list[float] | None) -> str:
    text = ", ".join(f"{value:.3g}" for value in values)
    return text if true is None else f"{text} (true {', '.join(f'{one:.3g}' for one in true)})"


def _starts(losses: Sequence[float]) -> str:
    apart = max(losses) - min(losses)
    return "agree" if apart < 1e-4 else f"end up to {apart:.2g} above it"


def _name(cfg: DictConfig) -> str:
    return escape(str(cfg.task if cfg.mixtures is None else cfg.mixtures)).replace("_", " ")


def _next(cfg: DictConfig) -> str:
    if cfg.mixtures is not None:
        return "solo-ldm ica with another model= or seed=, to see whether the sources stay"
    if len(cfg.seeds) == 1:
        return f'solo-ldm ica task={cfg.task} "seeds=[0,1,2,3,4]"'
    return "solo-ldm ica mixtures=FILE.npy  # of your own, (T, N)"
