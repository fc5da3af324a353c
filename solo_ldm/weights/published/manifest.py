"""The manifest of published models: reading, checking and writing it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from importlib.resources import files as packaged
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_ldm.config.schema import as_object
from solo_ldm.config.suggestions import suggestion
from solo_ldm.files import write_text
from solo_ldm.weights.published.entry import Entry, Reference, Result
from solo_ldm.weights.published.staging import recover

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
# At most 100 characters, as a download needs longer names beside it.
_FILE = re.compile(r"(?=.{1,100}\Z)[A-Za-z0-9]+([._-]+[A-Za-z0-9]+)*")
_METRICS = {"top1", "r2"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADER = """\
# What the zoo holds. Written by `solo-ldm zoo publish`; no number of ours was typed.
# zoo/README.md is the table of it.
"""


def zoo_folder() -> Path:
    """Return the folder of the manifest: $SOLO_LDM_ZOO if it is set, else the package's.

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
        # A checkout that is not installed, as torch.hub uses it.
        return Path(__file__).parents[3] / "zoo"


def read_manifest(folder: Path | None = None) -> dict[str, Entry]:
    """Read and check a manifest.

    Args:
        folder: that holds manifest.yaml; None for `zoo_folder`.

    Returns:
        The entries by name, sorted by kind, then by name; none where there is no manifest.

    Raises:
        ValueError: in one line: no YAML, or an entry with a missing, unknown or wrong field.
    """
    folder = folder or zoo_folder()
    recover(folder)
    path = folder / "manifest.yaml"
    return {one.name: one for one in _entries(path, path.read_bytes())} if path.is_file() else {}


@lru_cache(maxsize=4)  # a command asks for an entry several times, and to read all takes a while
def _entries(path: Path, content: bytes) -> list[Entry]:
    """Return what a manifest of this content says."""
    written = _parsed(path, content)
    entries = [_entry(f"{path}, {name}", str(name), one) for name, one in written.items()]
    return sorted(entries, key=lambda one: (one.kind, one.name))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the keys and values of a YAML file, as they are written.

    Raises:
        ValueError: in one line: another content.
    """
    return _parsed(path, path.read_bytes())


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        # A few aliases can stand for more than any memory holds. We write none.
        events = yaml.parse(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if any(isinstance(one, yaml.AliasEvent) for one in events):
            raise ValueError("it has aliases")
        found: Any = OmegaConf.to_container(OmegaConf.load(StringIO(content.decode())))
    except (yaml.YAMLError, OmegaConfBaseException, RecursionError, ValueError, OSError) as error:
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} is no YAML of keys and values ({what})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected keys and values, got a {type(found).__name__}")
    return found


def write_manifest(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write the manifest.yaml of a folder, atomically."""
    content = {}
    for name, entry in sorted(entries.items()):
        one = asdict(entry)
        one.pop("name")
        one["files"] = {file.pop("name"): file for file in one["files"]}
        one["results"] = {result.pop("protocol"): result for result in one["results"]}
        content[name] = one
    text = _HEADER + OmegaConf.to_yaml(OmegaConf.create(content))
    write_text(folder / "manifest.yaml", text)


def find_entry(name: str) -> Entry:
    """Return what is known of a model.

    Args:
        name: with or without the prefix zoo:.

    Raises:
        ValueError: in one line: an unknown name, with the nearest known one.
    """
    name, entries = name.removeprefix("zoo:"), read_manifest()
    if name not in entries:
        known = list(entries)
        hint = suggestion(name, known) or f"; it has {', '.join(known) or 'nothing yet'}"
        raise ValueError(f"the zoo has no {name!r}{hint}")
    return entries[name]


def check_name(name: str) -> None:
    """Raise a one-line ValueError for a name that is no good folder or part of a URL."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"name: expected small letters and digits joined by - . or _, got {name!r}"
        )


def as_reference(where: str, content: Any, results: Sequence[Result]) -> Reference | None:
    """Return the score that others published, or None where nothing is given.

    Raises:
        ValueError: in one line that starts with `where`: a missing or unknown field, a protocol
            that the results of the entry lack.
    """
    if not content:
        return None
    known = _object(f"{where}, reference", Reference, content)
    protocols = [one.protocol for one in results]
    if known.protocol not in protocols:
        raise ValueError(
            f"{where}: reference.protocol expected one of {', '.join(protocols)}, got "
            f"{known.protocol!r}"
        )
    return known


def _entry(where: str, name: str, content: Any) -> Entry:
    check_name(name)
    content = dict(content) if isinstance(content, Mapping) else {}
    for key, label in (("files", "name"), ("results", "protocol")):
        named = content.get(key)
        if isinstance(named, Mapping):
            content[key] = [{label: one, **(fields or {})} for one, fields in named.items()]
    reference = content.pop("reference", None)
    entry = _object(where, Entry, {**content, "name": name})
    if not entry.files or not entry.results:
        raise ValueError(f"{where}: expected files and results, got none")
    for one in entry.files:
        if not _FILE.fullmatch(one.name):
            raise ValueError(
                f"{where}: files expected names of letters and digits joined by - . or _, got "
                f"{one.name[:40]!r}"
            )
        if not _SHA256.fullmatch(one.sha256) or one.size < 0:
            raise ValueError(
                f"{where}: files.{one.name} has no sha256 of 64 digits, or a negative size"
            )
    metrics = {one.metric for one in entry.results}
    if not metrics <= _METRICS:
        raise ValueError(f"{where}: results expected a metric of top1 or r2, got {metrics}")
    for what, names in (
        ("files", [one.name for one in entry.files]),
        ("results", [one.protocol for one in entry.results]),
    ):
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{where}: {what} has {twice[0]} twice")
    return replace(entry, reference=as_reference(where, reference, entry.results))


def _object(where: str, schema: type, content: Any) -> Any:
    try:
        return as_object(schema, content, "")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
