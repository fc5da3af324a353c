"""Schemas of configurations: keys, types and bounds in one place, and the one checker of them.

A schema is a dataclass. The field of a key may carry what its values must satisfy (`number`,
`choice`); `complete` lays a configuration over the defaults and the schema and checks all of it.
Nothing here imports torch: a misspelt key is refused before the slow imports.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import field
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)

from solo_ldm.config.arguments import (
    LARGEST,
    Bounds,
    Rate,
    Seed,
    check_value,
    shortened,
    spelt,
)
from solo_ldm.config.given import as_declared, declared, kinds_of, resolve
from solo_ldm.config.suggestions import suggestion

# A file system takes 255 bytes; a run's folder is named by its name and a digest.
_LONGEST_NAME = 230


def number(
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    also: float | None = None,
    limit: float = LARGEST,
    default: Any = MISSING,
) -> Any:
    """Declare a key whose numbers are within `Bounds`.

    A list is checked entry by entry; null, where the type allows it, is not checked.
    """
    accepts = Annotated[float, Bounds(low, high, above, below, also, limit)]
    return field(default=default, metadata={"accepts": accepts})


def learning_rate(default: Any = MISSING) -> Any:
    """Declare a key that is a `Rate`."""
    return field(default=default, metadata={"accepts": Rate})


def random_seed(default: Any = MISSING) -> Any:
    """Declare a key that is a `Seed`, or a list of them."""
    return field(default=default, metadata={"accepts": Seed})


def choice(*names: str, default: Any = MISSING) -> Any:
    """Declare a key that takes one of some names, or a list of them."""
    return field(default=default, metadata={"accepts": Literal[names]})


def existing(*origins: str, default: Any = MISSING) -> Any:
    """Declare a key that names a file or folder that is there, or something of an origin.

    Args:
        *origins: beginnings of names that are no path, such as "zoo:".
        default: of the key.
    """
    return field(default=default, metadata={"origins": origins})


def mapping(keys: str | None = None, check: str | None = None) -> Any:
    """Declare a key that holds keys of its own, none by default.

    Args:
        keys: "module:function" that lists them, imported when one is misspelt.
        check: "module:function" of the key and the mapping that checks what it holds.
    """
    return field(default_factory=dict, metadata={"keys": keys, "check": check})


def complete(
    cfg: DictConfig, schema: type, defaults_file: str, package: str = "solo_ldm.configs"
) -> DictConfig:
    """Lay a configuration over a file of defaults and both over a schema, and check all keys.

    Args:
        cfg: what Hydra composed.
        schema: a dataclass of the keys, their types and bounds.
        defaults_file: a file of the package that sets every key that has a default.
        package: where the file lies.

    Returns:
        The whole configuration, interpolations resolved, open to further keys.

    Raises:
        ValueError: one line naming the key that is unknown, missing, of the wrong type or out of
            its bounds.
    """
    given = as_declared(_renamed(cfg, schema), schema, "")
    try:
        merged = OmegaConf.merge(
            OmegaConf.structured(schema), _defaults(defaults_file, package), given
        )
        resolve(merged)
    except OmegaConfBaseException as error:
        raise ValueError(one_line(error, schema)) from None
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        raise ValueError(f"missing key {missing[0]}: set it in the YAML or on the command line")
    # The name last: it is made of other values.
    for key, value, hint, metadata in sorted(
        declared(merged, schema, ""), key=lambda one: one[0] == "name"
    ):
        _check(key, value, hint, metadata)
    plain = OmegaConf.create(OmegaConf.to_container(merged))
    return plain  # pyright: ignore[reportReturnType]


def defaults(name: str = "host.yaml", package: str = "solo_ldm.configs") -> DictConfig:
    """Return the defaults of a file of a package, without Hydra's own nodes."""
    return _defaults(name, package).copy()


@cache
def _defaults(name: str, package: str) -> DictConfig:
    cfg = OmegaConf.create((files(package) / name).read_text())
    return OmegaConf.masked_copy(cfg, [k for k in cfg if k not in ("defaults", "hydra")])  # pyright: ignore


def as_object(schema: type, given: Any, prefix: str, keys: type | None = None) -> Any:
    """Build a schema's dataclass from a mapping of its keys, all of them checked.

    Args:
        schema: the dataclass.
        given: the mapping.
        prefix: the mapping's key, for messages; "data." for data.*.
        keys: the schema of the whole configuration, whose keys a misspelt one is compared with.
    """
    given = as_declared(OmegaConf.create(given), schema, prefix)
    try:
        node = OmegaConf.merge(OmegaConf.structured(schema), given)
        for key in sorted(OmegaConf.missing_keys(node)):
            raise ValueError(f"missing key {prefix}{key}")
        built = OmegaConf.to_object(node)
    except OmegaConfBaseException as error:
        raise ValueError(one_line(error, keys or schema, prefix)) from None
    for key, value, hint, metadata in declared(node, schema, prefix):
        _check(key, value, hint, metadata)
    return built


