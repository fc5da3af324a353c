"""The cases: the assumptions as they are, and each left out. Needs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Residuals = Literal["gaussian", "bimodal"]


@dataclass(frozen=True)
class Case:
    """What a case changes about the sources; all else is the same for one seed.

    Args:
        title: in words.
        recovers: whether the theorem says that the sources are found.
        residuals: their distribution; either has variance one and mean zero.
        noisy: which of the three sources have residuals at all.
        predicted: which have conditional means that vary; None for all, in one rotated system.
        alternatives: maps to wrong latents that are tried out; see `alternatives`.
        affected: sources that these maps bend, from 0.
    """

    title: str
    recovers: bool
    residuals: Residuals = "gaussian"
    noisy: tuple[float, float, float] = (1.0, 1.0, 1.0)
    predicted: tuple[float, float, float] | None = None
    alternatives: tuple[str, ...] = ()
    affected: tuple[int, ...] = (0, 1, 2)


CASES: dict[str, Case] = {
    "holds": Case("all assumptions hold", True, alternatives=("warp", "shear", "swirl")),
    "non_gaussian": Case(
        "residuals are bimodal", False, residuals="bimodal", alternatives=("warp",)
    ),
    "singular": Case(
        "source 2 has no noise",
        False,
        noisy=(1.0, 0.0, 1.0),
        alternatives=("shear",),
        affected=(0,),
    ),
    "blind": Case(
        "sources 1 and 2 are not predicted",
        False,
        predicted=(0.0, 0.0, 1.0),
        alternatives=("swirl",),
        affected=(0, 1),
    ),
}
