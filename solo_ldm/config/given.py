"""What is given, made fit for a schema: single values in lists, interpolations put in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_ldm.config.arguments import check_value, shortened
from solo_ldm.config.suggestions import suggestion


def declared(node: Any, schema: type, prefix: str) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield each key of a schema, its value in `node` (None without one), type and metadata."""
    hints = get_type_hints(schema)
    for one in fields(schema):
        value, hint = None if node is None else node[one.name], hints[one.name]
        yield f"{prefix}{one.name}", value, hint, one.metadata
        if is_dataclass(hint) and one.default is NO_DEFAULT:
            yield from declared(value, hint, f"{prefix}{one.name}.")  # pyright: ignore


def is_part(hint: Any, metadata: Any) -> bool:
    """Whether a key holds keys of its own."""
    return is_dataclass(hint) or "keys" in metadata


def part_key(key: str, value: Any, schema: type) -> str:
    """Return '; set KEY.name=VALUE' for a value that stands for a part, or nothing."""
    hint = next((hint for name, _, hint, _ in declared(None, schema, "") if name == key), None)
    names = [one.name for one in fields(hint)] if is_dataclass(hint) else []
    for name in ("enabled",) if isinstance(value, bool) else ("dataset", "name"):
        if name in names and isinstance(value, (bool, str)):
            return f"; set {key}.{name}={str(value).lower() if name == 'enabled' else value}"
    return ""


def as_declared(given: Any, schema: type, prefix: str) -> Any:
    """Return the content with a single value of a list in a list, and 1e1 as a whole number.

    What OmegaConf takes for something else is refused: no mapping for one, numbers for truths.
    """
    content: Any = OmegaConf.to_container(given)
    for key, _, hint, metadata in declared(None, schema, ""):
        *parents, leaf = key.split(".")
        node = content
        for part in parents:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            continue
        value = node.get(leaf)
        if value is None or (isinstance(value, str) and ("${" in value or value == "???")):
            continue
        kinds = kinds_of(hint)
        if is_part(hint, metadata):
            if not isinstance(value, dict):
                raise ValueError(
                    f"{prefix}{key}: expected a mapping, got {shortened(value)}"
                    f"{part_key(key, value, schema)}"
                )
            continue
        if any(get_origin(kind) is list for kind in kinds):
            if isinstance(value, dict):
                raise ValueError(f"{prefix}{key}: expected a list, got {shortened(value)}")
            node[leaf] = value = value if isinstance(value, list) else [value]
        elif bool in kinds and not isinstance(value, str) and value not in (0, 1):
            check_value(f"{prefix}{key}", value, bool)
        if int in kinds and float not in kinds:
            node[leaf] = (
                [_whole(one) for one in value] if isinstance(value, list) else _whole(value)
            )
    return content


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def kinds_of(hint: Any) -> set[Any]:
    """Return a type, those it is made of, and those that these are made of."""
    inner = get_args(hint)
    return {hint, *inner, *(one for kind in inner for one in get_args(kind))}


def resolve(cfg: Any) -> None:
    """Replace the interpolations of a configuration by their values.

    Raises:
        ValueError: one line naming the key whose value names a key that is not there, or itself.
    """
    try:
        OmegaConf.resolve(cfg)
    except OmegaConfBaseException as error:
        found = _unresolved(cfg, "")
        if found is None:
            raise
        key, text = found
        words = str(error).partition("\n")[0]
        wanted = words.partition("'")[2].partition("'")[0]
        near = suggestion(wanted, [str(one) for one in cfg]) if wanted else ""
        raise ValueError(f"{key}={text}: {words}{near}") from None


def _unresolved(node: Any, prefix: str) -> tuple[str, str] | None:
    """Return the first key below a node whose value cannot be resolved, and its text."""
    raw: Any = OmegaConf.to_container(node, resolve=False)
    for one in node.keys() if OmegaConf.is_dict(node) else range(len(node)):
        key = f"{prefix}{one}"
        if OmegaConf.is_missing(node, one):
            continue
        try:
            value = node[one]
        except OmegaConfBaseException:
            return key, str(raw[one])
        found = _unresolved(value, f"{key}.") if OmegaConf.is_config(value) else None
        if found:
            return found
    return None
