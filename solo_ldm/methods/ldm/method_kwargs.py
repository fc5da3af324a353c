"""The method_kwargs of latent distribution matching: checked and completed to one cell."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal

from solo_ldm.config.arguments import (
    NonNegative,
    Positive,
    check_arguments,
    check_keys,
    check_value,
    hints_of,
)
from solo_ldm.entropy import ENTROPIES
from solo_ldm.latents import LATENTS
from solo_ldm.methods.ldm.settings import PRODUCT, LDMSettings

if TYPE_CHECKING:
    from omegaconf import DictConfig

# The authors' names of the cells, as (entropy, over).
REFERENCE_TYPES = {
    "dual_sample": ("kernel", "joint"),
    "single_sample": ("kernel", "marginal"),
    "dual_knn": ("neighbour", "joint"),
    "single_knn": ("neighbour", "marginal"),
    "dual_gauss": ("logdet_expansion", "pooled"),
    "single_gauss": ("logdet_expansion", "marginal"),
}

# Keys of a cell itself; those of its latent model and of its estimator come from their registries.
CELL_KEYS = [one.name for one in fields(LDMSettings) if not one.name.endswith("_kwargs")]

# Settings of an estimator that no packaged configuration sets: given, they are meant to be read.
_MEANT = ("similar_share", "similar_weight")

# Keys of a cell that a block of a product may set; the network as a whole has the others.
_BLOCK_KEYS = {"latent", "entropy", "over", "prediction_precision", "entropy_weight"}


def known_keys() -> list[str]:
    """Return every key that method_kwargs may hold, the reference's aliases included."""
    own = [key for kind in (*ENTROPIES.values(), *LATENTS.values()) for key in _own_keys(kind)]
    return list(dict.fromkeys([*CELL_KEYS, *own, "loss", "recognition_precision"]))


def _own_keys(kind: type) -> list[str]:
    """Return the settings that an estimator or a latent model has beside those of every cell."""
    shared = ("support", "prediction_precision")
    return [key for key in inspect.signature(kind).parameters if key not in shared]


def resolve(method_kwargs: Mapping[str, Any], latent: str | None = None) -> LDMSettings:
    """Check method_kwargs and complete them to one cell of the grid.

    A key set to null takes its default: the estimator's own, and for prediction_precision the
    latent model's (the paper's: 5; 12.5 with nearest neighbours on the plane). Keys of the other
    estimators are allowed, so that overriding `entropy` alone switches the cell.

    Keys of the reference: loss.type (dual_sample, single_knn, …) gives entropy and over, and
    doubles entropy_weight for the gauss types; loss.entropy_multiplier is twice entropy_weight,
    before that, for the marginal types; and recognition_precision is kernel_precision.

    latent=product takes a list `blocks`, each a mapping of latent, dim and any of entropy, over,
    entropy_weight, prediction_precision and the settings of its latent model and estimator; keys
    beside the list are the blocks' defaults. Other latents ignore the list.

    Args:
        method_kwargs: as in the configuration.
        latent: of a method that has but one: "plane" (gaussprob), "sphere" (sphereprob).

    Raises:
        ValueError: in one line: an unknown or missing key, a value of the wrong type or out of its
            bounds, a choice or combination that does not exist.
    """
    given = {key: value for key, value in method_kwargs.items() if value is not None}
    if "temperature" in given:
        check_value("method_kwargs.temperature", given["temperature"], Positive)
        precision = f"{1 / given['temperature']:g}"
        raise ValueError(
            "method_kwargs.temperature: expected no such key; its inverse is the precision: set "
            f"method_kwargs.prediction_precision={precision} and kernel_precision={precision}"
        )
    check_keys("method_kwargs", given, known_keys())
    given = _translate_reference(given)
    if latent is not None and given.setdefault("latent", latent) != latent:
        raise ValueError(
            f"method_kwargs.latent: expected {latent} for this method, got {given['latent']}; set "
            "method=ldm for any other"
        )
    _check_values("method_kwargs", given)
    if given.get("latent") == PRODUCT:
        return _product(given)
    if "blocks" in given:  # not read, and yet no other thing
        check_value("method_kwargs.blocks", given["blocks"], Sequence[Mapping[str, Any]])
    return _cell(given, "method_kwargs")


