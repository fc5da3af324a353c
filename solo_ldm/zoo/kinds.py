"""What differs between kinds of models in the zoo: how they are described, scored and loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solo_ldm.weights.published.entry import NOT_PUBLISHED

if TYPE_CHECKING:
    from torch import nn

# Each kind by name: its class, imported when it is needed, because it needs torch; and the keys by
# which the configuration of a run shows its kind.
KINDS = {
    "backbone": ("solo_ldm.zoo.backbones:BackboneKind", {"backbone", "augmentations"}),
    "predictive": ("predictive.zoo:PredictiveKind", {"encoder", "predictor"}),
}
# What the loaded model can do, after the line that loads it.
_USAGE = {
    "backbone": """\
features = model.features(["one.png", "another.jpg"])  # (2, model.num_features)
""",
    "predictive": """\
sequences = model.held_out()  # .inputs (N, T, F) and .targets, or inputs of yours
states = model.features(sequences.inputs)  # (N, T, model.num_features)
forecast = model(sequences.inputs)  # .latents; .predictions.mean, .variance
""",
}

# Called with what is being done, how much of it is done, and of how much (None: unknown).
Progress = Callable[[str, int, "int | None"], None]


def no_progress(what: str, done: int, total: int | None) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Score:
    """A score by one protocol.

    Args:
        metric: top1 or r2; higher is better.
        value: of the trained network.
        num_samples: number of test samples; 0 where it is not known.
        baseline: of the untrained network; None where it was not measured.
        tolerance: largest difference that another machine may find; None where it is not known.

    Raises:
        TypeError: something else than numbers.
    """

    metric: str
    value: float
    num_samples: int
    baseline: float | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        for number in (self.value, self.num_samples, self.baseline or 0.0):
            if not isinstance(number, int | float):
                raise TypeError(f"expected numbers in a score, got {str(number)[:40]!r}")


class DataNotHereError(FileNotFoundError):
    """The data of an entry neither come with the package nor are simulated."""


class Kind(ABC):
    """A kind of model; a subclass is final.

    In the folder of an entry config.yaml trains it again, model.safetensors holds its weights.
    """

    command: str  # that trains it
    library: str  # that loads it, for the hub
    data_paths: tuple[str, ...]  # keys of data.* that are paths on one machine

    @abstractmethod
    def identity(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a run's configuration that decides what it computes."""

    @abstractmethod
    def facts(self, args: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
        """Return cell, headline, dataset, backbone, image_size and batch_size of an `Entry`, more.

        Args:
            args: content of the run's args.json.
            results: content of its results.json.
        """

    @abstractmethod
    def run_scores(self, results: Mapping[str, Any]) -> dict[str, Score]:
        """Return the scores in a run's results.json by protocol; all that `measure` gives."""

    @abstractmethod
    def write_weights(self, run: Path, path: Path, half: bool) -> None:
        """Write the weights of a run as safetensors, in half precision if asked."""

    @abstractmethod
    def measure(
        self, folder: Path, data: Mapping[str, Any], progress: Progress = no_progress
    ) -> tuple[dict[str, Score], str]:
        """Return scores of the files of an entry by protocol, and the SHA-256 of the data.

        Args:
            folder: of the entry.
            data: keys of data.* that differ from the run's, such as train_path.
            progress: see `Progress`.

        Raises:
            ValueError: in one line: data that do not fit.
            FileNotFoundError: in one line: data that are not where `data` says.
            DataNotHereError: in one line: data whose place has to be given.
        """

    @abstractmethod
    def load(self, name: str, folder: Path) -> nn.Module:
        """Return the model of an entry, from the files in its folder, in evaluation mode."""

    def load_run(self, folder: Path) -> nn.Module:
        """Return the model of a run, from its folder, in evaluation mode.

        Raises:
            ValueError: in one line: runs of the kind are loaded by something else.
        """
        raise ValueError(f'{folder}: a run on images is loaded by solo_ldm.load("{folder}")')

    def weights_digest(self, run: Path) -> str | None:
        """Return the `source_sha256` of a run's linear evaluations; None where there are none."""
        return None

    def hub_config(self, folder: Path) -> dict[str, Any] | None:
        """Return the content of config.json that the Hugging Face hub expects, if any."""
        return None


def find_kind(name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        ValueError: in one line: an unknown kind.
    """
    if name not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {name!r}")
    module, _, kind = KINDS[name][0].partition(":")
    return getattr(import_module(module), kind)()


def kind_of(args: Mapping[str, Any], source: str | Path) -> str:
    """Return the name of the kind of model that a configuration trains.

    Raises:
        ValueError: in one line that names the source: a configuration of no known kind.
    """
    for name, (_, keys) in KINDS.items():
        if keys <= args.keys():
            return name
    raise ValueError(
        f"{source}: expected the configuration of one of {', '.join(KINDS)}, got another; give "
        "what solo-ldm trained, or load timm's models by timm.create_model"
    )


def usage(kind: str, name: str) -> str:
    """Return lines of Python that load an entry of a kind and use it."""
    return f'from solo_ldm import zoo\n\nmodel = zoo.load("{name}")\n{_USAGE.get(kind, "")}'


def with_data(config: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a published configuration with the keys of data.* that differ on this machine.

    Raises:
        DataNotHereError: in one line: a path that is not in `data`.
    """
    found = {**config["data"], **data}
    if keys := lacking({"data": found}):
        raise DataNotHereError(
            f"the data of zoo:{config['name']} do not come with it: say where they are, "
            f"{' '.join(f'{key}=PATH' for key in keys)} (after --data on the command line)"
        )
    return {**config, "data": found}


def lacking(config: Mapping[str, Any]) -> list[str]:
    """Return the keys of data.* that are to be given on another machine."""
    return [key for key, value in config["data"].items() if value == NOT_PUBLISHED]


def in_folder(config: Mapping[str, Any], folder: str | Path) -> dict[str, str]:
    """Return the keys of data.* that a published configuration lacks, as a folder has the data.

    Where both splits lack their paths, they are train/ and test/, or val/, below the folder.
    """
    keys = lacking(config)
    if not {"train_path", "val_path"} <= set(keys):
        return dict.fromkeys(keys, str(folder))
    below = next((name for name in ("test", "val") if Path(folder, name).is_dir()), "test")
    return {"train_path": str(Path(folder, "train")), "val_path": str(Path(folder, below))}
