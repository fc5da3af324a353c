"""Methods on the solo-learn contract, by name."""

from solo_ldm.methods.base import BaseMethod
from solo_ldm.methods.gaussprob import GaussProb, GaussProbBody
from solo_ldm.methods.ldm import LDMBody
from solo_ldm.methods.sphereprob import SphereProb, SphereProbBody

METHODS: dict[str, type[LDMBody]] = {"gaussprob": GaussProb, "sphereprob": SphereProb}

__all__ = [
    "METHODS",
    "BaseMethod",
    "GaussProb",
    "GaussProbBody",
    "LDMBody",
    "SphereProb",
    "SphereProbBody",
]
