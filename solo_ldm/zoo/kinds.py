"""What differs between kinds of models in the zoo: how they are described, scored and loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from yaml import YAMLError

# Other packages add kinds of theirs under this name in their metadata; predictive does.
_GROUP = "solo_ldm.zoo_kinds"
_added: list[Kind] = []

CONFIG, WEIGHTS, TRAINING_STATE = "config.yaml", "model.safetensors", "training_state.ckpt"

# In place of a path of the machine that trained; OmegaConf's mark of what has to be given.
SOMEWHERE = "???"


@dataclass(frozen=True)
class Measured:
    """A score of published files.

    Args:
        protocol: its name.
        metric: top1 or r2.
        value: of the files.
        num_samples: that it was measured on.
        tolerance: largest difference that another machine may find.
    """

    protocol: str
    metric: str
    value: float
    num_samples: int
    tolerance: float


@dataclass(frozen=True)
class RunScore:
    """A score that a run recorded.

    Args:
        metric: top1 or r2.
        value: of the trained network.
        baseline: of the same network untrained; None where the protocol has none.
        num_samples: that it was measured on; 0 where the run does not say.
    """

    metric: str
    value: float
    baseline: float | None
    num_samples: int


@dataclass(frozen=True)
class Measurement:
    """What verifying finds.

    Args:
        scores: by protocol.
        dataset_sha256: of the data they were measured with.
    """

    scores: tuple[Measured, ...]
    dataset_sha256: str


Tell = Callable[[str, int, int | None], None]


def quietly(what: str, done: int, total: int | None) -> None:
    """Tell nobody."""


class DataNotHereError(FileNotFoundError):
    """The data of an entry come neither with the package nor out of a simulation."""


class Kind(ABC):
    """A kind of model: abstract methods alone, each implementation final.

    Files of an entry: config.yaml trains it again, model.safetensors holds its weights.
    """

    name: str
    package: str  # whose configurations config.yaml builds on
    command: str  # that trains it
    library: str  # for the hub
    data_paths: tuple[str, ...]  # keys of data.* that are places on one machine

    @abstractmethod
    def accepts(self, args: Mapping[str, Any]) -> bool:
        """Whether a run of this configuration is of this kind."""

    @abstractmethod
    def identity(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a run's configuration that decides what it computes."""

    @abstractmethod
    def facts(self, args: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
        """Return cell, headline, dataset, backbone, image_size and batch_size of an `Entry`."""

    @abstractmethod
    def run_scores(self, results: Mapping[str, Any]) -> dict[str, RunScore]:
        """Return what a run's results.json says by protocol; all that `measure` gives is there."""

    @abstractmethod
    def write_weights(self, run: Path, path: Path, half: bool) -> None:
        """Write the weights of a run as safetensors, in half precision if asked."""

    @abstractmethod
    def measure(self, folder: Path, data: Mapping[str, Any], tell: Tell = quietly) -> Measurement:
        """Score the files of an entry.

        Args:
            folder: that holds config.yaml and model.safetensors.
            data: keys of the data that differ from the run's, such as train_path.
            tell: called with what is being done, how much of it is, and of how much if known.

        Raises:
            ValueError: in one line: data that do not fit.
            FileNotFoundError: in one line: data that are not where they were said to be.
            DataNotHereError: in one line: data that have to be said where they are.
        """

    @abstractmethod
    def load(self, name: str, folder: Path) -> nn.Module:
        """Return the model in evaluation mode.

        Args:
            name: of the entry.
            folder: that holds config.yaml and model.safetensors.
        """

    @abstractmethod
    def usage(self, name: str) -> str:
        """Return Python for a card: from the name to what the model says of data."""

    def weights_digest(self, run: Path) -> str | None:
        """Return the `source_sha256` of a run's linear evaluations; None where there are none."""
        return None

    def hub_config(self, folder: Path) -> dict[str, Any] | None:
        """Return the content of config.json that the Hugging Face hub expects, if any."""
        return None


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of an entry, as it was published.

    Raises:
        ValueError: in one line: the file is no YAML of keys and values.
    """
    path = folder / CONFIG
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{path} is no YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected keys and values, got a {type(content).__name__}")
    return content


def with_places(config: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the places of its data on this machine.

    Args:
        config: of an entry.
        data: keys of data.* that differ here.

    Raises:
        DataNotHereError: in one line: a place that is not in `data`.
    """
    found = {**config["data"], **data}
    lacking = [f"{key}=PATH" for key, value in found.items() if value == SOMEWHERE]
    if lacking:
        raise DataNotHereError(
            f"the data of zoo:{config['name']} do not come with it: say where they are, "
            f"{' '.join(lacking)} (after --data on the command line)"
        )
    return {**config, "data": found}


def find_kind(name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        ValueError: in one line: a kind that no installed package adds.
    """
    kinds = all_kinds()
    if name not in kinds:
        raise ValueError(
            f"the zoo's kind {name} is not installed: expected one of {', '.join(sorted(kinds))}; "
            "install solo-ldm with all its packages"
        )
    return kinds[name]


def all_kinds() -> dict[str, Kind]:
    """Return the kinds that are installed, by name."""
    from solo_ldm.zoo.backbones import BackboneKind

    found: list[Kind] = [BackboneKind(), *_added]
    found += [point.load()() for point in entry_points(group=_GROUP)]
    return {kind.name: kind for kind in found}


def add_kind(kind: Kind) -> None:
    """Make a kind known whose package is not installed, and so has no metadata."""
    _added.append(kind)
