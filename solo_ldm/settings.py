"""The method_kwargs of latent distribution matching: checked, completed, turned into parts."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from solo_ldm.entropy import ENTROPIES
from solo_ldm.latents import LATENTS, Support
from solo_ldm.objective import LDMObjective

# The authors' names of the cells, as (entropy, over).
REFERENCE_TYPES = {
    "dual_sample": ("kernel", "joint"),
    "single_sample": ("kernel", "marginal"),
    "dual_knn": ("neighbour", "joint"),
    "single_knn": ("neighbour", "marginal"),
    "dual_gauss": ("logdet", "joint"),
    "single_gauss": ("logdet", "marginal"),
}

PREDICTORS = ("none", "linear", "mlp")
TARGETS = ("same", "detached", "moving_average")


@dataclass(frozen=True)
class LDMSettings:
    """One cell of the grid, complete.

    Args:
        latent: a name in `solo_ldm.latents.LATENTS`.
        proj_hidden_dim: units of each hidden layer of the projector.
        proj_output_dim: D, dimension of the latents.
        proj_layers: linear layers of the projector.
        proj_batch_norm: normalise the projector's hidden layers; the paper does not.
        proj_output_batch_norm: normalise its outputs, without scale and shift.
        entropy: a name in `solo_ldm.entropy.ENTROPIES`.
        over: joint, marginal or pooled.
        prediction_precision: λ or κ; the paper's for the cell when not given, None for a latent
            model without.
        entropy_weight: factor of the entropy in the loss.
        predictor: none, linear or mlp (one hidden layer).
        pred_hidden_dim: units of the predictor's hidden layer.
        pred_batch_norm: normalise the predictor's hidden layer.
        target: what is predicted: the same latents, detached ones, or those of a moving average
            of the network.
        base_tau: share of its weights that the moving average keeps in a step, at the start.
        final_tau: the same at the end of the training.
        entropy_kwargs: the estimator's own settings.
        latent_kwargs: the latent model's own settings.
    """

    latent: str
    proj_hidden_dim: int
    proj_output_dim: int
    proj_layers: int = 2
    proj_batch_norm: bool = False
    proj_output_batch_norm: bool = False
    entropy: str = "kernel"
    over: str = "joint"
    prediction_precision: float | None = 5.0
    entropy_weight: float = 1.0
    predictor: str = "none"
    pred_hidden_dim: int = 512
    pred_batch_norm: bool = True
    target: str = "same"
    base_tau: float = 0.99
    final_tau: float = 1.0
    entropy_kwargs: dict[str, Any] = field(default_factory=dict)
    latent_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def support(self) -> Support:
        """Where the latents live."""
        return LATENTS[self.latent].support

    def build_objective(self) -> LDMObjective:
        """Build the objective; raises ValueError for a setting out of its range."""
        latent_kwargs = dict(self.latent_kwargs)
        if self.prediction_precision is not None:
            latent_kwargs["prediction_precision"] = self.prediction_precision
        return LDMObjective(
            LATENTS[self.latent](**latent_kwargs),
            ENTROPIES[self.entropy](self.support, **self.entropy_kwargs),
            over=self.over,  # pyright: ignore[reportArgumentType]
            weight=self.entropy_weight,
        )


def estimator_keys(entropy: str) -> list[str]:
    """Return the names of an estimator's own settings."""
    return [key for key in inspect.signature(ENTROPIES[entropy]).parameters if key != "support"]


def latent_keys(latent: str) -> list[str]:
    """Return the names of a latent model's own settings, prediction_precision aside."""
    keys = inspect.signature(LATENTS[latent]).parameters
    return [key for key in keys if key != "prediction_precision"]


def known_keys() -> list[str]:
    """Return every key that method_kwargs may hold, the reference's aliases included."""
    own = [one.name for one in fields(LDMSettings) if not one.name.endswith("_kwargs")]
    estimators = [key for name in ENTROPIES for key in estimator_keys(name)]
    latents = [key for name in LATENTS for key in latent_keys(name)]
    return list(dict.fromkeys([*own, *estimators, *latents, "loss", "recognition_precision"]))


