"""The report of linear ICA: results.json and the summary on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from solo_ldm.ica.trial import Trial
from solo_ldm.run.record import print_summary, provenance, spread

PROTOCOL = (
    "Amari distance of W A with rows of length one, for sources of variance one: 0 is a perfect "
    "separation, 1 the worst (Amari, Cichocki & Yang 1996); FastICA is scikit-learn's with its "
    "default settings (parallel, logcosh) on the same mixtures"
)
# Below this Amari distance mixed images look separated.
GOOD = 0.05


def content_of(cfg: dict[str, Any], trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the content of results.json.

    Args:
        cfg: the completed configuration.
        trials: one for each seed.
    """
    content: dict[str, Any] = {
        "task": cfg["task"] if cfg["mixtures"] is None else "mixtures",
        "description": trials[0].problem.description,
        "protocol": PROTOCOL,
        "num_samples": len(trials[0].problem.mixtures),
        "num_sources": trials[0].recovered.shape[1],
    }
    ours, theirs = _distances(trials)
    if ours:
        content |= {"amari_distance": spread(ours), "fast_ica_amari_distance": spread(theirs)}
    seconds = sum(trial.seconds for trial in trials)
    content |= {"trials": [_trial(trial) for trial in trials], "config": cfg}
    return content | provenance() | {"seconds": round(seconds, 3)}


def _trial(trial: Trial) -> dict[str, Any]:
    separation, problem = trial.separation, trial.problem
    content: dict[str, Any] = {"seed": trial.seed}
    if trial.score is not None and trial.fast_ica is not None:
        fast_ica = trial.fast_ica._asdict() | {"converged": trial.fast_ica_converged}
        content |= trial.score._asdict() | {"fast_ica": fast_ica}
    return content | {
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


def print_ica_summary(
    cfg: DictConfig, trials: Sequence[Trial], folder: Path, console: Console
) -> None:
    """Print what was separated, how well, and what to do next.

    Args:
        cfg: the completed configuration.
        trials: one for each seed.
        folder: where the files are.
        console: where to print.
    """
    first = trials[0]
    model = cfg.model.replace("_", " ")
    rows = [
        ("mixtures", first.problem.description),
        ("model", f"{model}, entropy {cfg.entropy}, {cfg.unmixing} unmixing"),
        *(_scores(trials) if first.score is not None else []),
    ]
    for name, values in first.parameters.items():
        if name != "decay" or "time_constant_seconds" not in first.parameters:
            true = first.problem.truth.get(name)
            text = _listed(values) + ("" if true is None else f" (true {_listed(true)})")
            rows.append((name.replace("_", " "), text))
    losses = first.separation.restart_losses
    apart = max(losses) - min(losses)
    starts = "agree" if apart < 1e-4 else f"end up to {apart:.2g} above it"
    rows += [
        ("loss", f"{min(losses):.5f} nats per sample; starts {starts}"),
        ("time", f"{sum(trial.seconds for trial in trials):.1f} s"),
        ("files", "results.json, picture.png, sources.npy"),
    ]
    subject = str(cfg.task if cfg.mixtures is None else cfg.mixtures).replace("_", " ")
    if cfg.mixtures is not None:
        follow_up = "solo-ldm ica with another model= or seed=, to see whether the sources stay"
    elif len(cfg.seeds) == 1:
        follow_up = f'solo-ldm ica task={cfg.task} "seeds=[0,1,2,3,4]"'
    else:
        follow_up = "solo-ldm ica mixtures=FILE.npy  # of your own, (T, N)"
    print_summary(console, f"linear ICA: {subject}", rows, folder, [follow_up])


def _scores(trials: Sequence[Trial]) -> list[tuple[str, str | Text]]:
    ours, theirs = _distances(trials)
    failed = sum(not trial.fast_ica_converged for trial in trials)
    note = f"; did not converge for {failed} of {len(trials)} seeds" if failed else ""
    correlations = [value for one in trials if one.score for value in one.score.correlations]
    colour = "green" if max(ours) < GOOD else "yellow"
    return [
        (
            "Amari distance",
            Text.assemble((_values(ours), f"bold {colour}"), " (0 perfect, 1 worst)"),
        ),
        ("FastICA's", f"{_values(theirs)}{note}"),
        ("correlations", f"at least {min(correlations):.4f} with the true sources"),
    ]


def _distances(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    """Return the Amari distances, and those of FastICA, where the sources are known."""
    ours = [trial.score.amari_distance for trial in trials if trial.score]
    return ours, [trial.fast_ica.amari_distance for trial in trials if trial.fast_ica]


def _values(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    found = spread(values)
    return f"{found['mean']:.4f}, at most {found['largest']:.4f} over {len(values)} seeds"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
