"""The report on the theorem: verdicts, results.json, and the summary on the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from solo_ldm.run.hardware import Hardware
from solo_ldm.run.record import print_summary, provenance, spread
from solo_ldm.theorem.trial import Trial

PROTOCOL = (
    "R² of the true sources from the best affine map of latents, fitted on one half of 8000 "
    "held-out samples and scored on the other; gaps: the loss of known wrong latents less that of "
    "the sources, both predicted by their exact conditional means, in nats a dimension"
)
# Smaller gaps are within the error of the entropy estimate.
NO_GAP = 0.01

Trials = Mapping[str, Sequence[Trial]]


@dataclass(frozen=True)
class Verdict:
    """A case compared with what the theorem says about it.

    Args:
        as_said: whether the results agree with the theorem.
        text: for reports.
    """

    as_said: bool
    text: str


def judge(trials: Sequence[Trial], threshold: float, worst_found: float | None) -> Verdict:
    """Compare a case with what the theorem says about it.

    Where the assumptions hold, R² of every seed must reach the threshold and the loss of every
    alternative must exceed that of the sources. Where one is violated, R² of every seed must be
    below both the threshold and the case that holds, and no loss may exceed that of the sources.

    Args:
        trials: of the case, one for each seed.
        threshold: of R².
        worst_found: the lowest R² of the case that holds, if it was run.
    """
    scores = [one.learned.r2 for one in trials]
    gaps = [gap for one in trials for gap in one.gaps.values()]
    if trials[0].problem.case.recovers:
        found, separated = min(scores) >= threshold, min(gaps) > NO_GAP
        text = "found" if found else f"not found: lowest R² {min(scores):.3f}"
        text += "" if separated else "; the loss does not exclude wrong latents"
        return Verdict(found and separated, text)
    bound = threshold if worst_found is None else min(threshold, worst_found)
    lost, separated = max(scores) < bound, max(gaps) > NO_GAP
    text = "lost" if lost else f"not lost: highest R² {max(scores):.3f}"
    text += "; the loss excludes wrong latents" if separated else ""
    return Verdict(lost and not separated, text)


def judge_all(cases: Trials, threshold: float) -> dict[str, Verdict]:
    """Return the verdict on each case."""
    held = [one.learned.r2 for ran in cases.values() for one in ran if one.problem.case.recovers]
    worst = min(held, default=None)
    return {name: judge(trials, threshold, worst) for name, trials in cases.items()}


def verdict_of(verdicts: Mapping[str, Verdict]) -> str:
    """Return the verdict on all cases as a sentence."""
    wrong = [name for name, one in verdicts.items() if not one.as_said]
    if wrong:
        return f"not as the theorem says: {', '.join(wrong)}"
    return "every case agrees with the theorem"


def content_of(cfg: dict[str, Any], cases: Trials, hardware: Hardware) -> dict[str, Any]:
    """Return the content of results.json.

    Args:
        cfg: the completed configuration.
        cases: the trials of each case, one for each seed.
        hardware: that they were trained on.
    """
    verdicts = judge_all(cases, cfg["threshold"])
    seconds = sum(one.seconds for ran in cases.values() for one in ran)
    content = {
        "as_the_theorem_says": all(one.as_said for one in verdicts.values()),
        "protocol": PROTOCOL,
        "cases": {
            name: {
                "title": trials[0].problem.case.title,
                "theorem_says": "found" if trials[0].problem.case.recovers else "lost",
                "as_said": verdicts[name].as_said,
                "verdict": verdicts[name].text,
                "r2": spread([one.learned.r2 for one in trials]),
                "trials": [_trial(one) for one in trials],
            }
            for name, trials in cases.items()
        },
        "config": cfg,
    }
    return content | provenance(hardware) | {"seconds": round(seconds, 3)}


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


def print_theorem_summary(cfg: DictConfig, cases: Trials, folder: Path, console: Console) -> None:
    """Print the verdict on each case, and what to do next.

    Args:
        cfg: the completed configuration.
        cases: the trials of each case, one for each seed.
        folder: where the files are.
        console: where to print.
    """
    verdicts = judge_all(cases, cfg.threshold)
    rows: list[tuple[str, str | Text]] = []
    for name, trials in cases.items():
        found = spread([one.learned.r2 for one in trials])
        untrained = statistics.fmean(one.untrained.r2 for one in trials)
        gaps = ", ".join(
            f"{key} {statistics.fmean(one.gaps[key] for one in trials):+.3f}"
            for key in trials[0].gaps
        )
        colour = "green" if verdicts[name].as_said else "yellow"
        text = Text.assemble(
            (verdicts[name].text, f"bold {colour}"),
            f"; affine R² {found['mean']:.3f} ({found['smallest']:.3f} to {found['largest']:.3f}), "
            f"untrained {untrained:.3f}",
        )
        rows += [(name, text), ("", f"loss gaps: {gaps}")]
    seconds = sum(one.seconds for ran in cases.values() for one in ran)
    count = len(cfg.seeds)
    rows += [
        ("verdict", Text(verdict_of(verdicts), "bold")),
        (
            "trained",
            f"{count} seed{'s' if count > 1 else ''}, entropy {cfg.entropy}, {cfg.steps} steps, "
            f"{seconds:.0f} s; sources are found from R² {cfg.threshold:g}",
        ),
        ("files", "results.json, picture.png"),
    ]
    if cfg.entropy == "logdet" and not all(one.as_said for one in verdicts.values()):
        follow_up = "solo-ldm theorem entropy=neighbour  # which follows the entropy itself"
    elif not all(one.as_said for one in verdicts.values()):
        follow_up = f"solo-ldm theorem steps={2 * cfg.steps}  # more training"
    elif cfg.entropy != "logdet":
        follow_up = "solo-ldm theorem entropy=logdet output=theorem/logdet  # an upper bound"
    else:
        follow_up = "solo-ldm predictive --config-name nonlinear_system  # from images in time"
    print_summary(console, "the theorem as a check", rows, folder, [follow_up])