def check_run(cfg: DictConfig, cell: LDMSettings) -> None:
    """Check that the rest of a configuration goes with a cell.

    Raises:
        ValueError: in one line: a moving average of another package's methods, or a batch that is
            too small for the estimator or for whitening.
    """
    if cfg.get("momentum"):
        raise ValueError(
            f"momentum: expected nothing for method={cfg.method}, got {dict(cfg.momentum)}; set "
            "method_kwargs.target=moving_average, method_kwargs.base_tau and final_tau"
        )
    fewest = max(2, cell.build_objective().fewest_samples)
    together = cfg.accumulate_grad_batches if cfg.get("statistics") == "whole" else 1
    if cfg.optimizer.batch_size * together < fewest:
        raise ValueError(
            f"optimizer.batch_size: expected at least {fewest} for entropy={cell.entropy}, got "
            f"{cfg.optimizer.batch_size}; raise it"
            + (" or lower method_kwargs.num_neighbours" if fewest > 2 else "")
        )
    if cell.equivariance_weight and together > 1:
        raise ValueError(
            "statistics: expected batch for method_kwargs.equivariance_weight above 0, got whole; "
            "leave one of them out"
        )
    dim = cell.proj_output_dim
    if cell.proj_output_whitening and cfg.optimizer.batch_size <= dim:
        raise ValueError(
            f"optimizer.batch_size: expected more than {dim}, to whiten as many dimensions, got "
            f"{cfg.optimizer.batch_size}; raise it, or lower method_kwargs.proj_output_dim"
        )


def _check_values(prefix: str, given: Mapping[str, Any]) -> None:
    """Check all values, those of estimators and latent models that are not chosen too."""
    hints = {
        **{key: hint for kind in ENTROPIES.values() for key, hint in hints_of(kind).items()},
        **{key: hint for kind in LATENTS.values() for key, hint in hints_of(kind).items()},
        **hints_of(LDMSettings),
        "latent": Literal[(*LATENTS, PRODUCT)],
        "entropy": Literal[(*ENTROPIES,)],
    }
    for key, value in given.items():
        if key in hints and key != "blocks":
            check_value(f"{prefix}.{key}", value, hints[key])


def _cell(given: Mapping[str, Any], prefix: str) -> LDMSettings:
    """Complete one cell; `prefix` is its key, for messages."""
    chosen = {"entropy": "kernel", **{key: given[key] for key in CELL_KEYS if key in given}}
    chosen.pop("blocks", None)
    _check_values(prefix, given)
    check_arguments(prefix, chosen, LDMSettings)
    latent, entropy = chosen["latent"], chosen["entropy"]
    for part, kind in (("entropy_kwargs", ENTROPIES[entropy]), ("latent_kwargs", LATENTS[latent])):
        keys = _own_keys(kind)
        chosen[part] = {key: value for key, value in given.items() if key in keys}
        check_arguments(prefix, chosen[part], kind, ("support",))
    for key in _MEANT if prefix == "method_kwargs" else ():  # beside blocks they are defaults
        if key in given and key not in chosen["entropy_kwargs"]:
            raise ValueError(
                f"{prefix}.{key}: expected null for entropy={entropy}, which does not read it, got "
                f"{given[key]}; leave it out, or set {prefix}.entropy=kernel"
            )
    precision = _default_precision(latent, entropy)
    if precision is None and "prediction_precision" in chosen:
        raise ValueError(f"{prefix}.prediction_precision: latent={latent} has none; leave it out")
    settings = LDMSettings(**{"prediction_precision": precision, **chosen})
    _check_combination(settings, prefix)
    return settings


