"""Checkpoints of any origin, read without running code from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from solo_ldm.backbones.stored import check_values, load_weights
from solo_ldm.files import check_archive, check_recorded


class Inert:
    """Placeholder for an object of a class that is not loaded: it keeps the state, without methods.

    Args:
        *arguments: of the object's constructor; dropped.
    """

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a torch checkpoint on the CPU; objects other than tensors and plain values are `Inert`.

    torch's weights-only reader refuses a file with an object of any class that it does not know,
    such as the configuration in a solo-learn checkpoint. Here each such class is replaced by
    `Inert`: the tensors can be read, and no code of the file runs.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: in one line: no checkpoint, or no mapping; another file than its run wrote, or
            than its own checksums say.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: check the path")
    check_recorded(path)
    check_archive(path)
    try:
        unknown = get_unsafe_globals_in_checkpoint(str(path))
    except Exception:
        unknown = []  # a file of before torch 1.6, without a list; or no checkpoint, see below
    try:
        with safe_globals([(Inert, name) for name in unknown]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of torch, pickle or zip
        raise ValueError(
            f"{path} cannot be read as a checkpoint ({_reason(error)}); restore it from a copy"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} is no checkpoint: expected a mapping with state_dict, "
            f"got {type(content).__name__}"
        )
    state = content.get("state_dict", {})
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ValueError(
            f"{path} is no checkpoint: expected a state_dict of weights by name, "
            f"got {type(state).__name__}"
        )
    return content


def whole_state(checkpoint: Mapping[str, Any], path: str | Path) -> dict[str, Tensor]:
    """Return the state_dict of a checkpoint, of which all is needed.

    Raises:
        ValueError: in one line: there is none, or it is damaged.
    """
    state = checkpoint.get("state_dict", {})
    others = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if others or not state:
        got = f"{type(state[others[0]]).__name__} as {others[0]}" if others else "none"
        raise ValueError(f"{path}: expected a state_dict of tensors, got {got}")
    check_values(state, path)
    return state


def backbone_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of the backbone in a state_dict, ours or solo-learn's."""
    for prefix in ("backbone.", "encoder."):  # solo-learn's name, and its name of before 2022
        weights = {
            key.removeprefix(prefix): value
            for key, value in state.items()
            if key.startswith(prefix) and isinstance(value, Tensor)
        }
        if weights:
            return weights
    return {}


def online_classifier(state: Mapping[str, Any], source: str | Path) -> nn.Linear | None:
    """Return the online classifier in a state_dict, in evaluation mode; None without one.

    Raises:
        ValueError: in one line that names the source: weights that fit no classifier, or damaged.
    """
    weight, bias = state.get("classifier.weight"), state.get("classifier.bias")
    if weight is None or bias is None:
        return None
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise ValueError(f"{source}: expected classifier.weight (classes, features), got another")
    classifier = nn.Linear(weight.shape[1], weight.shape[0])
    load_weights(classifier, {"weight": weight, "bias": bias}, f"{source}, classifier")
    return classifier.eval()


def epochs_of(checkpoint: Mapping[str, Any]) -> int | None:
    """Return the number of epochs that a checkpoint was trained for; None where not known."""
    try:
        loop = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
        return int(loop["processed"])
    except (KeyError, TypeError, ValueError):
        # Lightning counts from 0 and saves at the end of the epoch.
        epoch = checkpoint.get("epoch")
        return epoch + 1 if isinstance(epoch, int) else None


def stored_args(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the configuration that a checkpoint itself holds, if any."""
    stored = _plain(checkpoint.get("hyper_parameters"))
    if not isinstance(stored, dict):
        return None
    return stored["cfg"] if isinstance(stored.get("cfg"), dict) else stored


def _plain(value: Any) -> Any:
    """Return OmegaConf's containers and nodes, here `Inert`, as plain values; None for others."""
    if isinstance(value, Inert):
        state = value.state if isinstance(value.state, dict) else {}
        # OmegaConf keeps a container's children in _content and a scalar in _val.
        return _plain(state.get("_content", state.get("_val")))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _reason(error: Exception) -> str:
    text = str(error)
    # torch's message begins with advice to load the file unsafely; the reason comes later.
    text = text.partition("WeightsUnpickler error:")[2] or text
    lines = [line.strip() for line in text.splitlines()]
    kept = [line for line in lines if line and not line.startswith("Weights only load failed")]
    return kept[0] if kept else type(error).__name__
