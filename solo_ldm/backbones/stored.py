"""Weights into networks: what is damaged or of another network is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from solo_ldm.files import check_recorded

# The entries of the metadata that files of ours have, each a JSON object.
_METADATA = ("backbone", "normalisation", "about", "predictive")


def read_safetensors(path: str | Path) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
    """Return what the metadata of a safetensors file say, those that we write, and its tensors.

    Raises:
        ValueError: in one line: another file than its run wrote, no safetensors file, or metadata
            of another form.
    """
    check_recorded(Path(path))
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            weights = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError) as error:  # the latter of headers that differ
        raise ValueError(f"{path} is no safetensors file ({error})") from None
    found = {}
    for key in metadata.keys() & _METADATA:
        try:
            found[key] = json.loads(metadata[key])
        except (ValueError, RecursionError):
            found[key] = None
        if not isinstance(found[key], dict):
            raise ValueError(
                f"{path}: expected keys and values as {key} in the metadata, got "
                f"{metadata[key][:40]}; no run of ours wrote it"
            )
    return found, weights


def load_weights(model: nn.Module, weights: Mapping[str, Any], source: str | Path) -> None:
    """Load weights into a network that has each of them, by its key, and no other.

    Raises:
        ValueError: one line that names the source of the weights and the first keys that differ;
            or damaged weights, see `check_values`.
    """
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    given = {
        key: tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        for key, value in weights.items()
    }
    differing = [key for key in {**wanted, **given} if wanted.get(key) != given.get(key)]
    if differing:
        named = ", ".join(
            f"{key} (expected {wanted.get(key, 'none')}, got {given.get(key, 'none')})"
            for key in differing[:3]
        )
        raise ValueError(
            f"{source} holds another network: {len(differing)} of {len(wanted)} weights differ, "
            f"first {named}; set backbone.name and backbone.kwargs as it was trained"
        )
    check_values(weights, source)
    model.load_state_dict(dict(weights))


def check_values(weights: Mapping[str, Any], source: str | Path) -> None:
    """Refuse weights that are not finite, and those of which no tensor varies.

    Some tensors are constant in good networks, such as the scales of a normalisation. All of them
    are in a file that was overwritten, with zeros for example, and in no network that was trained.

    Raises:
        ValueError: one line that names the source of the weights.
    """
    floats = {
        key: value
        for key, value in weights.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel()
    }
    bad = [key for key, value in floats.items() if not bool(torch.isfinite(value.float()).all())]
    if bad:
        raise ValueError(
            f"{source} is damaged: {len(bad)} of {len(floats)} weights are not finite, first "
            f"{bad[0]}; take an earlier checkpoint, or a copy"
        )
    if floats and all(bool((value == value.reshape(-1)[0]).all()) for value in floats.values()):
        raise ValueError(
            f"{source} is damaged: each of its {len(floats)} weights is constant, first "
            f"{next(iter(floats))}; take an earlier checkpoint, or a copy"
        )
