"""Latent models p(z1, z2): where latents live and how well two views agree. Needs torch alone."""

from solo_ldm.latents.base import LatentModel, Support
from solo_ldm.latents.correlated import CorrelatedPlane
from solo_ldm.latents.plane import GaussianPlane
from solo_ldm.latents.sphere import VonMisesFisherSphere

LATENTS: dict[str, type[LatentModel]] = {
    "plane": GaussianPlane,
    "sphere": VonMisesFisherSphere,
    "correlated": CorrelatedPlane,
}

__all__ = [
    "LATENTS",
    "CorrelatedPlane",
    "GaussianPlane",
    "LatentModel",
    "Support",
    "VonMisesFisherSphere",
]
