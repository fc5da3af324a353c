"""What an estimator trains with: its parameters, and rules for those that are left to the data."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from sklearn.utils import check_random_state

from predictive.configuration import complete_predictive
from predictive.data.sequences import Sequences
from solo_ldm.config.arguments import (
    Bounds,
    Count,
    NonNegative,
    Positive,
    Seed,
    Width,
    check_value,
    shortened,
)
from solo_ldm.config.command import composed_of

PACKAGE = "predictive.configs"
# Named in place of a file; nothing reads it.
IN_MEMORY = "in memory"

# Parameters of estimators, and the keys of the configuration that they are.
_KEYS = {
    "random_state": "seed",
    "window": "data.window",
    "stride": "data.stride",
    "hidden_dim": "encoder.hidden_dim",
    "input_transform": "encoder.transform",
    "feature_dropout": "encoder.feature_dropout",
    "history": "encoder.history",
    "entropy": "objective.entropy",
    "learning_rate": "optimizer.lr",
    "batch_size": "optimizer.batch_size",
    "max_epochs": "max_epochs",
    "device": "accelerator",
    "latent_dim": "predictor.latent_dim",
    "state_dim": "predictor.state_dim",
    "observation_noise": "predictor.observation_noise",
    "process_noise": "predictor.process_noise",
    "cell": "predictor.cell",
}
# What the rules calculate with.
_ACCEPTED: dict[str, Any] = {
    "latent_dim": Width,
    "history": NonNegative,
    "time_constant": Positive,
    "window": Annotated[int, Bounds(2)],
    "stride": Count,
    "batch_size": Count,
    "max_epochs": Count,
    "bin_seconds": Positive,
}

# The rules, in the order of `choose`.
_DROPOUT, _FEWEST_FOR_DROPOUT = 0.2, 10
_HISTORY, _FEWEST_SPIKES = 1.0, 10.0
_MOST_LATENTS = 24
_WINDOW, _WINDOW_SECONDS, _SHORTEST_WINDOW, _LONGEST_WINDOW = 100, 10.0, 60, 200
_STRIDES = 25
_BATCH = 32
_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS = 1200, 10, 500
_SLOW_BINS = 200.0


def keys_of(method: str) -> dict[str, str]:
    """Return the parameters of an estimator of a method, and the keys that they are."""
    return _KEYS | ({"state_dim": "predictor.hidden_dim"} if method == "recurrent" else {})


def check_parameters(given: Mapping[str, Any]) -> None:
    """Raise a one-line ValueError unless parameters that rules calculate with can be used."""
    for name, hint in _ACCEPTED.items():
        if given.get(name) is not None:
            check_value(name, given[name], hint)
    if isinstance(given["random_state"], int | np.integer):
        check_value("random_state", given["random_state"], Seed)


def seed_of(random_state: Any) -> int:
    """Return the seed that a `random_state` is: a number, None, or a generator of NumPy's."""
    if isinstance(random_state, int | np.integer):
        check_value("random_state", random_state, Seed)
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    try:
        return int(check_random_state(random_state).randint(2**31 - 1))
    except ValueError:
        raise ValueError(
            "random_state: expected a whole number, None or a generator of NumPy, got "
            f"{shortened(random_state)}"
        ) from None


def check_settings(
    method: str, given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the further keys of a caller, unless a parameter says something else.

    Args:
        method: kalman or recurrent.
        given: the parameters, with settings.
        defaults: of the parameters, which settings may change.

    Raises:
        ValueError: in one line: a key that is the parameter's, another method, no mapping.
    """
    further = {} if given["settings"] is None else given["settings"]
    if not isinstance(further, Mapping) or not all(isinstance(key, str) for key in further):
        raise ValueError(f"settings: expected values by dotted keys, got {shortened(further)}")
    cfg = OmegaConf.create({})
    for key, value in further.items():
        try:
            OmegaConf.update(cfg, key, _of_python(value), force_add=True)
        except OmegaConfBaseException as error:
            raise ValueError(f"settings: {key}: {str(error).splitlines()[0]}") from None
    if (other := OmegaConf.select(cfg, "method")) not in (None, method):
        raise ValueError(f"settings: expected method={method} of this estimator, got {other}")
    for name, key in keys_of(method).items():
        own, said = given.get(name), OmegaConf.select(cfg, key)
        if said is not None and own not in (None, defaults.get(name), said):
            raise ValueError(f"settings: expected {key}={own}, as {name} says, got {said}")
    return {**further}


def used(cfg: DictConfig, chosen: Mapping[str, Any], step_seconds: float | None) -> dict[str, Any]:
    """Return what was chosen as the configuration has it, after the settings of the caller."""
    found = {**chosen}
    for name in chosen.keys() & _KEYS.keys():
        found[name] = OmegaConf.select(cfg, _KEYS[name])
    begun = initial_states(chosen, step_seconds)["initial_transition"]
    if (own := cfg.predictor.get("initial_transition", begun)) != begun:
        decays = isinstance(own, float) and 0.0 < own < 1.0
        found["time_constant"] = -(step_seconds or 1.0) / math.log(own) if decays else None
    return found


@contextmanager
def as_parameters(method: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Raise errors that name keys anew, with the parameters that a caller gave in their place."""
    try:
        yield
    except ValueError as error:
        text = " ".join(str(error).splitlines())
        unknown = text.startswith("unknown key")
        for name, key in keys_of(method).items():
            if not unknown and key not in settings:
                where = rf"(?<![\w.]){re.escape(key)}(?!\w|\.\w)" if "." in key else f"^{key}(?=:)"
                text = re.sub(where, name, text)
        if text == str(error):
            raise
        raise ValueError(text) from None


def choose(
    given: Mapping[str, Any], sequences: Sequences, step_seconds: float | None
) -> dict[str, Any]:
    """Return parameters, those that are None by a rule from the data.

    input_transform: "sqrt" for counts (whole numbers from 0), "none" otherwise.
    feature_dropout: 0.2 for counts of 10 features and more, otherwise 0.
    history: 1 bin for counts whose bins hold fewer than 10 of all features in the mean, else 0.
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
        "window": min(window, max(2, longest)),
    }
    found = {key: rules[key] if given[key] is None else given[key] for key in rules}
    rules["stride"] = max(1, int(found["window"]) // _STRIDES)
    found["stride"] = rules["stride"] if given["stride"] is None else given["stride"]
    # Sequences of one bin are left out of the training.
    starts = (sequences.lengths[sequences.lengths > 1] - found["window"]).clamp_min(0)
    windows = int((1 + -(-starts // found["stride"])).sum())
    batch = min(_BATCH, max(1, windows)) if given["batch_size"] is None else given["batch_size"]
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
        try:
            OmegaConf.update(cfg, key, _of_python(value), merge=True, force_add=True)
        except OmegaConfBaseException:
            got = shortened(value)
            raise ValueError(f"{key}: expected a number, text or list, got {got}") from None
    return complete_predictive(cfg)


def _of_python(value: Any) -> Any:
    """Return a number of NumPy, as a search gives it, as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


@lru_cache(maxsize=1)
def _base() -> dict[str, Any]:
    composed = composed_of("recording", None, [f"data.path={IN_MEMORY!r}"], PACKAGE)
    content: Any = OmegaConf.to_container(composed)
    content |= {"decoders": {}, "name": "estimator"}
    content["checkpoint"]["enabled"] = False
    return content
