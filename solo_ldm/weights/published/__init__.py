"""Published models by name, zoo:NAME or hf-hub:OWNER/NAME, as files on this machine.

Nothing here imports torch, and nothing of a file is run or unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from solo_ldm.weights.published.download import fetch, fetch_from_hub
from solo_ldm.weights.published.entry import CONFIG, NOT_PUBLISHED, TRAINING_STATE, WEIGHTS
from solo_ldm.weights.published.manifest import find_entry, read_yaml

HUB = "hf-hub:"
PREFIXES = ("zoo:", HUB)


def is_published(source: str | Path) -> bool:
    """Return whether a source of weights is a published name, zoo:NAME or hf-hub:OWNER/NAME."""
    return str(source).startswith(PREFIXES)


def model_file(name: str, file: str) -> Path:
    """Return the path of a file of a published model, downloaded once.

    Args:
        name: of the model, with or without zoo:, or hf-hub:OWNER/NAME.
        file: its name.

    Raises:
        ValueError: in one line: an unknown name, another content than the published one, or no
            such file.
    """
    return fetch_from_hub(name, file) if name.startswith(HUB) else fetch(find_entry(name), file)


def files(name: str) -> Path:
    """Return the folder of a published model's configuration and weights, downloaded once.

    Args:
        name: see `model_file`.

    Raises:
        ValueError: in one line, see `model_file`.
    """
    model_file(name, CONFIG)
    return model_file(name, WEIGHTS).parent


def configuration(name: str) -> dict[str, Any]:
    """Return the training configuration of a published model; paths of its data are None.

    Args:
        name: see `model_file`.

    Raises:
        ValueError: in one line, see `model_file`.
    """
    content = read_yaml(model_file(name, CONFIG))
    data = content.get("data") or {}
    places = {key: None if value == NOT_PUBLISHED else value for key, value in data.items()}
    return {**content, "data": places}


def training_state(name: str) -> Path:
    """Return the checkpoint from which a published model's training can continue.

    Args:
        name: see `model_file`.

    Raises:
        ValueError: in one line, see `model_file`; a model without a training state.
    """
    return model_file(name, TRAINING_STATE)


def resolve_checkpoint(source: str | None) -> str | None:
    """Return the path of a checkpoint to resume from: of a published name, or the path itself.

    Args:
        source: a path, zoo:NAME or hf-hub:OWNER/NAME; None for no checkpoint.

    Raises:
        ValueError: in one line, see `training_state`.
    """
    return str(training_state(source)) if source and is_published(source) else source
