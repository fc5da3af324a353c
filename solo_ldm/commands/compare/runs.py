"""The runs of a comparison: found, continued or trained, and their results."""

from __future__ import annotations

import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from solo_ldm.commands.linear import linear
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.config.errors import one_line
from solo_ldm.files import read_json, write_json
from solo_ldm.run.data_identity import DataIdentity
from solo_ldm.run.folder import RunFolder, find_finished

OFFLINE = "linear-offline"
# Of a run's folder, beside results.json: what `solo-ldm linear` made of it.
_OFFLINE_SCORE = "linear-offline.json"


@dataclass(frozen=True, eq=False)
class Run:
    """A method with a seed.

    Args:
        label: the method's name in the comparison.
        seed: of the run.
        cfg: its completed configuration.
        data: that a finished run must have been trained on; None does not compare them.
    """

    label: str
    seed: int
    cfg: DictConfig
    data: DataIdentity | None = None

    @property
    def protocols(self) -> set[str]:
        """Names of the scores that it must have."""
        return set(self.cfg.evaluation.protocols)


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Args:
        label: the method's name in the comparison.
        seed: of the run.
        path: its folder or its record; None if it failed.
        results: the content of its results.json; empty if it failed.
        error: in one line, why it failed.
        trace: of the error.
        seconds: wall-clock time that the comparison spent on it, evaluation included.
        contents: digest of what the data contain; None where it is not known.
    """

    label: str
    seed: int
    path: str | None = None
    results: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    trace: str | None = None
    seconds: float = 0.0
    contents: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the run has scores."""
        return self.error is None

    @property
    def data(self) -> tuple[str | None, Any, Any]:
        """What the run was trained and scored on: contents, numbers of images of both splits."""
        return (self.contents, *(self.results[f"num_{one}_images"] for one in ("train", "val")))

    @property
    def health(self) -> dict[str, float]:
        """Measures of its latents at the end, as far as there are."""
        return self.results.get("health", {})

    def top1(self, protocol: str) -> float:
        """Return its score, 0 to 1."""
        return float(self.results["results"][protocol]["top1"])

    def untrained_top1(self, protocol: str) -> float | None:
        """Return the score of its network before training; None where it was not measured."""
        return self.results["results"][protocol].get("untrained_top1")


def find_result(run: Run) -> Result | None:
    """Return the result of a finished run of the same configuration that has all scores."""
    folder = _trained(run, run.protocols - {OFFLINE})
    if folder is None:
        return None
    results = _read(folder)
    contents = _contents(run, folder)
    found = Result(run.label, run.seed, str(folder.path), results, contents=contents)
    return found if run.protocols <= results["results"].keys() else None


def train(run: Run) -> Result:
    """Train and score a run, or continue it; an error becomes its result.

    Warnings are not shown: a collapse, which they report, is seen in the results.
    """
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            folder = _train(run, Console(quiet=True))
    except Exception as error:
        line = one_line(error)
        if not isinstance(error, (ValueError, FileNotFoundError)):
            line = f"{type(error).__name__}: {line}"
        return Result(run.label, run.seed, error=line, trace=traceback.format_exc())
    if folder is None:  # Lightning stops at Ctrl-C without raising it
        raise KeyboardInterrupt
    seconds = time.perf_counter() - started
    results, contents = _read(folder), _contents(run, folder)
    path = str(folder.path)
    return Result(run.label, run.seed, path, results, seconds=seconds, contents=contents)


def _train(run: Run, console: Console) -> RunFolder | None:
    """Do what a run lacks: its training, the score that trains a classifier, or both."""
    offline, others = OFFLINE in run.protocols, run.protocols - {OFFLINE}
    folder = _trained(run, others) if offline else None
    if folder is None:
        cfg = run.cfg.copy()
        cfg.evaluation.protocols = [one for one in cfg.evaluation.protocols if one in others]
        outcome = pretrain(cfg, console)
        folder = None if outcome is None else outcome.folder
    if folder is None or not offline:
        return folder
    scored = linear(_offline(run, folder), console)
    if scored is None:
        return None
    write_json(folder.path / _OFFLINE_SCORE, scored.results)
    return folder


def _trained(run: Run, protocols: set[str]) -> RunFolder | None:
    """Return the folder of a finished run that has some scores."""
    return find_finished(
        run.cfg, lambda folder: protocols <= _read(folder)["results"].keys(), run.data
    )


def _offline(run: Run, folder: RunFolder) -> DictConfig:
    """Return the configuration of linear-offline for a run, of its images and its seed."""
    return OmegaConf.create(
        {
            "pretrained_feature_extractor": str(folder.path),
            "protocol": OFFLINE,
            "seed": run.seed,
            "accelerator": run.cfg.accelerator,
            "precision": run.cfg.precision,
            "checkpoint": {"dir": run.cfg.checkpoint.dir},
        }
    )


def unlike(runs: Sequence[Result]) -> list[str]:
    """Return what finished runs were not all made with, each with its values and their counts."""
    lines = []
    for key in ("precision", "hardware"):
        counts = Counter(str(run.results[key]) for run in runs)
        if len(counts) > 1:
            listed = "; ".join(f"{value} ({count})" for value, count in counts.most_common())
            lines.append(f"{key}: {listed}")
    return lines


def _contents(run: Run, folder: RunFolder) -> str | None:
    """Return the digest of what the data of a run's folder contain."""
    if run.data is not None:
        return run.data.contents
    with suppress(OSError, ValueError):
        return read_json(folder.data).get("contents")
    return None


def _read(folder: RunFolder) -> dict[str, Any]:
    """Return the content of a run's results.json, with the score that was added."""
    results = read_json(folder.results)
    added = folder.path / _OFFLINE_SCORE
    if added.is_file():
        results["results"][OFFLINE] = read_json(added)
    return results
