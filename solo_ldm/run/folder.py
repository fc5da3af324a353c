"""Run folders: where a run keeps its files, and which unfinished run to continue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_ldm.config.places import check_place
from solo_ldm.files import checkpoint_at, read_json, write_json
from solo_ldm.run.data_identity import DataIdentity, real_path

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
    "data.in_memory",
    "data.download",
    "trainer.enable_progress_bar",
    "trainer.max_time",
)


def _file(name: str, doc: str) -> Any:
    return property(lambda folder: folder.path / name, doc=doc)


@dataclass(frozen=True)
class RunFolder:
    """trained_models/<method>/<run id>/ and the paths of what lies in it.

    Args:
        path: of the folder.
        trained_on: the data of the run, if they are to be written down.
    """

    path: Path
    trained_on: DataIdentity | None = None

    args = _file("args.json", "The resolved configuration.")
    data = _file("data.json", "The identity of the data.")
    last = _file("checkpoints/last.ckpt", "The checkpoint to continue from.")
    best = _file("checkpoints/best.ckpt", "The checkpoint with the best monitored value.")
    backbone = _file("backbone.safetensors", "The trained backbone with timm's keys.")
    classifier = _file("classifier.safetensors", "The trained classifier of a linear run.")
    confusion = _file("confusion.png", "Which classes a linear run takes for which.")
    gradients = _file("gradients.csv", "How alike the gradients of objectives are.")
    gradients_picture = _file("gradients.png", "The picture of it.")
    metrics = _file("metrics.csv", "One row an epoch.")
    results = _file("results.json", "Scores and provenance; it marks the run as finished.")
    report = _file("report.png", "The picture of the run.")

    @property
    def finished(self) -> bool:
        """Whether the run has ended and was evaluated."""
        return self.results.exists()

    def check_there(self) -> None:
        """Raise a one-line FileNotFoundError if the folder was removed, or emptied, since."""
        if not self.args.exists():
            raise FileNotFoundError(
                f"{self.path} was removed while its run was made: {self.args.name} is gone; the "
                "same command starts anew"
            )

    def write_results(self, results: dict[str, Any]) -> None:
        """Write results.json, which ends the run; see `check_there`."""
        self.check_there()
        write_json(self.results, results)

    @property
    def has_same_data(self) -> bool:
        """Whether what was trained here was trained on the same data.

        A run of a version that did not write its data down has the same ones unless a file has
        changed since it was started.
        """
        if self.trained_on is None:
            return True
        before = self._data_before()
        if before is not None:
            return before["digest"] == self.trained_on.digest
        return self.trained_on.newest <= self.args.stat().st_mtime

    @property
    def has_same_contents(self) -> bool | None:
        """Whether what was trained here was trained on the same data in any place, if known."""
        before, now = self._data_before(), self.trained_on
        return None if before is None or now is None else before["contents"] == now.contents

    def comes_from(self, source: str | None) -> bool:
        """Whether the run is the continuation of a checkpoint; without one, any run is."""
        if source is None or _same_file(source, self.last):
            return True
        try:
            before = read_json(self.args).get("resume_from_checkpoint")
        except (OSError, ValueError):
            return False
        return before is not None and _same_file(source, before)

    def differing_data(self) -> str:
        """Return a line that says how the data differ from those of the run."""
        before = self._data_before() or {"what": "files that have changed since"}
        now = "" if self.trained_on is None else f", now: {self.trained_on.what}"
        return f"{self.path} was trained on other data ({before['what']}{now})"

    def _data_before(self) -> dict[str, Any] | None:
        try:
            before = read_json(self.data)
        except (OSError, ValueError):
            return None
        return before if {"digest", "contents", "what"} <= before.keys() else None


def _same_file(one: str | Path, other: str | Path) -> bool:
    return checkpoint_at(one).resolve() == checkpoint_at(other).resolve()


def choose_run(
    cfg: DictConfig,
    kind: str | None = None,
    content: dict[str, Any] | None = None,
    data: DataIdentity | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> RunFolder:
    """Return the folder to train in: an unfinished run of the same configuration, or a new one.

    The run id is the run's name and a digest of what identifies the configuration, numbered when
    runs of it exist that are finished, were trained on other data or do not come from the
    checkpoint of resume_from_checkpoint. Nothing is written.

    Args:
        cfg: the completed configuration.
        kind: the folder in checkpoint.dir; that of the method if not given.
        content: decides what the run computes, JSON; the `identity` of the configuration if not
            given.
        data: that the run is trained on; None does not compare them.
        say: takes a line for each unfinished run that was trained on other data.
    """
    for folder in _folders(cfg, kind or cfg.method, content or identity(cfg), data):
        if not folder.args.exists():
            check_place("checkpoint.dir", folder.path)
            return folder
        unfinished = cfg.auto_resume.enabled and not folder.finished
        if unfinished and folder.comes_from(cfg.resume_from_checkpoint):
            if folder.has_same_data:
                return folder
            say(f"{folder.differing_data()}; it is left as it is, another run starts")
    raise AssertionError("there are always further folders")


def find_finished(
    cfg: DictConfig,
    accepts: Callable[[RunFolder], bool] = lambda folder: folder.last.exists(),
    data: DataIdentity | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> RunFolder | None:
    """Return the folder of a finished run of a completed configuration, if there is one.

    Args:
        cfg: the configuration.
        accepts: what the folder must hold besides; its last checkpoint if not given.
        data: that it must have been trained on; None does not compare them.
        say: takes a line for each finished run that was trained on other data.
    """
    folders = _folders(cfg, cfg.method, identity(cfg), data)
    for folder in takewhile(lambda folder: folder.args.exists(), folders):
        if folder.finished and accepts(folder):
            if folder.has_same_data:
                return folder
            say(f"{folder.differing_data()}; it is not used")
    return None


def _folders(
    cfg: DictConfig, kind: str, content: dict[str, Any], data: DataIdentity | None
) -> Iterator[RunFolder]:
    """Yield the folders that runs of a content may have.

    The real places of the data identify them. Versions before took places as they were written:
    what there is of these comes first.
    """
    given = content.get("data", {})
    real = {key: real_path(one) for key, one in (data.places if data else {}).items()}
    resolved = {**content, "data": {**given, **real}} if real else content
    if resolved != content:
        written = _numbered(cfg, kind, content, data)
        yield from takewhile(lambda folder: folder.args.exists(), written)
    yield from _numbered(cfg, kind, resolved, data)


def _numbered(
    cfg: DictConfig, kind: str, content: dict[str, Any], data: DataIdentity | None
) -> Iterator[RunFolder]:
    """Yield folders named by a digest of a content, then numbered from 2."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    stem = Path(cfg.checkpoint.dir) / kind / f"{str(cfg.name).replace('/', '-')}-{digest}"
    yield RunFolder(stem, data)
    yield from (RunFolder(stem.with_name(f"{stem.name}-{number}"), data) for number in count(2))


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
    """Write the configuration, the places of the data absolute, and the identity of the data."""
    content: Any = OmegaConf.to_container(cfg)
    if folder.trained_on is not None:
        content["data"] |= folder.trained_on.places
        known = asdict(folder.trained_on)
        about = {key: known[key] for key in ("digest", "contents", "what")} | known["about"]
        write_json(folder.data, about)
    write_json(folder.args, content)
