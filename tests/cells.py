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
    NeighbourEntropy,
    NoEntropy,
    RedundancyEntropy,
    SlicedGaussianEntropy,
    VICRegEntropy,
)
from solo_ldm.latents import LATENTS, Support
from solo_ldm.objective import LDMObjective

SUPPORTS: tuple[Support, ...] = ("plane", "sphere")

ESTIMATORS: dict[str, type[EntropyEstimator]] = {
    "kernel": KernelEntropy,
    "neighbour": NeighbourEntropy,
    "logdet": LogDetEntropy,
    "logdet_expansion": LogDetExpansionEntropy,
    "coding_rate": CodingRateEntropy,
    "sliced": SlicedGaussianEntropy,
    "vicreg": VICRegEntropy,
    "redundancy": RedundancyEntropy,
    "none": NoEntropy,
}

TWELVE = list(itertools.product(SUPPORTS, ("kernel", "neighbour", "logdet"), ("joint", "marginal")))
ALL_CELLS = list(itertools.product(SUPPORTS, ESTIMATORS, ("joint", "marginal", "pooled")))

each_estimator = pytest.mark.parametrize(
    ("support", "name"), list(itertools.product(SUPPORTS, ESTIMATORS))
)
each_cell = pytest.mark.parametrize(("support", "name", "over"), ALL_CELLS)


def objective(support: Support, name: str, over: str) -> LDMObjective:
    """Build a cell at its default settings."""
    return LDMObjective(LATENTS[support](), ESTIMATORS[name](support), over)  # pyright: ignore
