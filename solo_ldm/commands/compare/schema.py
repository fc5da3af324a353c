"""The schema of a comparison; nothing here imports torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from solo_ldm.run.configuration import merge

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

# Keys of a run that the comparison sets, and the key of the comparison that says them.
_OWN_KEYS = {
    "seed": "seeds",
    "evaluation.protocols": "protocols",
    "checkpoint.dir": "checkpoint.dir",
    "resume_from_checkpoint": "methods",
}

_ENTRY_KEYS = ("config", "label", "overrides")


@dataclass
class CompareCheckpointConfig:
    """checkpoint.*."""

    dir: str = MISSING


@dataclass
class CompareConfig:
    """A whole comparison. The defaults are in configs/compare.yaml."""

    name: str = MISSING
    methods: list[Any] = MISSING
    overrides: list[str] = MISSING
    seeds: list[int] = MISSING
    protocols: list[str] = MISSING
    rank_by: Optional[str] = None
    jobs: int = MISSING
    checkpoint: CompareCheckpointConfig = field(default_factory=CompareCheckpointConfig)
    folder: str = MISSING
    copy_to: Optional[str] = None


@dataclass(frozen=True)
class EntrySpec:
    """One entry of `methods`, as the user wrote it.

    Args:
        label: its name in the table.
        config: the name of its configuration.
        overrides: its own, as on the command line.
    """

    label: str
    config: str
    overrides: tuple[str, ...] = ()


def complete_compare(cfg: DictConfig) -> DictConfig:
    """Check a comparison against the schema and fill in the defaults of compare.yaml.

    Args:
        cfg: what Hydra composed.

    Returns:
        The whole comparison; rank_by is the last protocol where it is not given.

    Raises:
        ValueError: one line naming the key or the entry that is unknown, missing or wrong.
    """
    merged = merge(cfg, CompareConfig, "compare.yaml")
    for key in ("methods", "seeds", "protocols"):
        if not merged[key]:
            raise ValueError(f"{key}: expected at least one, got an empty list")
    for key in ("seeds", "protocols"):
        _assert_distinct(key, list(merged[key]))
    if min(merged.seeds) < 0:
        raise ValueError(f"seeds: expected numbers from 0, got {min(merged.seeds)}")
    if merged.jobs < 1:
        raise ValueError(f"jobs: expected at least 1 run at a time, got {merged.jobs}")
    if merged.rank_by is None:
        merged.rank_by = merged.protocols[-1]
    if merged.rank_by not in merged.protocols:
        listed = ", ".join(merged.protocols)
        raise ValueError(f"rank_by: expected one of protocols ({listed}), got {merged.rank_by!r}")
    _assert_overrides("overrides", merged.overrides)
    parse_entries(merged.methods)
    plain = OmegaConf.create(OmegaConf.to_container(merged))
    return plain  # pyright: ignore[reportReturnType]


def parse_entries(methods: Sequence[Any] | ListConfig) -> list[EntrySpec]:
    """Read the entries of `methods`.

    Args:
        methods: names of configurations, or mappings of config and, optionally, label and
            overrides.

    Raises:
        ValueError: one line naming the entry that cannot be read, or two of the same label.
    """
    specs = [_parse(number, entry) for number, entry in enumerate(methods, start=1)]
    _assert_distinct("methods", [spec.label for spec in specs], "give one of them another label")
    return specs


def override_key(override: str) -> str:
    """Return the key of an override without Hydra's signs for adding and removing.

    >>> override_key("++method_kwargs.over=joint")
    'method_kwargs.over'
    """
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def _parse(number: int, entry: Any) -> EntrySpec:
    if isinstance(entry, str):
        return EntrySpec(_without_ending(entry), _without_ending(entry))
    where = f"methods, entry {number}"
    if not isinstance(entry, (Mapping, DictConfig)):
        raise ValueError(
            f"{where}: expected the name of a configuration or a mapping with config, got {entry!r}"
        )
    for key in entry:
        if key not in _ENTRY_KEYS:
            raise ValueError(f"{where}: unknown key {key}: expected {', '.join(_ENTRY_KEYS)}")
    config = entry.get("config")
    if not isinstance(config, str):
        raise ValueError(f"{where}: config: expected the name of a configuration, got {config!r}")
    overrides = entry.get("overrides") or []
    if isinstance(overrides, str) or not all(isinstance(one, str) for one in overrides):
        raise ValueError(f"{where}: overrides: expected a list of key=value, got {overrides!r}")
    _assert_overrides(where, overrides)
    config = _without_ending(config)
    label = entry.get("label") or ", ".join([config, *overrides])
    return EntrySpec(" ".join(str(label).split()), config, tuple(overrides))


def _without_ending(name: str) -> str:
    return re.sub(r"\.ya?ml$", "", name)


def _assert_overrides(where: str, overrides: Sequence[str] | ListConfig) -> None:
    for override in overrides:
        key = override_key(override)
        if "=" not in override and not override.startswith("~"):
            raise ValueError(f"{where}: overrides: expected key=value, got {override!r}")
        if key in _OWN_KEYS:
            raise ValueError(
                f"{where}: {override} would set apart what a comparison holds equal: "
                f"set {_OWN_KEYS[key]} of the comparison in its place"
            )


def _assert_distinct(key: str, values: Sequence[Any], remedy: str = "list it once") -> None:
    value, count = Counter(values).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{key}: {value} is listed {count} times: {remedy}")
