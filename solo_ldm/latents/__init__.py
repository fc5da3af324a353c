"""Latent models p(z1, z2): where latents live and how well two views agree. Needs torch alone."""

from solo_ldm.latents.base import LatentModel, Support
from solo_ldm.latents.categorical import CategoricalSimplex, FittedCategories
from solo_ldm.latents.conditional import ConditionalGaussian
from solo_ldm.latents.correlated import CorrelatedPlane
from solo_ldm.latents.huber import HuberPlane
from solo_ldm.latents.logits import ConditionalCategories
from solo_ldm.latents.mean_direction import MeanDirectionSphere
from solo_ldm.latents.plane import GaussianPlane
from solo_ldm.latents.product import ProductLatent
from solo_ldm.latents.prototypes import PlanePrototypes, SpherePrototypes
from solo_ldm.latents.sphere import VonMisesFisherSphere
from solo_ldm.latents.whitened import WhitenedPlane

LATENTS: dict[str, type[LatentModel]] = {
    "plane": GaussianPlane,
    "sphere": VonMisesFisherSphere,
    "mean_direction": MeanDirectionSphere,
    "correlated": CorrelatedPlane,
    "whitened": WhitenedPlane,
    "huber": HuberPlane,
    "conditional": ConditionalGaussian,
    "categorical": CategoricalSimplex,
    "categorical_fitted": FittedCategories,
    "categorical_conditional": ConditionalCategories,
    "prototypes": SpherePrototypes,
    "prototypes_plane": PlanePrototypes,
}

__all__ = [
    "LATENTS",
    "CategoricalSimplex",
    "ConditionalCategories",
    "ConditionalGaussian",
    "CorrelatedPlane",
    "FittedCategories",
    "GaussianPlane",
    "HuberPlane",
    "LatentModel",
    "MeanDirectionSphere",
    "PlanePrototypes",
    "ProductLatent",
    "SpherePrototypes",
    "Support",
    "VonMisesFisherSphere",
    "WhitenedPlane",
]