def resolve(method_kwargs: Mapping[str, Any], latent: str | None = None) -> LDMSettings:
    """Check method_kwargs and complete them to one cell of the grid.

    A key set to null takes its default: the estimator's own, and for prediction_precision the
    latent model's (the paper's: 5; 12.5 with nearest neighbours on the plane). Keys of the other
    estimators are allowed, so that overriding `entropy` alone switches the cell.

    The reference's keys are understood: loss.type (dual_sample, single_knn, …) stands for entropy
    and over, loss.entropy_multiplier of marginal types for twice entropy_weight, and
    recognition_precision for kernel_precision.

    Args:
        method_kwargs: as in the configuration.
        latent: of a method that has but one: "plane" (gaussprob), "sphere" (sphereprob).

    Raises:
        ValueError: an unknown or missing key, or a choice or combination that does not exist.
    """
    given = {key: value for key, value in method_kwargs.items() if value is not None}
    for key in given:
        if key not in known_keys():
            raise ValueError(f"unknown key method_kwargs.{key}{suggestion(key, known_keys())}")
    given = _translate_reference(given)
    for key in ("proj_hidden_dim", "proj_output_dim"):
        if key not in given:
            raise ValueError(f"missing key method_kwargs.{key}: set it to a number of units")
    chosen: dict[str, Any] = {
        "latent": _latent(given, latent),
        "entropy": _choice(given, "entropy", "kernel", tuple(ENTROPIES)),
        "over": _choice(given, "over", "joint", ("joint", "marginal", "pooled")),
        "predictor": _choice(given, "predictor", "none", PREDICTORS),
        "target": _choice(given, "target", "same", TARGETS),
    }
    chosen["prediction_precision"] = _default_precision(chosen["latent"], chosen["entropy"])
    if chosen["prediction_precision"] is None and "prediction_precision" in given:
        raise ValueError(
            f"method_kwargs.prediction_precision: latent={chosen['latent']} has none, leave it out"
        )
    kinds = {one.name: _KINDS.get(str(one.type)) for one in fields(LDMSettings)}
    for key, kind in kinds.items():
        if kind is not None and key in given:
            chosen[key] = kind(given[key])
    for part, keys in (
        ("entropy_kwargs", estimator_keys(chosen["entropy"])),
        ("latent_kwargs", latent_keys(chosen["latent"])),
    ):
        chosen[part] = {key: value for key, value in given.items() if key in keys}
    settings = LDMSettings(**chosen)
    if settings.entropy == "none" and settings.target == "same":
        raise ValueError(
            "method_kwargs.entropy=none with method_kwargs.target=same has nothing against "
            "collapse: choose an entropy, or target=detached or moving_average with a predictor"
        )
    if LATENTS[settings.latent].needs_predictor and settings.predictor == "none":
        raise ValueError(
            f"method_kwargs.latent={settings.latent} is a density given a prediction: set "
            "method_kwargs.predictor to linear or mlp"
        )
    return settings


# How a value of the configuration becomes one of the settings; choices are checked by themselves.
_KINDS: dict[str, Any] = {"int": int, "float": float, "float | None": float, "bool": bool}


def _latent(given: dict[str, Any], latent: str | None) -> str:
    if latent is None and "latent" not in given:
        raise ValueError(f"missing key method_kwargs.latent: one of {', '.join(LATENTS)}")
    chosen = _choice(given, "latent", latent or "", tuple(LATENTS))
    if latent is not None and chosen != latent:
        raise ValueError(
            f"method_kwargs.latent={chosen}, but this method's is {latent}: set method=ldm"
        )
    return chosen


def _default_precision(latent: str, entropy: str) -> float | None:
    if latent == "plane" and entropy == "neighbour":
        return 12.5
    keys = inspect.signature(LATENTS[latent]).parameters
    return keys["prediction_precision"].default if "prediction_precision" in keys else None


def _translate_reference(given: dict[str, Any]) -> dict[str, Any]:
    given = dict(given)
    if "recognition_precision" in given:
        given["kernel_precision"] = given.pop("recognition_precision")
    loss = given.pop("loss", None)
    if loss is None:
        return given
    kind = loss.get("type")
    if kind not in REFERENCE_TYPES:
        raise ValueError(
            f"method_kwargs.loss.type must be one of {sorted(REFERENCE_TYPES)}, got {kind!r}"
            f"{suggestion(str(kind), list(REFERENCE_TYPES))}"
        )
    given["entropy"], given["over"] = REFERENCE_TYPES[kind]
    if given["over"] == "marginal" and loss.get("entropy_multiplier") is not None:
        # The reference weighs the mean of the two marginal entropies, we their sum.
        given["entropy_weight"] = loss["entropy_multiplier"] / 2.0
    return given


def _choice(given: dict[str, Any], key: str, default: str, choices: tuple[str, ...]) -> str:
    value = given.get(key, default)
    if value not in choices:
        raise ValueError(
            f"method_kwargs.{key} must be one of {', '.join(choices)}; got {value!r}"
            f"{suggestion(str(value), list(choices))}"
        )
    return value


def suggestion(name: str, names: list[str]) -> str:
    """Return ': did you mean …?' when a known name is near, else nothing."""
    near = difflib.get_close_matches(name, names, n=1)
    return f": did you mean {near[0]}?" if near else ""
