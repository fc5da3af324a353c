"""Published models by name, zoo:NAME or hf-hub:OWNER/NAME, as files on this machine.

Nothing here imports torch, and nothing of a file is run or unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from solo_ldm.files import checkpoint_at
from solo_ldm.weights.published.download import fetch, fetch_from_hub
from solo_ldm.weights.published.entry import CONFIG, NOT_PUBLISHED, TRAINING_STATE, WEIGHTS
from solo_ldm.weights.published.manifest import find_entry, read_yaml

HUB = "hf-hub:"
PREFIXES = ("zoo:", HUB)


def is_published(source: str | Path) -> bool:
    """Return whether a source of weights is a published name, zoo:NAME or hf-hub:OWNER/NAME."""
    return str(source).startswith(PREFIXES)


def files(name: str) -> Path:
    """Return the folder of a published model's configuration and weights, downloaded once.

    Args:
        name: of the model, with or without zoo:, or hf-hub:OWNER/NAME.

    Raises:
        ValueError: in one line: an unknown name, another content than the published one, or no
            such file.
    """
    _file(name, CONFIG)
    return _file(name, WEIGHTS).parent


def configuration(name: str) -> dict[str, Any]:
    """Return the training configuration of a published model; paths of its data are None.

    Arguments and errors are those of `files`.
    """
    content = read_yaml(path := _file(name, CONFIG))
    data = content.get("data") or {}
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected keys of data, got a {type(data).__name__}")
    places = {key: None if value == NOT_PUBLISHED else value for key, value in data.items()}
    return {**content, "data": places}


def training_state(name: str) -> Path:
    """Return the checkpoint from which a published model's training can continue.

    Arguments and errors are those of `files`; a model may have no training state.
    """
    return _file(name, TRAINING_STATE)


def resolve_checkpoint(source: str | None) -> str | None:
    """Return the file of a checkpoint to resume from; None for none.

    Args:
        source: a file, the folder of a run, or a published name.
    """
    if not source:
        return None
    return str(training_state(source) if is_published(source) else checkpoint_at(source))


def _file(name: str, file: str) -> Path:
    return fetch_from_hub(name, file) if name.startswith(HUB) else fetch(find_entry(name), file)
