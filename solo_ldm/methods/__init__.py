"""Methods on the solo-learn contract, by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from solo_ldm.config.suggestions import suggestion
from solo_ldm.methods.base import BaseMethod, Description
from solo_ldm.methods.ldm.body import LDM, LDMBody
from solo_ldm.methods.ldm.gaussprob import GaussProb, GaussProbBody
from solo_ldm.methods.ldm.sphereprob import SphereProb, SphereProbBody
from solo_ldm.methods.masked import Masked

METHODS: dict[str, type[BaseMethod]] = {
    "gaussprob": GaussProb,
    "sphereprob": SphereProb,
    "ldm": LDM,
    "masked": Masked,
}

# Methods of other packages, as FAMILY/NAME: the module whose `find` knows them.
FAMILIES = {"lightly": "solo_ldm.methods.lightly", "solo": "solo_ldm.integrations.solo_learn"}

__all__ = [
    "FAMILIES",
    "LDM",
    "METHODS",
    "BaseMethod",
    "Description",
    "GaussProb",
    "GaussProbBody",
    "LDMBody",
    "Masked",
    "SphereProb",
    "SphereProbBody",
    "find_method",
]


def find_method(name: str) -> Any:
    """Return the class of a method: one of `METHODS`, lightly/NAME or solo/NAME.

    Raises:
        ValueError: in one line: there is no such method, or its package is not installed.
    """
    if name in METHODS:
        return METHODS[name]
    family, slash, member = name.partition("/")
    if slash and family in FAMILIES:
        return import_module(FAMILIES[family]).find(member)
    known = [*METHODS, *(f"{family}/NAME" for family in FAMILIES)]
    raise ValueError(
        f"method must be one of {', '.join(known)}; got {name!r}{suggestion(name, list(METHODS))}"
    )
