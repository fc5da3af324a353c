"""What differs between the configuration of a checkpoint and the present one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from solo_ldm.files import read_json
from solo_ldm.run.data_identity import absolute
from solo_ldm.run.folder import RunFolder, identity

# In a published configuration, in place of a path on the machine that trained.
_UNKNOWN = "???"


def configuration_of(path: str | Path) -> DictConfig | None:
    """Return the configuration that a checkpoint was trained under; None if it is not known.

    It is in the args.json of the run's folder, or beside a published training state.
    """
    beside = Path(path).resolve().parent
    for file in (beside.parent / "args.json", beside / "args.json", beside / "config.yaml"):
        if file.is_file():
            try:
                text = file.read_text()
                found = OmegaConf.create(text if file.suffix == ".yaml" else json.loads(text))
            except (OSError, ValueError, YAMLError):
                return None
            if isinstance(found, DictConfig):
                found.pop("defaults", None)  # Hydra's
                return found
            return None
    return None


def changed_keys(before: DictConfig, cfg: DictConfig, folder: RunFolder) -> dict[str, list[Any]]:
    """Return [before, now] of the keys that decide what a run computes and have changed.

    Args:
        before: the configuration that a checkpoint was trained under, as its args.json has it.
        cfg: the present configuration.
        folder: of the present run.
    """
    places = folder.trained_on.places if folder.trained_on is not None else {}
    contents = [identity(one) for one in (before, cfg)]
    for content in contents:
        # Older versions kept the places of the data as they were given.
        for key in places.keys() & content.get("data", {}).keys():
            if isinstance(content["data"][key], str):
                content["data"][key] = absolute(content["data"][key])
    old, new = (dict(_leaves(content)) for content in contents)
    keys = [key for key in {**old, **new} if old.get(key) not in (new.get(key), _UNKNOWN)]
    return {key: [old.get(key), new.get(key)] for key in keys}


def changed_data(path: str | Path, folder: RunFolder) -> list[str] | None:
    """Return the data of a checkpoint's run and those of a folder's in words, if they differ."""
    now = folder.trained_on
    try:
        before = read_json(RunFolder(Path(path).resolve().parent.parent).data)
    except (OSError, ValueError):
        return None
    if now is None or "contents" not in before or before.get("digest") == now.digest:
        return None
    return [str(before.get("what")), now.what]


def unfinished_elsewhere(cfg: DictConfig, folder: RunFolder) -> list[str]:
    """Return a line if a new run differs from an unfinished one in the place of its data alone.

    Args:
        cfg: the configuration of the new run, as its args.json will have it.
        folder: of the new run.
    """
    data = folder.trained_on
    wanted = cfg.auto_resume.enabled and cfg.resume_from_checkpoint is None
    if data is None or not wanted or folder.args.exists():
        return []
    for args in sorted(folder.path.parent.glob("*/args.json")):
        other = RunFolder(args.parent, data)
        if other.finished or not other.last.exists() or not other.has_same_contents:
            continue
        before = configuration_of(other.last)
        changed = {} if before is None else changed_keys(before, cfg, other)
        if before is not None and changed.keys() <= {f"data.{key}" for key in data.places}:
            return [
                f"{other.path} is an unfinished run on these same images; "
                f"resume_from_checkpoint={other.path} continues it"
            ]
    return []


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings and lists by their dotted keys."""
    if not isinstance(node, (dict, list)) or not node:
        yield key, node
        return
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _leaves(value, f"{key}.{name}" if key else str(name))
