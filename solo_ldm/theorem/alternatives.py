"""Wrong latents: non-affine maps of the sources, and their losses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from solo_ldm.objective import LDMObjective
from solo_ldm.theorem.problems import Problem, shear, swirl

# Batch size of an entropy estimate, and draws of the next step that a conditional mean averages.
_BATCH_SIZE, _DRAWS = 512, 64
_FIRST_SEED = 0x6A9

# Residuals with less variance than this count as zero.
_SMALLEST_VARIANCE = 1e-6
_KNOTS = 201

Map = Callable[[Tensor], Tensor]


def gaussianising(samples: Tensor) -> Map:
    """Return the increasing map of each source that makes its samples standard Gaussian.

    Φ⁻¹(F(s)), F the distribution function of the samples, linear between its quantiles and
    extrapolated beyond them.

    Args:
        samples: (B, d).
    """
    levels = torch.linspace(0.0005, 0.9995, _KNOTS, dtype=torch.float64)
    knots = torch.quantile(samples.double(), levels, dim=0).to(samples)
    values = torch.special.ndtri(levels).to(samples)

    def warp(sources: Tensor) -> Tensor:
        columns = []
        for column, at in zip(sources.unbind(dim=-1), knots.unbind(dim=-1), strict=True):
            left = (torch.searchsorted(at, column.contiguous()) - 1).clamp(0, _KNOTS - 2)
            slope = (values[left + 1] - values[left]) / (at[left + 1] - at[left])
            columns.append(values[left] + slope * (column - at[left]))
        return torch.stack(columns, dim=-1)

    return warp


def _warp(seed: int) -> Map:
    problem = Problem("non_gaussian", seed)
    generator = torch.Generator().manual_seed(_FIRST_SEED + seed)
    return gaussianising(problem.pairs(20000, generator)[1])


# The warp is that of the case with bimodal residuals, in every case.
ALTERNATIVES: dict[str, Callable[[int], Map]] = {
    "warp": _warp,
    "shear": lambda seed: lambda sources: shear(sources, -1.0),
    "swirl": lambda seed: swirl,
}


def compare_losses(
    problem: Problem, objective: LDMObjective, pairs: tuple[Tensor, Tensor]
) -> tuple[float, dict[str, float]]:
    """Return the loss of the sources, and the excess loss of each alternative of the case.

    All losses are computed on the same samples, predicted by their conditional means (an average
    over draws of the simulation; nothing is trained), and scaled so that the residuals are white,
    which is the optimal linear map; directions without residual keep their scale.

    Args:
        problem: the case and its alternatives.
        objective: of precision ½, for which white residuals are optimal.
        pairs: s and s' (B, 3).

    Returns:
        The loss, and its excess for each alternative: above 0 where the loss prefers the sources.
        Both at the training scale.
    """
    truth = _loss_of(problem, lambda sources: sources, objective, pairs)
    names = problem.case.alternatives
    maps = {name: ALTERNATIVES[name](problem.seed) for name in names}
    losses = {name: _loss_of(problem, maps[name], objective, pairs) for name in names}
    return truth, {name: loss - truth for name, loss in losses.items()}


@torch.no_grad()
def _loss_of(
    problem: Problem, latents_of: Map, objective: LDMObjective, pairs: tuple[Tensor, Tensor]
) -> float:
    """Return the loss of latents that are a given function of the sources."""
    generator = torch.Generator().manual_seed(_FIRST_SEED + problem.seed)
    before, after = pairs
    total = torch.zeros_like(before)
    for _ in range(_DRAWS):
        total += latents_of(problem.follow(before, generator))
    prediction, z1, z2 = total / _DRAWS, latents_of(before), latents_of(after)
    residual = (z2 - prediction).double()
    values, vectors = torch.linalg.eigh(residual.T @ residual / len(residual))
    scale = torch.where(values > _SMALLEST_VARIANCE, values.rsqrt(), torch.ones_like(values))
    white = (vectors * scale) @ vectors.T
    return mean_loss(objective, *(part.double() @ white for part in (z1, z2, prediction)))


def mean_loss(objective: LDMObjective, z1: Tensor, z2: Tensor, prediction: Tensor) -> float:
    """Return the mean of `forward_loss` over batches of 512 samples."""
    batches = zip(*(part.split(_BATCH_SIZE) for part in (z1, z2, prediction)), strict=True)
    return float(torch.stack([forward_loss(objective, *batch) for batch in batches]).mean())


def forward_loss(objective: LDMObjective, z1: Tensor, z2: Tensor, prediction: Tensor) -> Tensor:
    """Return the objective with the prediction of z2 from z1 alone.

    Args:
        objective: with over="pooled", for latents that are stationary.
        z1: latents (B, D).
        z2: latents of the next step (B, D).
        prediction: of z2 from z1 (B, D).
    """
    # The objective averages over two directions of prediction: here both are forwards in time.
    return objective(z1, z2, (prediction, prediction), (z2, z2)).loss
