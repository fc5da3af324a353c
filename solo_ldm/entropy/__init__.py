"""Entropy estimators H[q(z)]: what keeps latents spread out. Needs torch alone."""

from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.entropy.coding_rate import CodingRateEntropy
from solo_ldm.entropy.kernel import KernelEntropy
from solo_ldm.entropy.logdet import LogDetEntropy, LogDetExpansionEntropy
from solo_ldm.entropy.logistic import LogisticEntropy
from solo_ldm.entropy.neighbour import NeighbourEntropy
from solo_ldm.entropy.none import NoEntropy
from solo_ldm.entropy.plug_in import PlugInEntropy
from solo_ldm.entropy.redundancy import RedundancyEntropy
from solo_ldm.entropy.sliced import SlicedGaussianEntropy
from solo_ldm.entropy.vicreg import VICRegEntropy

ENTROPIES: dict[str, type[EntropyEstimator]] = {
    "kernel": KernelEntropy,
    "logistic": LogisticEntropy,
    "neighbour": NeighbourEntropy,
    "logdet": LogDetEntropy,
    "logdet_expansion": LogDetExpansionEntropy,
    "coding_rate": CodingRateEntropy,
    "sliced": SlicedGaussianEntropy,
    "vicreg": VICRegEntropy,
    "redundancy": RedundancyEntropy,
    "plug_in": PlugInEntropy,
    "none": NoEntropy,
}

__all__ = [
    "ENTROPIES",
    "CodingRateEntropy",
    "EntropyEstimator",
    "KernelEntropy",
    "LogDetEntropy",
    "LogDetExpansionEntropy",
    "LogisticEntropy",
    "NeighbourEntropy",
    "NoEntropy",
    "PlugInEntropy",
    "RedundancyEntropy",
    "SlicedGaussianEntropy",
    "VICRegEntropy",
]
