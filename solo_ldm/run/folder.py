"""Run folders: where a run keeps its files, and which unfinished run to continue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class RunFolder:
    """trained_models/<method>/<run id>/ and the names of what lies in it."""

    path: Path

    @property
    def args(self) -> Path:
        """The resolved configuration."""
        return self.path / "args.json"

    @property
    def last(self) -> Path:
        """The checkpoint to continue from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint with the best monitored value."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def backbone(self) -> Path:
        """The trained backbone with timm's keys."""
        return self.path / "backbone.safetensors"

    @property
    def classifier(self) -> Path:
        """The trained classifier of a linear run."""
        return self.path / "classifier.safetensors"

    @property
    def confusion(self) -> Path:
        """The picture of a linear run: which classes are taken for which."""
        return self.path / "confusion.png"

    @property
    def metrics(self) -> Path:
        """One row an epoch."""
        return self.path / "metrics.csv"

    @property
    def results(self) -> Path:
        """Scores and provenance; its presence marks the run as finished."""
        return self.path / "results.json"

    @property
    def report(self) -> Path:
        """The picture of the run."""
        return self.path / "report.png"

    @property
    def finished(self) -> bool:
        """Whether the run has ended and was evaluated."""
        return self.results.exists()


def choose_run(cfg: DictConfig) -> RunFolder:
    """Return the folder to train in: an unfinished run of the same configuration, or a new one.

    The run id is the run's name and a digest of what identifies the configuration, numbered when
    finished runs of it exist. Nothing is written.
    """
    return choose_folder(cfg, cfg.method, identity(cfg))


def choose_folder(cfg: DictConfig, kind: str, content: dict[str, Any]) -> RunFolder:
    """Return the folder of a run that `content` identifies; see `choose_run`.

    Args:
        cfg: holds name, checkpoint.dir and auto_resume.enabled.
        kind: the folder in checkpoint.dir: the method, or what is done in place of one.
        content: decides what the run computes; JSON.
    """
    parent, stem = _place(cfg, kind, content)
    number = 1
    while True:
        folder = RunFolder(parent / (stem if number == 1 else f"{stem}-{number}"))
        resumable = cfg.auto_resume.enabled and not folder.finished
        if not folder.args.exists() or resumable:
            return folder
        number += 1


def find_finished(
    cfg: DictConfig,
    kind: str,
    content: dict[str, Any],
    accepts: Callable[[RunFolder], bool] = lambda folder: folder.last.exists(),
) -> RunFolder | None:
    """Return the folder of a finished run that `content` identifies.

    Args:
        cfg: holds name and checkpoint.dir.
        kind: as in `choose_folder`.
        content: as in `choose_folder`.
        accepts: what it must hold besides; its last checkpoint if not given.
    """
    parent, stem = _place(cfg, kind, content)
    number = 1
    while True:
        folder = RunFolder(parent / (stem if number == 1 else f"{stem}-{number}"))
        if not folder.args.exists():
            return None
        if folder.finished and accepts(folder):
            return folder
        number += 1


def _place(cfg: DictConfig, kind: str, content: dict[str, Any]) -> tuple[Path, str]:
    """Return the folder that runs of a kind lie in, and the name of those of a content."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    name = str(cfg.name).replace("/", "-")
    return Path(cfg.checkpoint.dir) / kind, f"{name}-{digest}"


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
