"""Interpolations, ${KEY}, put in; one that cannot be is named with its key."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_ldm.config.suggestions import suggestion


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
