"""The cases: all assumptions of the theorem, and each violated in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Residuals = Literal["gaussian", "bimodal"]


@dataclass(frozen=True)
class Case:
    """What a case changes about the sources; the rest depends on the seed alone.

    Args:
        title: for reports.
        recovers: whether the theorem says that the sources are identified.
        residuals: their distribution, of variance one and mean zero.
        noisy: which of the three sources have residuals.
        predicted: which have varying conditional means; None for all, in one rotated system.
        alternatives: wrong latents to compare the loss of, names in `alternatives.ALTERNATIVES`.
        affected: indexes of the sources that these change, from 0.
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
