"""Pretrained models: `list()`, `load(name)`, `results(name)`, `verify(name)`."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solo_ldm.files import read_json
from solo_ldm.weights.published import CONFIG, configuration, files, training_state
from solo_ldm.weights.published.download import cache_folder, check_files
from solo_ldm.weights.published.entry import Entry, Result
from solo_ldm.weights.published.manifest import find_entry as entry
from solo_ldm.weights.published.manifest import read_manifest, read_yaml, zoo_folder
from solo_ldm.zoo.kinds import Progress, Score, find_kind, kind_of, no_progress

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Check",
    "Entry",
    "Verification",
    "cache_folder",
    "configuration",
    "entry",
    "files",
    "list",
    "load",
    "results",
    "training_state",
    "verify",
    "zoo_folder",
]


@dataclass(frozen=True)
class Check:
    """A published score and the same score measured again.

    Args:
        published: in the manifest.
        measured: on this machine.
    """

    published: Result
    measured: Score

    @property
    def passed(self) -> bool:
        """Whether the two differ by no more than the stated tolerance."""
        allowed = self.published.tolerance
        return allowed is not None and abs(self.measured.value - self.published.value) <= allowed


@dataclass(frozen=True)
class Verification:
    """The outcome of verifying an entry.

    Args:
        entry: that was verified.
        checks: one per protocol that is measured again.
        same_data: whether the data are those that the entry was scored on.
    """

    entry: Entry
    checks: tuple[Check, ...]
    same_data: bool

    @property
    def passed(self) -> bool:
        """Whether every score is within its tolerance, on the same data."""
        return self.same_data and all(check.passed for check in self.checks)


def list() -> builtins.list[str]:
    """Return the names of the models."""
    return [*read_manifest()]


def results(name: str) -> dict[str, Result]:
    """Return a model's published scores by protocol.

    Raises:
        ValueError: in one line: an unknown name.
    """
    return {one.protocol: one for one in entry(name).results}


def load(name: str) -> nn.Module:
    """Return a model, ready for use.

    Args:
        name: as `list` gives it, with or without the prefix zoo:; or hf-hub:OWNER/NAME for a
            model that `solo-ldm zoo publish` wrote and somebody put on the Hugging Face hub; or the
            folder of a run of `solo-ldm predictive`.

    Returns:
        In evaluation mode, on the CPU. Of a backbone: `preprocess(images)` gives what the module
        takes, `features(images)` does both, `num_features` is the size of the features.

    Raises:
        ValueError: in one line: an unknown name, a file that is not the published one, or none;
            a run that has another way to be loaded.
    """
    run = Path(name).expanduser()
    if (run / "args.json").is_file() and name not in read_manifest():
        return find_kind(kind_of(read_json(run / "args.json"), name)).load_run(run)
    folder, name = files(name), name.removeprefix("zoo:")
    return find_kind(kind_of(read_yaml(folder / CONFIG), name)).load(name, folder)


def verify(
    name: str, data: Mapping[str, Any] | None = None, progress: Progress = no_progress
) -> Verification:
    """Measure a model's scores again, except those that were only recorded during training.

    Args:
        name: of the model.
        data: keys of data.* that differ on this machine, such as {"train_path": FOLDER}.
        progress: called with what is being done, how much of it is done, and of how much (None:
            unknown).

    Raises:
        ValueError: in one line: an unknown name, files that are not the published ones, data that
            do not fit.
        FileNotFoundError: in one line: data that are not there; a DataNotHereError where `data`
            has to say where they are.
    """
    known = entry(name)
    check_files(known)
    scores, sha256 = find_kind(known.kind).measure(files(name), data or {}, progress)
    checks = [
        Check(one, scores[one.protocol]) for one in known.results if one.tolerance is not None
    ]
    return Verification(known, tuple(checks), sha256 == known.dataset_sha256)
