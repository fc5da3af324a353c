"""The manifest of the zoo: what was published, how it was made, how good it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.resources import files as packaged
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from solo_ldm.config.suggestions import suggestion
from solo_ldm.files import write_atomically

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADER = """\
# What the zoo holds. Written by `solo-ldm zoo publish`; no number of ours was typed.
# zoo/README.md is the table of it.
"""


@dataclass(frozen=True)
class ZooFile:
    """A published file.

    Args:
        name: of the file in the entry's folder.
        sha256: of its content, 64 hexadecimal digits.
        size: bytes.
        urls: where it can be fetched from, tried in turn; () for files that come with the package.
    """

    name: str
    sha256: str
    size: int
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What a protocol says of the published files, and of the runs they are one of.

    Args:
        protocol: its name.
        metric: top1 or r2; higher is better.
        value: of the published files.
        baseline: of the same network untrained; None where the protocol has none.
        mean: over runs that differ in the seed alone; `value` with one run.
        std: sample standard deviation over them; None with one run.
        num_runs: how many.
        num_samples: that `value` was measured on.
        tolerance: largest difference from `value` that verifying on another machine may find; None
            for a score that was recorded with the run and is not measured again.
    """

    protocol: str
    metric: str
    value: float
    baseline: float | None
    mean: float
    std: float | None
    num_runs: int
    num_samples: int
    tolerance: float | None


@dataclass(frozen=True)
class Reference:
    """A figure that others published, to compare with.

    Args:
        protocol: of the entry's results that it belongs to.
        value: as `Result.value`.
        source: where it stands.
        differs: what is different from the entry's setting.
    """

    protocol: str
    value: float
    source: str
    differs: str


@dataclass(frozen=True)
class Entry:
    """A published model.

    Args:
        name: of the entry.
        kind: how it is loaded and scored: backbone, or a kind that another package adds.
        method: that it was trained by.
        cell: of the grid: latent, entropy, over, predictor, target; what is not of it, none.
        headline: the method in words.
        dataset: a name for the data that it was trained on.
        dataset_sha256: of the images and their labels, or of what simulates or records sequences.
        licence: of the data.
        backbone: the network.
        num_features: size of its features.
        image_size: side of its images in pixels; None where there are none.
        epochs: of training.
        batch_size: samples a step.
        seed: of the run.
        command: that trains it again.
        commit: of solo_ldm, when it was trained.
        versions: of what computed.
        hardware: that it was trained on.
        seconds: of training.
        date: on which training ended, ISO.
        files: of the entry.
        results: by protocol.
        reference: a published figure to compare with, if there is one.
    """

    name: str
    kind: str
    method: str
    cell: Mapping[str, str | None]
    headline: str
    dataset: str
    dataset_sha256: str
    licence: str
    backbone: str
    num_features: int
    image_size: int | None
    epochs: int
    batch_size: int
    seed: int
    command: str
    commit: str | None
    versions: Mapping[str, str]
    hardware: str
    seconds: float
    date: str
    files: tuple[ZooFile, ...]
    results: tuple[Result, ...]
    reference: Reference | None = None

    def reference_for(self, protocol: str) -> Reference | None:
        """Return the published figure that belongs to a protocol, if there is one."""
        known = self.reference
        return known if known is not None and known.protocol == protocol else None

    def file(self, name: str) -> ZooFile:
        """Return a file by its name.

        Raises:
            ValueError: the entry has no such file.
        """
        for one in self.files:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.files)
        raise ValueError(f"zoo:{self.name} has no file {name}: it has {known}")


def zoo_folder() -> Path:
    """Return the folder of the manifest: $SOLO_LDM_ZOO for a zoo of your own, else the package's.

    Raises:
        FileNotFoundError: in one line: $SOLO_LDM_ZOO holds no manifest.
    """
    own = os.environ.get("SOLO_LDM_ZOO")
    if own:
        folder = Path(own).expanduser().absolute()
        if not (folder / "manifest.yaml").is_file():
            raise FileNotFoundError(
                f"SOLO_LDM_ZOO={own}: expected a folder with the manifest.yaml that solo-ldm zoo "
                "publish writes; unset it for the package's models"
            )
        return folder
    try:
        return Path(str(packaged("solo_ldm_zoo")))
    except ModuleNotFoundError:
        # A checkout that is used without being installed, as torch.hub does.
        return Path(__file__).parents[2] / "zoo"


