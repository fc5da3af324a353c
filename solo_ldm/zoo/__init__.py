"""Pretrained models: `list()`, `load(name)`, `results(name)`, `verify(name)`."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from solo_ldm.zoo.download import cache_folder, fetch
from solo_ldm.zoo.hub import PREFIX, fetch_from_hub
from solo_ldm.zoo.kinds import (
    CONFIG,
    SOMEWHERE,
    TRAINING_STATE,
    WEIGHTS,
    Measured,
    Tell,
    find_kind,
    quietly,
    read_config,
)
from solo_ldm.zoo.manifest import Entry, Result, find_entry, read_manifest, zoo_folder

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
    """A published score and what verifying found.

    Args:
        published: of the manifest.
        measured: now, on this machine.
    """

    published: Result
    measured: Measured

    @property
    def passed(self) -> bool:
        """Whether the two differ by no more than the stated tolerance."""
        allowed = self.published.tolerance
        return allowed is not None and abs(self.measured.value - self.published.value) <= allowed


@dataclass(frozen=True)
class Verification:
    """What verifying an entry found.

    Args:
        entry: that was verified.
        checks: a check a protocol.
        same_data: whether the data are those that the entry was scored on.
    """

    entry: Entry
    checks: tuple[Check, ...]
    same_data: bool

    @property
    def passed(self) -> bool:
        """Whether every score came out, on the same data."""
        return self.same_data and all(check.passed for check in self.checks)


def list() -> builtins.list[str]:
    """Return the names of the models."""
    return [*read_manifest()]


def entry(name: str) -> Entry:
    """Return what is known of a model.

    Raises:
        ValueError: in one line: an unknown name, with the nearest known one.
    """
    return find_entry(name, read_manifest())


def results(name: str) -> dict[str, Result]:
    """Return a model's published scores by protocol.

    Raises:
        ValueError: in one line: an unknown name.
    """
    return {one.protocol: one for one in entry(name).results}


def files(name: str, progress: Callable[[int, int], None] = lambda done, size: None) -> Path:
    """Return the folder of a model's configuration and weights, fetched and checked.

    Args:
        name: of the model.
        progress: called with the bytes of a file that are there and those of all of it.

    Raises:
        ValueError: in one line: an unknown name, a file that is not the published one, or none.
    """
    known = entry(name)
    fetch(known, CONFIG, progress=progress)
    return fetch(known, WEIGHTS, progress=progress).parent  # fetched together, kept together


def configuration(name: str) -> dict[str, Any]:
    """Return what a model was trained with; places of data that do not come with it are None.

    Raises:
        ValueError: in one line: an unknown name, a file that is not the published one, or none.
    """
    content = read_config(fetch(entry(name), CONFIG).parent)
    data = {key: None if value == SOMEWHERE else value for key, value in content["data"].items()}
    return {**content, "data": data}


def training_state(name: str) -> Path:
    """Return the checkpoint from which a model's training can go on, fetched and checked.

    Raises:
        ValueError: in one line: an unknown name, a model without one, a file that is not the
            published one.
    """
    return fetch(entry(name), TRAINING_STATE)


def load(name: str) -> nn.Module:
    """Return a model, ready for use.

    Args:
        name: as `list` gives it, with or without the prefix zoo:; or hf-hub:OWNER/NAME for an
            entry that somebody put on the Hugging Face hub.

    Returns:
        In evaluation mode, on the CPU. Of a backbone: `preprocess(images)` gives what the module
        takes, `features(images)` does both, `num_features` is the size of the features.

    Raises:
        ValueError: in one line: an unknown name, a file that is not the published one, or none.
    """
    if name.startswith(PREFIX):
        kind, folder = fetch_from_hub(name)
        return kind.load(name, folder)
    known = entry(name)
    return find_kind(known.kind).load(known.name, files(name))


def verify(name: str, data: Mapping[str, Any] | None = None, tell: Tell = quietly) -> Verification:
    """Measure a model's scores again, but for those that were recorded with the run alone.

    Args:
        name: of the model.
        data: keys of the data that are elsewhere here, such as {"train_path": FOLDER}.
        tell: called with what is being done, how much of it is, and of how much if known.

    Raises:
        ValueError: in one line: an unknown name, files that are not the published ones, data that
            do not fit.
        FileNotFoundError: in one line: data that are not there; a DataNotHereError where `data`
            has to say where they are.
    """
    known = entry(name)
    found = find_kind(known.kind).measure(files(name), data or {}, tell)
    measured = {one.protocol: one for one in found.scores}
    checks = [
        Check(one, measured[one.protocol]) for one in known.results if one.tolerance is not None
    ]
    return Verification(known, tuple(checks), found.dataset_sha256 == known.dataset_sha256)
