"""The grid as test tables: adding an estimator or a latent model adds one row here."""

from __future__ import annotations

import itertools

import pytest

from solo_ldm.entropy import (
    CodingRateEntropy,
    EntropyEstimator,
    KernelEntropy,
    LogDetEntropy,
    LogDetExpansionEntropy,
    LogisticEntropy,
    NeighbourEntropy,
    NoEntropy,
    PlugInEntropy,
    RedundancyEntropy,
    SlicedGaussianEntropy,
    VICRegEntropy,
)
from solo_ldm.latents import LATENTS, Support
from solo_ldm.objective import LDMObjective

SUPPORTS: tuple[Support, ...] = ("plane", "sphere")

ESTIMATORS: dict[str, type[EntropyEstimator]] = {
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

TWELVE = list(itertools.product(SUPPORTS, ("kernel", "neighbour", "logdet"), ("joint", "marginal")))
# Estimators on the supports that they are for; those of the simplex are in test_categorical.py.
ON_SUPPORT = [
    (support, name)
    for support, name in itertools.product(SUPPORTS, ESTIMATORS)
    if support in ESTIMATORS[name].supports
]
ALL_CELLS = [(*pair, over) for pair in ON_SUPPORT for over in ("joint", "marginal", "pooled")]

each_estimator = pytest.mark.parametrize(("support", "name"), ON_SUPPORT)
each_cell = pytest.mark.parametrize(("support", "name", "over"), ALL_CELLS)


def objective(support: Support, name: str, over: str) -> LDMObjective:
    """Build a cell at its default settings."""
    return LDMObjective(LATENTS[support](), ESTIMATORS[name](support), over)  # pyright: ignore
