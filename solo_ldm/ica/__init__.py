"""Linear ICA as latent distribution matching: latents z = W x matched to independent sources."""

from solo_ldm.ica.metrics import amari_distance, fast_ica, match_sources
from solo_ldm.ica.models import GeneralisedGaussian, OrnsteinUhlenbeck, SourceModel
from solo_ldm.ica.objective import ICA_ENTROPIES, ICAObjective, ica_entropy
from solo_ldm.ica.separation import MODELS, Separation, separate

__all__ = [
    "ICA_ENTROPIES",
    "MODELS",
    "GeneralisedGaussian",
    "ICAObjective",
    "OrnsteinUhlenbeck",
    "Separation",
    "SourceModel",
    "amari_distance",
    "fast_ica",
    "ica_entropy",
    "match_sources",
    "separate",
]
