"""What an estimator trains with: its parameters, and rules for those that are left to the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from predictive.configuration import complete_predictive
from predictive.data.sequences import Sequences
from solo_ldm.config.command import composed_of

PACKAGE = "predictive.configs"
# Named in place of a file; nothing reads it.
IN_MEMORY = "in memory"

# The rules, in the order of `choose`.
_DROPOUT, _FEWEST_FOR_DROPOUT = 0.2, 10
_HISTORY, _FEWEST_SPIKES = 4.0, 10.0
_MOST_LATENTS = 24
_WINDOW, _WINDOW_SECONDS, _SHORTEST_WINDOW, _LONGEST_WINDOW = 100, 10.0, 60, 200
_STRIDES = 25
_BATCH = 32
_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS = 1200, 10, 500
_SLOW_BINS = 200.0


def choose(
    given: Mapping[str, Any], sequences: Sequences, step_seconds: float | None
) -> dict[str, Any]:
    """Return parameters, those that are None by a rule from the data.

    input_transform: "sqrt" for counts (whole numbers from 0), "none" otherwise.
    feature_dropout: 0.2 for counts of 10 features and more, otherwise 0.
    history: 4 bins for counts whose bins hold fewer than 10 of all features in the mean, else 0.
    latent_dim: the number of features, at most 24.
    window: 10 s where the duration of a bin is known, from 60 to 200 bins, otherwise 100 bins; at
        most the longest sequence.
    stride: a 25th of the window.
    batch_size: 32, at most the number of windows.
    max_epochs: 1200 steps of training, from 10 to 500 epochs.
    time_constant: 200 bins; states begin to learn from it.

    Args:
        given: the parameters, by these names.
        sequences: to train on.
        step_seconds: duration of a bin, None where it isn't known.
    """
    in_a_bin = spikes_a_bin(sequences)
    counts = in_a_bin is not None
    features, longest = sequences.inputs.shape[2], int(sequences.lengths.max())
    window = _WINDOW
    if step_seconds is not None:
        window = min(max(round(_WINDOW_SECONDS / step_seconds), _SHORTEST_WINDOW), _LONGEST_WINDOW)
    many = features >= _FEWEST_FOR_DROPOUT
    sparse = in_a_bin is not None and in_a_bin < _FEWEST_SPIKES
    rules: dict[str, Any] = {
        "input_transform": "sqrt" if counts else "none",
        "feature_dropout": _DROPOUT if counts and many else 0.0,
        "history": _HISTORY if sparse else 0.0,
        "latent_dim": min(_MOST_LATENTS, features),
        "window": min(window, longest),
    }
    found = {key: rules[key] if given[key] is None else given[key] for key in rules}
    rules["stride"] = max(1, int(found["window"]) // _STRIDES)
    found["stride"] = rules["stride"] if given["stride"] is None else given["stride"]
    starts = (sequences.lengths - found["window"]).clamp_min(0)
    windows = int((1 + -(-starts // found["stride"])).sum())
    batch = min(_BATCH, windows) if given["batch_size"] is None else given["batch_size"]
    epochs = given["max_epochs"]
    if epochs is None:
        steps = max(1, windows // max(1, batch))
        epochs = min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, round(_STEPS / steps)))
    slow = given["time_constant"]
    if slow is None:
        slow = _SLOW_BINS * (step_seconds or 1.0)
    return {**found, "batch_size": batch, "max_epochs": epochs, "time_constant": slow}


def spikes_a_bin(sequences: Sequences) -> float | None:
    """Return the mean count of a bin, added up over features; None where inputs are no counts."""
    known = sequences.inputs[sequences.mask]
    known = known[torch.isfinite(known)]
    if len(known) == 0 or bool((known < 0).any() or (known != known.round()).any()):
        return None
    return float(known.mean()) * sequences.inputs.shape[2]


def initial_states(chosen: Mapping[str, Any], step_seconds: float | None) -> dict[str, float]:
    """Return what states begin as: exp(−bin / time constant), with little noise beside R."""
    bins = chosen["time_constant"] / (1.0 if step_seconds is None else step_seconds)
    return {
        "initial_transition": round(math.exp(-1.0 / bins), 4),
        "initial_process_noise": round(min(1.0, 1.4 / bins), 4),
    }


def configuration(
    method: str, keys: Mapping[str, Any], predictor: Mapping[str, Any], further: Mapping[str, Any]
) -> DictConfig:
    """Return the completed configuration of recording.yaml with other keys.

    Args:
        method: kalman or recurrent.
        keys: dotted, with their values.
        predictor: its arguments.
        further: dotted keys of the caller, which come last.

    Raises:
        ValueError: in one line: a key or a value that does not fit.
    """
    cfg: Any = OmegaConf.create(_base())
    OmegaConf.set_struct(cfg, False)
    cfg.method, cfg.predictor = method, dict(predictor)
    for key, value in {**keys, **further}.items():
        OmegaConf.update(cfg, key, value, merge=True, force_add=True)
    return complete_predictive(cfg)


@lru_cache(maxsize=1)
def _base() -> dict[str, Any]:
    composed = composed_of("recording", None, [f"data.path={IN_MEMORY!r}"], PACKAGE)
    content: Any = OmegaConf.to_container(composed)
    content |= {"decoders": {}, "name": "estimator"}
    content["checkpoint"]["enabled"] = False
    return content
