"""The method_kwargs of latent distribution matching: checked and completed to one cell."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from solo_ldm.config.suggestions import suggestion
from solo_ldm.entropy import ENTROPIES
from solo_ldm.latents import LATENTS
from solo_ldm.methods.ldm.settings import PRODUCT, LDMSettings, estimator_keys, latent_keys

# The authors' names of the cells, as (entropy, over).
REFERENCE_TYPES = {
    "dual_sample": ("kernel", "joint"),
    "single_sample": ("kernel", "marginal"),
    "dual_knn": ("neighbour", "joint"),
    "single_knn": ("neighbour", "marginal"),
    "dual_gauss": ("logdet", "joint"),
    "single_gauss": ("logdet", "marginal"),
}

PREDICTORS = ("none", "linear", "mlp", "direct")
TARGETS = ("same", "detached", "moving_average")


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

    latent=product takes a list `blocks`, each a mapping of latent, dim and any of entropy, over,
    entropy_weight, prediction_precision and the settings of its latent model and estimator; keys
    beside the list are the blocks' defaults. Other latents ignore the list.

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
    if given.get("latent") == PRODUCT and latent is None:
        return _resolve_product(given)
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
    _check_match(settings)
    safe = settings.target != "same" or LATENTS[settings.latent].prevents_collapse
    if settings.entropy == "none" and not safe:
        raise ValueError(
            "method_kwargs.entropy=none with method_kwargs.target=same has nothing against "
            "collapse: choose an entropy, or target=detached or moving_average with a predictor"
        )
    if LATENTS[settings.latent].needs_predictor and settings.predictor not in ("linear", "mlp"):
        raise ValueError(
            f"method_kwargs.latent={settings.latent} is a density given a prediction: set "
            "method_kwargs.predictor to linear or mlp"
        )
    return settings


def _check_match(settings: LDMSettings) -> None:
    """Raise a one-line ValueError unless the entropy is one for the latents."""
    fitting = [name for name, kind in ENTROPIES.items() if settings.support in kind.supports]
    if settings.entropy not in fitting:
        raise ValueError(
            f"method_kwargs.entropy={settings.entropy} is not for latent={settings.latent}, which "
            f"lives on the {settings.support}: choose {' or '.join(fitting)}"
        )
    if LATENTS[settings.latent].follows_latents and settings.over == "joint":
        raise ValueError(
            f"method_kwargs.over=joint cancels what latent={settings.latent} says of its own "
            "batch: choose marginal or pooled"
        )


# What a block of a product may set of these settings; the rest is of the network as a whole.
BLOCK_KEYS = {"latent", "entropy", "over", "prediction_precision", "entropy_weight"}

# How a value of the configuration becomes one of the settings; choices are checked by themselves.
_KINDS: dict[str, Any] = {"int": int, "float": float, "float | None": float, "bool": bool}


def _latent(given: dict[str, Any], latent: str | None) -> str:
    if latent is None and "latent" not in given:
        raise ValueError(f"missing key method_kwargs.latent: one of {', '.join(LATENTS)}")
    chosen = _choice(given, "latent", latent or "", (*LATENTS, PRODUCT))
    if latent is not None and chosen != latent:
        raise ValueError(
            f"method_kwargs.latent={chosen}, but this method's is {latent}: set method=ldm"
        )
    return chosen


def _resolve_product(given: dict[str, Any]) -> LDMSettings:
    """Complete each block as a cell of its own."""
    blocks = given.pop("blocks", None)
    if isinstance(blocks, (str, Mapping)) or not isinstance(blocks, Sequence) or not blocks:
        raise ValueError(
            "method_kwargs.latent=product needs method_kwargs.blocks, a list such as "
            "[{latent: plane, dim: 96, entropy: logdet}, {latent: sphere, dim: 32}]"
        )
    not_of_a_block = {one.name for one in fields(LDMSettings)} - BLOCK_KEYS
    known = [key for key in known_keys() if key not in not_of_a_block]
    cells = []
    for number, block in enumerate(blocks):
        where = f"method_kwargs.blocks.{number}"
        own = {"latent": None, "dim": None, **block} if isinstance(block, Mapping) else {}
        for key in own:
            if key not in (*known, "dim"):
                raise ValueError(f"unknown key {where}.{key}{suggestion(key, [*known, 'dim'])}")
        for key in ("latent", "dim"):
            if own.get(key) is None or own[key] == PRODUCT:
                raise ValueError(f"missing key {where}.{key}: a block is a latent and its dim")
        own["proj_output_dim"] = own.pop("dim")
        try:
            cells.append(resolve({**given, **own}))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    total = sum(cell.proj_output_dim for cell in cells)
    if given.get("proj_output_dim", total) != total:
        raise ValueError(
            f"method_kwargs.proj_output_dim={given['proj_output_dim']}, but the dimensions of "
            f"method_kwargs.blocks add up to {total}: set it to that, or leave it out"
        )
    return replace(
        cells[0],
        latent=PRODUCT,
        proj_output_dim=total,
        entropy=_joined(cell.entropy for cell in cells),
        over=_joined(cell.over for cell in cells),
        prediction_precision=None,
        entropy_kwargs={},
        latent_kwargs={},
        blocks=tuple(cells),
    )


def _joined(names: Iterable[str]) -> str:
    names = list(names)
    return names[0] if len(set(names)) == 1 else " × ".join(names)


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
