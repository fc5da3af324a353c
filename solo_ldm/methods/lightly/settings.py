"""The method_kwargs of a method on lightly's losses: checked and completed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from solo_ldm.config.suggestions import suggestion
from solo_ldm.methods.lightly.parts import Recipe

# Least and greatest values, of settings whose range is not "0 or more". A number that ends in
# _dim counts units: 1 or more.
_RANGES: dict[str, tuple[float, float]] = {
    "alpha": (0, 1),
    "base_tau": (0, 1),
    "beta": (0, 1),
    "center_momentum": (0, 1),
    "final_tau": (0, 1),
    "lambda_param": (0, 1),
    "num_prototypes": (2, math.inf),
    "num_slices": (1, math.inf),
    "sigreg_num_vectors": (1, math.inf),
    "whitening_eps": (0, 1),
    "whitening_iters": (1, math.inf),
}


def resolve(
    name: str, recipe: Recipe, method_kwargs: Mapping[str, Any], momentum: Mapping[str, Any]
) -> dict[str, Any]:
    """Check what a configuration says of a method and fill in the defaults.

    Args:
        name: of the method, for messages.
        recipe: of the method.
        method_kwargs: as in the configuration; a key set to null takes its default.
        momentum: as in the configuration: base_tau and final_tau may also stand there, where
            solo-learn has them.

    Returns:
        The recipe's settings, complete.

    Raises:
        ValueError: in one line: an unknown key, or a value of another type or out of range.
    """
    complete = dict(recipe.settings)
    for block, given in (("momentum", momentum), ("method_kwargs", method_kwargs)):
        known = list(recipe.settings)
        if block == "momentum":
            known = [key for key in known if key in ("base_tau", "final_tau")]
        for key, value in given.items():
            if key not in known:
                takes = ", ".join(known) or "none"
                raise ValueError(
                    f"unknown key {block}.{key}{suggestion(key, known)} (lightly/{name} takes "
                    f"{takes})"
                )
            if value is not None:
                complete[key] = _checked(f"{block}.{key}", key, value, recipe.settings[key])
    return complete


def _checked(path: str, key: str, value: Any, default: Any) -> Any:
    """Return a value as the type of the default, or raise a ValueError in one line."""
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{path} must be true or false, got {value!r}")
        return value
    whole = isinstance(default, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise ValueError(f"{path} must be a {'whole ' if whole else ''}number, got {value!r}")
    # SwAV does without a queue by default; the others that have one are nothing without it.
    needed = key.endswith("_dim") or (key == "queue_size" and default > 0)
    least, greatest = _RANGES.get(key, (1 if needed else 0, math.inf))
    above_zero = key.endswith("temperature") or key in ("sigma", "sk_epsilon")
    if not least <= value <= greatest or (above_zero and value == 0):
        lower = "above 0" if above_zero else f"at least {least:g}"
        upper = "" if greatest == math.inf else f" and at most {greatest:g}"
        raise ValueError(f"{path} must be {lower}{upper}, got {value!r}")
    return value if whole else float(value)