def _check_combination(settings: LDMSettings, prefix: str) -> None:
    """Raise a one-line ValueError unless latent, entropy, target and predictor go together."""
    kind, support = LATENTS[settings.latent], settings.support
    fitting = [name for name, one in ENTROPIES.items() if support in one.supports]
    if settings.entropy not in fitting:
        raise ValueError(
            f"{prefix}.entropy: expected one of {', '.join(fitting)} for latent={settings.latent} "
            f"(on the {support}), got {settings.entropy}"
        )
    if kind.follows_latents and settings.over == "joint":
        raise ValueError(
            f"{prefix}.over: expected marginal or pooled, got joint, which cancels the density "
            f"that latent={settings.latent} fits to the batch"
        )
    if settings.over == "cross" and not ENTROPIES[settings.entropy].crosses:
        fitting = [name for name in fitting if ENTROPIES[name].crosses]
        raise ValueError(
            f"{prefix}.entropy: expected one of {', '.join(fitting) or 'none'} for over=cross, "
            f"which is of kernels at the other view, got {settings.entropy}"
        )
    if settings.entropy == "none" and settings.target == "same" and not kind.prevents_collapse:
        raise ValueError(
            f"{prefix}.entropy: none with target=same has nothing against collapse; choose an "
            "entropy, or target=detached or moving_average with a predictor"
        )
    if kind.needs_predictor and settings.predictor not in ("linear", "mlp"):
        raise ValueError(
            f"{prefix}.predictor: expected linear or mlp for latent={settings.latent}, a density "
            f"given a prediction, got {settings.predictor}"
        )


def _product(given: dict[str, Any]) -> LDMSettings:
    """Complete each block of a product as a cell of its own."""
    blocks = given.pop("blocks", None)
    if isinstance(blocks, (str, Mapping)) or not isinstance(blocks, Sequence) or not blocks:
        raise ValueError(
            f"method_kwargs.blocks: expected a list for latent=product, got {blocks!r}; e.g. "
            "[{latent: plane, dim: 96, entropy: logdet}, {latent: sphere, dim: 32}]"
        )
    known = [key for key in known_keys() if key in _BLOCK_KEYS or key not in CELL_KEYS]
    cells = []
    for number, block in enumerate(blocks):
        prefix = f"method_kwargs.blocks.{number}"
        own = dict(block) if isinstance(block, Mapping) else {}
        check_keys(prefix, own, [*known, "dim"])
        for key in ("latent", "dim"):
            if own.get(key) is None or own[key] == PRODUCT:
                raise ValueError(f"missing key {prefix}.{key}: a block is a latent and its dim")
        own["proj_output_dim"] = own.pop("dim")
        own = {key: value for key, value in own.items() if value is not None}
        cells.append(_cell({**given, **_translate_reference(own)}, prefix))
    total = sum(cell.proj_output_dim for cell in cells)
    if given.get("proj_output_dim", total) != total:
        raise ValueError(
            f"method_kwargs.proj_output_dim: expected {total}, the sum over method_kwargs.blocks, "
            f"got {given['proj_output_dim']}; leave it out"
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


def _joined(names: Iterable[str]) -> Any:
    names = list(names)
    return names[0] if len(set(names)) == 1 else " × ".join(names)


def _default_precision(latent: str, entropy: str) -> float | None:
    if latent == "plane" and entropy == "neighbour":
        return 12.5
    keys = inspect.signature(LATENTS[latent]).parameters
    return keys["prediction_precision"].default if "prediction_precision" in keys else None


def _translate_reference(given: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(given)
    if "recognition_precision" in given:
        given["kernel_precision"] = given.pop("recognition_precision")
    loss = given.pop("loss", None)
    if loss is None:
        return given
    check_value("method_kwargs.loss", loss, Mapping)
    kind = loss.get("type")
    check_value("method_kwargs.loss.type", kind, Literal[(*REFERENCE_TYPES,)])
    given["entropy"], given["over"] = REFERENCE_TYPES[kind]
    multiplier = loss.get("entropy_multiplier")
    if multiplier is not None:
        check_value("method_kwargs.loss.entropy_multiplier", multiplier, NonNegative)
    if given["over"] == "marginal" and multiplier is not None:
        # The reference weighs the mean of the two marginal entropies, we their sum.
        given["entropy_weight"] = multiplier / 2.0
    check_value("method_kwargs.entropy_weight", given.get("entropy_weight", 1.0), NonNegative)
    if given["entropy"] == "logdet_expansion":
        # The reference's is log det / D, ours half of it.
        given["entropy_weight"] = 2.0 * given.get("entropy_weight", 1.0)
    return given
