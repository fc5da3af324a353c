"""What the manifest says of a published model: its files, how it was made, how good it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

# The files of a model; some have a training state, to continue training from.
CONFIG, WEIGHTS, TRAINING_STATE = "config.yaml", "model.safetensors", "training_state.ckpt"

# In a published configuration, in place of a path on the machine that trained: OmegaConf's mark of
# a value that has to be given.
NOT_PUBLISHED = "???"


@dataclass(frozen=True)
class ZooFile:
    """A published file.

    Args:
        name: of the file in the entry's folder.
        sha256: of its content, 64 hexadecimal digits.
        size: bytes.
        urls: mirrors, tried in turn; none for files that come with the package.
    """

    name: str
    sha256: str
    size: int
    urls: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """A score of the published weights, and of all runs of the same configuration.

    Args:
        protocol: its name.
        metric: top1 or r2; higher is better.
        value: of the published weights.
        baseline: of the untrained network; None where the protocol has none.
        mean: over runs that differ only in the seed; equals `value` with one run.
        std: sample standard deviation over these runs; None with one run.
        num_runs: their number.
        num_samples: number of test samples behind `value`; 0 where it is not known.
        tolerance: largest difference from `value` allowed on another machine; None for a score that
            was recorded during training and is not measured again.
    """

    protocol: str
    metric: str
    value: float
    baseline: Optional[float]
    mean: float
    std: Optional[float]
    num_runs: int
    num_samples: int
    tolerance: Optional[float]


@dataclass(frozen=True)
class Reference:
    """A score that others published for the same method.

    Args:
        protocol: of the result that it is compared with.
        value: in the unit of `Result.value`.
        source: publication.
        differs: how their setting differs.
    """

    protocol: str
    value: float
    source: str
    differs: str


@dataclass(frozen=True)
class Entry:
    """A published model.

    Args:
        name: as in zoo:NAME.
        kind: what it is: backbone (images) or predictive (time series).
        method: that trained it.
        cell: the method's axes: latent, entropy, over, predictor, target; None where one does not
            apply.
        headline: the method in words.
        dataset: training data.
        dataset_sha256: of the images and labels, of the recording, or of the simulation's settings.
        licence: of the data.
        backbone: the network.
        num_features: size of its features.
        image_size: side of its images in pixels; None for time series.
        epochs: of training.
        batch_size: samples per step.
        seed: of the run.
        command: that trains it again.
        commit: of solo_ldm at training; None where it was not a checkout.
        versions: of Python and the libraries, by name.
        hardware: that it was trained on.
        seconds: of training.
        date: of the end of training, ISO 8601.
        files: that were published.
        results: one per protocol.
        reference: a score that others published, if there is one.
        scored_on: which images the scores are on, in words; None where it was not recorded.
    """

    name: str
    kind: str
    method: str
    cell: dict[str, Optional[str]]
    headline: str
    dataset: str
    dataset_sha256: str
    licence: str
    backbone: str
    num_features: int
    image_size: Optional[int]
    epochs: int
    batch_size: int
    seed: int
    command: str
    commit: Optional[str]
    versions: dict[str, str]
    hardware: str
    seconds: float
    date: str
    files: list[ZooFile]
    results: list[Result]
    reference: Optional[Reference] = None
    scored_on: Optional[str] = None

    def reference_for(self, protocol: str) -> Reference | None:
        """Return the score that others published for a protocol, if there is one."""
        return self.reference if self.reference and self.reference.protocol == protocol else None

    def file(self, name: str) -> ZooFile:
        """Return a file by its name.

        Raises:
            ValueError: the entry has no such file.
        """
        known = {one.name: one for one in self.files}
        if name not in known:
            raise ValueError(f"zoo:{self.name} has no file {name}: it has {', '.join(known)}")
        return known[name]
