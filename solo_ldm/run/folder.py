"""Run folders: where a run keeps its files, and which unfinished run to continue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_ldm.files import write_json

# What may differ between the start of a run and its continuation: it changes where and how fast a
# run computes and what is reported, not what is trained.
_NOT_IDENTITY = (
    "accelerator",
    "auto_resume",
    "checkpoint",
    "evaluation",
    "name",
    "published",
    "dali",
    "resume_from_checkpoint",
    "tensorboard",
    "wandb",
    "data.device",
    "data.num_workers",
    "data.download",
)


def _file(name: str, doc: str) -> Any:
    return property(lambda folder: folder.path / name, doc=doc)


@dataclass(frozen=True)
class RunFolder:
    """trained_models/<method>/<run id>/ and the paths of what lies in it."""

    path: Path

    args = _file("args.json", "The resolved configuration.")
    last = _file("checkpoints/last.ckpt", "The checkpoint to continue from.")
    best = _file("checkpoints/best.ckpt", "The checkpoint with the best monitored value.")
    backbone = _file("backbone.safetensors", "The trained backbone with timm's keys.")
    classifier = _file("classifier.safetensors", "The trained classifier of a linear run.")
    confusion = _file("confusion.png", "Which classes a linear run takes for which.")
    metrics = _file("metrics.csv", "One row an epoch.")
    results = _file("results.json", "Scores and provenance; it marks the run as finished.")
    report = _file("report.png", "The picture of the run.")

    @property
    def finished(self) -> bool:
        """Whether the run has ended and was evaluated."""
        return self.results.exists()


def choose_run(
    cfg: DictConfig, kind: str | None = None, content: dict[str, Any] | None = None
) -> RunFolder:
    """Return the folder to train in: an unfinished run of the same configuration, or a new one.

    The run id is the run's name and a digest of what identifies the configuration, numbered when
    finished runs of it exist. Nothing is written.

    Args:
        cfg: the completed configuration.
        kind: the folder in checkpoint.dir; that of the method if not given.
        content: decides what the run computes, JSON; the `identity` of the configuration if not
            given.
    """
    return next(
        folder
        for folder in _folders(cfg, kind or cfg.method, content or identity(cfg))
        if not folder.args.exists() or (cfg.auto_resume.enabled and not folder.finished)
    )


def find_finished(
    cfg: DictConfig,
    accepts: Callable[[RunFolder], bool] = lambda folder: folder.last.exists(),
) -> RunFolder | None:
    """Return the folder of a finished run of a completed configuration, if there is one.

    Args:
        cfg: the configuration.
        accepts: what the folder must hold besides; its last checkpoint if not given.
    """
    folders = _folders(cfg, cfg.method, identity(cfg))
    begun = takewhile(lambda folder: folder.args.exists(), folders)
    return next((folder for folder in begun if folder.finished and accepts(folder)), None)


def _folders(cfg: DictConfig, kind: str, content: dict[str, Any]) -> Iterator[RunFolder]:
    """Yield the folders that runs of a content may have: its name, then numbered from 2."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    stem = Path(cfg.checkpoint.dir) / kind / f"{str(cfg.name).replace('/', '-')}-{digest}"
    yield RunFolder(stem)
    yield from (RunFolder(stem.with_name(f"{stem.name}-{number}")) for number in count(2))


def identity(cfg: DictConfig, besides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the part of a configuration that decides what a run computes.

    Keys set to null are left out: null is the default, so that a version with another such key
    still knows the runs of those before it.

    Args:
        cfg: the completed configuration.
        besides: further keys that do not decide it.
    """
    content: Any = _without_nulls(OmegaConf.to_container(cfg))
    for key in (*_NOT_IDENTITY, *besides):
        node, _, leaf = key.rpartition(".")
        (content.get(node, {}) if node else content).pop(leaf, None)
    return content


def _without_nulls(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return {key: _without_nulls(value) for key, value in content.items() if value is not None}


def save_args(folder: RunFolder, cfg: DictConfig) -> None:
    """Write the resolved configuration."""
    write_json(folder.args, OmegaConf.to_container(cfg))