def check_path(key: str, path: str, origins: Sequence[str] = ()) -> None:
    """Raise a one-line FileNotFoundError unless there is a file or folder at a path.

    Args:
        key: for the message.
        path: that is given.
        origins: beginnings of names that are no path.
    """
    if not path.startswith(tuple(origins)) and not (path and _exists(path)):
        names = f" or {', '.join(f'{one}NAME' for one in origins)}" if origins else ""
        shown = shortened(path) if len(path) > 200 or not path else path
        raise FileNotFoundError(
            f"{key}: expected a path that exists{names}, got {shown}; check the path"
        )


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError):  # a name that is too long, the home of somebody unknown
        return False


def check_distinct(key: str, values: Sequence[Any], remedy: str = "list it once") -> None:
    """Raise a one-line ValueError for a list that is empty or has an entry twice."""
    if not values:
        raise ValueError(f"{key}: expected at least one, got an empty list")
    value, count = Counter(values).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{key}: expected distinct entries, got {value} {count} times; {remedy}")


def nearest_key(key: str, schema: type) -> str:
    """Return ': did you mean …?' for the schema's key nearest to `key`, or nothing.

    Where none is near, the keys that its parent takes.
    """
    known = []
    for name, _, _, metadata in declared(None, schema, ""):
        known.append(name)
        if metadata.get("keys") and key.startswith(f"{name}."):
            module, _, function = metadata["keys"].partition(":")
            known += [f"{name}.{one}" for one in getattr(import_module(module), function)()]
    parent, _, leaf = key.rpartition(".")
    inside = [one for one in known if parent and one.rpartition(".")[0] == parent]
    leaves = [one.rpartition(".")[2] for one in inside]
    near = suggestion(leaf, leaves)
    if near:
        return near.replace("mean ", f"mean {parent}.")
    near = suggestion(key, [one for one in known if one not in (parent, *inside)])
    return near or (f": {parent} takes {', '.join(leaves)}" if 0 < len(leaves) <= 20 else "")


def aliases(schema: type) -> dict[str, str]:
    """Return older names of a schema's keys, with their present ones: its `ALIASES`."""
    return getattr(schema, "ALIASES", {})


def open_keys(schema: type) -> list[str]:
    """Return the keys of a schema that hold keys which it does not list."""
    return [name for name, _, _, metadata in declared(None, schema, "") if "keys" in metadata]


def _renamed(cfg: DictConfig, schema: type) -> DictConfig:
    """Give the older names of keys their present ones; an older key at null says nothing."""
    renamed = cfg.copy()
    OmegaConf.set_struct(renamed, False)
    for old, new in aliases(schema).items():
        parent, _, leaf = old.rpartition(".")
        node = OmegaConf.select(renamed, parent) if parent else renamed
        if OmegaConf.is_dict(node) and leaf in node:
            value = node.pop(leaf)
            if value is not None:
                OmegaConf.update(renamed, new, value, force_add=True)
    return renamed


def one_line(error: OmegaConfBaseException, schema: type, prefix: str = "") -> str:
    """Say what OmegaConf found wrong with a configuration, in one line."""
    key = f"{prefix}{error.full_key or ''}"
    if isinstance(error, (ConfigKeyError, ConfigAttributeError)):
        near = nearest_key(key, schema) or nearest_key(str(error.full_key), schema)
        return f"unknown key {key}{near}"
    hints = {name: hint for name, _, hint, _ in declared(None, schema, "")}
    hint = hints.get(key, hints.get(str(error.full_key)))
    if isinstance(error, ValidationError) and hint is not None:
        got = shortened(getattr(error, "value", None))
        none = {dict: "; {} is none", list: "; [] is none"}.get(get_origin(hint), "")
        got = {"None": f"null{none}", "''": "nothing"}.get(got, got)
        return f"{key}: expected {spelt(hint)}, got {got}"
    words = str(error).splitlines()[0]
    return f"{key}: {words if len(words) <= 300 else f'{words[:200]} … {words[-60:]}'}"


def _check(key: str, value: Any, hint: Any, metadata: Any) -> None:
    """Check a value, or each of a list, against its key's metadata and the limits of all."""
    if metadata.get("check"):
        module, _, function = metadata["check"].partition(":")
        getattr(import_module(module), function)(key, value)
    for one in value if OmegaConf.is_list(value) else [value]:
        if one is None:
            continue
        if "origins" in metadata:
            check_path(key, str(one), metadata["origins"])
        elif isinstance(one, str) and str in kinds_of(hint):
            _check_text(key, one)
        if "accepts" in metadata:
            check_value(key, one, metadata["accepts"])
        elif isinstance(one, (int, float)) and not isinstance(one, bool):
            check_value(key, one, Annotated[float, Bounds()])


def _check_text(key: str, value: str) -> None:
    """Refuse what no file or folder can be named after."""
    too_long = any(len(os.fsencode(part)) > _LONGEST_NAME for part in value.split("/"))
    if too_long or set(value) & set("\0\r\n") or not value.strip():
        raise ValueError(
            f"{key}: expected a text of one line, of at most {_LONGEST_NAME} bytes between "
            f"slashes, got {shortened(value)}"
        )
