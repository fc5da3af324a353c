"""What the check of the theorem tells: results.json, and the summary on the terminal."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table

from solo_ldm.run.provenance import commit, cpu_name, versions
from solo_ldm.theorem.trial import Trial

PROTOCOL = (
    "R² of the true sources from the best affine map of latents, fitted on one half of 8000 "
    "held-out samples and scored on the other; gaps: the loss of known wrong latents less that of "
    "the sources, both predicted by their exact conditional means, in nats a dimension"
)
# A gap below this is none: what the estimate of an entropy differs by between equal ones.
NO_GAP = 0.01

Trials = dict[str, list[Trial]]


@dataclass(frozen=True)
class Verdict:
    """What the theorem says of a case, and what came of it.

    Args:
        as_said: whether it came as the theorem says.
        found: whether R² of every seed reached the threshold.
        text: in words.
    """

    as_said: bool
    found: bool
    text: str


def judge(trials: Sequence[Trial], threshold: float, worst_found: float | None) -> Verdict:
    """Compare a case with what the theorem says of it.

    Where the assumptions hold, R² of every seed must reach the threshold and the loss must tell
    every alternative from the sources; where one is left out, R² of every seed must stay below both
    the threshold and the case that holds, and the loss must not tell.

    Args:
        trials: of a case, one a seed.
        threshold: of R².
        worst_found: the lowest R² of the case that holds, if it was run.
    """
    scores = [one.learned.r2 for one in trials]
    gaps = [gap for one in trials for gap in one.gaps.values()]
    found = min(scores) >= threshold
    if trials[0].problem.case.recovers:
        told = min(gaps) > NO_GAP
        text = "found" if found else f"not found: lowest R² {min(scores):.3f}"
        text += "" if told else "; the loss does not tell wrong latents"
        return Verdict(found and told, found, text)
    bound = threshold if worst_found is None else min(threshold, worst_found)
    lost, told = max(scores) < bound, max(gaps) > NO_GAP
    text = "lost" if lost else f"not lost: highest R² {max(scores):.3f}"
    text += "; the loss tells wrong latents" if told else ""
    return Verdict(lost and not told, found, text)


def judge_all(cases: Trials, threshold: float) -> dict[str, Verdict]:
    """Return the verdict on each case."""
    held = [one.learned.r2 for ran in cases.values() for one in ran if one.problem.case.recovers]
    worst = min(held, default=None)
    return {name: judge(trials, threshold, worst) for name, trials in cases.items()}


def in_words(verdicts: dict[str, Verdict]) -> str:
    """Say in a sentence what came of all cases."""
    wrong = [name for name, one in verdicts.items() if not one.as_said]
    if not wrong:
        return "every case came as the theorem says"
    return f"not as the theorem says: {', '.join(wrong)}"


def content_of(cfg: DictConfig, cases: Trials, device: str) -> dict[str, Any]:
    """Return the content of results.json.

    Args:
        cfg: the completed configuration.
        cases: the trials of each case, one a seed.
        device: that they were trained on.
    """
    verdicts = judge_all(cases, cfg.threshold)
    hardware = f"{cpu_name()}, {os.cpu_count()} cores"
    if device == "cuda":
        hardware = f"{torch.cuda.get_device_name()}; {hardware}"
    return {
        "as_the_theorem_says": all(one.as_said for one in verdicts.values()),
        "protocol": PROTOCOL,
        "cases": {
            name: {
                "title": trials[0].problem.case.title,
                "theorem_says": "found" if trials[0].problem.case.recovers else "lost",
                "as_said": verdicts[name].as_said,
                "verdict": verdicts[name].text,
                "r2": _spread([one.learned.r2 for one in trials]),
                "trials": [_trial(one) for one in trials],
            }
            for name, trials in cases.items()
        },
        "config": OmegaConf.to_container(cfg),
        "hardware": hardware,
        "versions": versions(),
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(sum(one.seconds for ran in cases.values() for one in ran), 3),
    }


def _spread(values: list[float]) -> dict[str, float]:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "mean": statistics.fmean(values),
        "std": spread,
        "smallest": min(values),
        "largest": max(values),
    }


def _trial(trial: Trial) -> dict[str, Any]:
    affected = trial.problem.case.affected
    rest = [i for i in range(len(trial.learned.per_source)) if i not in affected]
    return {
        "seed": trial.problem.seed,
        "r2": trial.learned.r2,
        "r2_per_source": list(trial.learned.per_source),
        "affected_sources": [i + 1 for i in affected],
        "r2_affected": trial.learned.over(affected),
        "r2_rest": trial.learned.over(rest) if rest else None,
        "untrained_r2": trial.untrained.r2,
        "observations_r2": trial.observed.r2,
        "loss_gaps": trial.gaps,
        "learned_loss_gap": trial.learned_gap,
        "seconds": round(trial.seconds, 3),
    }


def print_theorem_summary(
    cfg: DictConfig, cases: Trials, folder: Path, files: Sequence[str], console: Console
) -> None:
    """Print what was checked, how it came, what was written, and what to do next.

    Args:
        cfg: the completed configuration.
        cases: the trials of each case, one a seed.
        folder: where the files are.
        files: their names.
        console: where to print.
    """
    verdicts = judge_all(cases, cfg.threshold)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("case", "affine R²", "untrained", "loss gaps", "sources are"):
        table.add_column(name)
    for name, trials in cases.items():
        scores = [one.learned.r2 for one in trials]
        gaps = "\n".join(
            f"{key} {statistics.fmean([one.gaps[key] for one in trials]):+.3f}"
            for key in trials[0].gaps
        )
        colour = "green" if verdicts[name].as_said else "yellow"
        table.add_row(
            name,
            f"{statistics.fmean(scores):.3f}\n{min(scores):.3f} to {max(scores):.3f}",
            f"{statistics.fmean([one.untrained.r2 for one in trials]):.3f}",
            gaps,
            f"[bold {colour}]{verdicts[name].text}[/]",
        )
    seconds = sum(one.seconds for ran in cases.values() for one in ran)
    count = len(cfg.seeds)
    tail = (
        f"\nthreshold {cfg.threshold:g}, {count} seed{'s' if count > 1 else ''}, entropy "
        f"{cfg.entropy}, {cfg.steps} steps, {seconds:.0f} s"
        f"\n[bold]{in_words(verdicts)}[/]"
    )
    console.print(Panel(Group(table, tail), title="the theorem as a check", expand=False))
    for line in (f"wrote {', '.join(files)} in {folder}", f"next: {_next(cfg, verdicts)}"):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _next(cfg: DictConfig, verdicts: dict[str, Verdict]) -> str:
    if not all(one.as_said for one in verdicts.values()):
        if cfg.entropy == "logdet":
            return "solo-ldm theorem entropy=neighbour  # which follows the entropy itself"
        return f"solo-ldm theorem steps={2 * cfg.steps}  # more training"
    if cfg.entropy != "logdet":
        return "solo-ldm theorem entropy=logdet folder=theorem/logdet  # a bound of the entropy"
    return "solo-ldm predictive --config-name nonlinear_system  # the same from images in time"
