"""The keys of `solo-ldm compare`; nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Optional

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from solo_ldm.config.schema import as_object, check_distinct, complete, number, random_seed

# Field types are spelt Optional[X] because OmegaConf reads them at run time on Python 3.10.
# ruff: noqa: UP045

# Keys of a run that the comparison sets, and the key of the comparison to set instead.
_OWN_KEYS = {
    "seed": "seeds",
    "evaluation.protocols": "protocols",
    "checkpoint.dir": "checkpoint.dir",
    "resume_from_checkpoint": "methods",
}


@dataclass
class CompareCheckpointConfig:
    """checkpoint.*."""

    dir: str = MISSING


@dataclass
class CompareConfig:
    """A whole comparison. The defaults are in configs/compare.yaml."""

    ALIASES: ClassVar[dict[str, str]] = {"folder": "output"}

    name: Optional[str] = None
    methods: list[Any] = MISSING
    overrides: list[str] = MISSING
    seeds: list[int] = random_seed()
    protocols: list[str] = MISSING
    rank_by: Optional[str] = None
    jobs: int = number(1)
    checkpoint: CompareCheckpointConfig = field(default_factory=CompareCheckpointConfig)
    train: bool = MISSING
    records: Optional[str] = None
    output: str = MISSING
    copy_to: Optional[str] = None


@dataclass
class EntrySpec:
    """One entry of `methods`.

    Args:
        config: the name of its configuration.
        label: its name in the table; config and overrides if not given.
        overrides: its own, as on the command line.
    """

    config: str = MISSING
    label: Optional[str] = None
    overrides: list[str] = field(default_factory=list)


def complete_compare(cfg: DictConfig) -> DictConfig:
    """Check a comparison against the schema and fill in the defaults of compare.yaml.

    Args:
        cfg: what Hydra composed.

    Returns:
        The whole comparison; rank_by is the last protocol where it is not given.

    Raises:
        ValueError: one line naming the key or the entry that is unknown, missing or wrong.
    """
    if cfg.get("name") is None:
        cfg = cfg.copy()
        OmegaConf.update(cfg, "name", _data_of(cfg.get("overrides")), force_add=True)
    cfg = complete(cfg, CompareConfig, "compare.yaml")
    for key in ("seeds", "protocols"):
        check_distinct(key, cfg[key])
    cfg.rank_by = cfg.rank_by or cfg.protocols[-1]
    if cfg.rank_by not in cfg.protocols:
        listed = ", ".join(cfg.protocols)
        raise ValueError(f"rank_by: expected one of protocols ({listed}), got {cfg.rank_by!r}")
    _check_overrides("overrides", cfg.overrides)
    parse_entries(cfg.methods)
    return cfg


def _data_of(overrides: Any) -> str:
    """Return a name for a comparison: that of the data of all its runs."""
    split = (str(one).partition("=") for one in overrides or ())
    given = {key: value for key, _, value in split}
    return given.get("data") or Path(given.get("data.train_path", "")).stem or "comparison"


def parse_entries(methods: Sequence[Any] | ListConfig) -> list[EntrySpec]:
    """Read the entries of `methods`.

    Args:
        methods: names of configurations, or mappings of config and, optionally, label and
            overrides.

    Raises:
        ValueError: one line naming the entry that cannot be read, or two of the same label.
    """
    specs = [_parse(f"methods.{number}", entry) for number, entry in enumerate(methods)]
    check_distinct("methods", [spec.label for spec in specs], "give one of them another label")
    return specs


def override_key(override: str) -> str:
    """Return the key of an override without Hydra's signs for adding and removing.

    >>> override_key("++method_kwargs.over=joint")
    'method_kwargs.over'
    """
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def _parse(where: str, entry: Any) -> EntrySpec:
    given = {"config": entry} if isinstance(entry, str) else entry
    if not isinstance(given, (Mapping, DictConfig)) or not isinstance(given.get("config"), str):
        raise ValueError(
            f"{where}: expected the name of a configuration, or a mapping with config, got {entry}"
        )
    spec = as_object(EntrySpec, given, f"{where}.")
    _check_overrides(f"{where}.overrides", spec.overrides)
    spec.config = re.sub(r"\.ya?ml$", "", spec.config)
    spec.label = " ".join((spec.label or ", ".join([spec.config, *spec.overrides])).split())
    return spec


def _check_overrides(where: str, overrides: Sequence[str] | ListConfig) -> None:
    for override in overrides:
        key = override_key(override)
        if "=" not in override and not override.startswith("~"):
            raise ValueError(f"{where}: expected key=value, got {override!r}")
        if key in _OWN_KEYS:
            raise ValueError(
                f"{where}: expected no {key}, which is equal for all entries, got {override}; "
                f"set {_OWN_KEYS[key]} of the comparison"
            )