def read_manifest(folder: Path | None = None) -> dict[str, Entry]:
    """Read and check a manifest.

    Args:
        folder: that holds manifest.yaml; None for the package's.

    Returns:
        The entries by name, in the manifest's order.

    Raises:
        ValueError: in one line: no YAML, or an entry with a missing, unknown or wrong field.
    """
    path = (folder or zoo_folder()) / "manifest.yaml"
    if not path.is_file():
        return {}
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{path} is no YAML ({str(error).splitlines()[0]})") from None
    return {name: _entry(path, str(name), one) for name, one in (content or {}).items()}


def write_manifest(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write a manifest, whole or not at all.

    Args:
        folder: that holds manifest.yaml.
        entries: by name.
    """
    content = {}
    for name, entry in sorted(entries.items()):
        one = asdict(entry)
        one.pop("name")
        one["files"] = {file.pop("name"): file for file in one["files"]}
        one["results"] = {result.pop("protocol"): result for result in one["results"]}
        content[name] = one
    text = _HEADER + OmegaConf.to_yaml(OmegaConf.create(content))
    write_atomically(folder / "manifest.yaml", lambda temporary: temporary.write_text(text))


def in_order(entries: Mapping[str, Entry]) -> list[Entry]:
    """Return entries as tables show them: kind by kind, each by name."""
    return sorted(entries.values(), key=lambda entry: (entry.kind, entry.name))


def find_entry(name: str, entries: Mapping[str, Entry]) -> Entry:
    """Return an entry by name, with or without the prefix zoo:.

    Raises:
        ValueError: in one line: an unknown name, with the nearest known one.
    """
    name = name.removeprefix("zoo:")
    if name not in entries:
        known = list(entries)
        hint = suggestion(name, known) or f"; it has {', '.join(known) or 'nothing yet'}"
        raise ValueError(f"the zoo has no {name!r}{hint}")
    return entries[name]


def check_name(name: str) -> str:
    """Return a name for an entry, or raise a one-line ValueError: it becomes a folder and a URL."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"name: expected small letters and digits joined by - . or _, got {name!r}"
        )
    return name


def as_reference(where: str, content: Any, results: Sequence[Result]) -> Reference | None:
    """Return a published figure of an entry, or None where nothing is given.

    Args:
        where: named in errors.
        content: its fields.
        results: of the entry.

    Raises:
        ValueError: in one line: a missing or unknown field, a protocol that the entry has not.
    """
    if not content:
        return None
    known = Reference(**_fields(f"{where}, reference", Reference, content, set()))
    protocols = [one.protocol for one in results]
    if known.protocol not in protocols:
        raise ValueError(
            f"{where}: reference.protocol expected one of {', '.join(protocols)}, got "
            f"{known.protocol!r}"
        )
    return known


def _entry(path: Path, name: str, content: Any) -> Entry:
    where = f"{path}, {name}"
    check_name(name)
    own = _fields(where, Entry, content, {"name", "reference"})
    files = [_fields(f"{where}, files.{key}", ZooFile, one, {"name", "urls"}, name=key)
             for key, one in own["files"].items()]  # fmt: skip
    for one in files:
        if not _SHA256.fullmatch(str(one["sha256"])) or "/" in one["name"]:
            raise ValueError(f"{where}: files.{one['name']} has no sha256 of 64 digits, or a path")
        one["urls"] = tuple(one.get("urls") or ())
    results = [_fields(f"{where}, results.{key}", Result, one, {"protocol"}, protocol=key)
               for key, one in own["results"].items()]  # fmt: skip
    own["files"] = tuple(ZooFile(**one) for one in files)
    own["results"] = tuple(Result(**one) for one in results)
    own["reference"] = as_reference(where, own.get("reference"), own["results"])
    return Entry(**{**own, "name": name})


def _fields(
    where: str, kind: type, content: Any, optional: set[str], **more: Any
) -> dict[str, Any]:
    known = {one.name for one in fields(kind)}
    given = dict(content) if isinstance(content, Mapping) else {}
    for key in given:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key}{suggestion(str(key), sorted(known))}")
    for key in known - optional:
        if key not in given:
            raise ValueError(f"{where}: missing key {key}")
    return {**given, **more}
