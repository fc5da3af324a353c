"""What a target is: numbers, an angle, or one of some categories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Name = Literal["continuous", "circular", "categorical"]

_PERIODS = {"radians": 2.0 * math.pi, "degrees": 360.0}
# More different values are numbers rather than categories.
_MOST_CATEGORIES = 100


@dataclass(frozen=True)
class TargetKind:
    """What the values of a target are, and the columns that they are decoded as.

    Circular values v are decoded as (cos 2πv/P, sin 2πv/P), so that nothing is interpolated or
    averaged across the wrap; categories as a column for each, 1 for the one that it is.

    Args:
        name: continuous, circular or categorical.
        period: P, of a circular target, in its unit.
        categories: of a categorical target, in the order of the columns.
    """

    name: Name = "continuous"
    period: float = 0.0
    categories: tuple[str, ...] = ()

    @property
    def together(self) -> bool:
        """Whether all columns are of one value, an angle or a category."""
        return self.name != "continuous"

    def encoded(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the columns (n, c) of values (n, k); NaN where a value is unknown.

        Raises:
            ValueError: several columns of a circular or categorical target.
        """
        values = values.reshape(len(values), -1)
        if self.name == "continuous":
            return np.where(np.isfinite(values), values, np.nan)
        if values.shape[1] != 1:
            raise ValueError(f"expected one column of a {self.name} target, got {values.shape[1]}")
        if self.name == "circular":
            known = np.where(np.isfinite(values), values, np.nan)
            angle = 2.0 * math.pi / self.period * known
            return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
        columns = (labels(values[:, 0])[:, None] == np.array(self.categories)).astype(np.float64)
        columns[~columns.any(axis=1)] = np.nan
        return columns

    def value(self, columns: Tensor) -> Tensor:
        """Return the values (…, k) of columns (…, c): an angle in [0, P), a category's number."""
        if self.name == "circular":
            turns = torch.atan2(columns[..., 1], columns[..., 0]) / (2.0 * math.pi)
            return (turns.remainder(1.0) * self.period)[..., None]
        if self.name == "categorical":
            return columns.argmax(dim=-1, keepdim=True).to(columns.dtype)
        return columns

    def apart(self, values: Tensor, others: Tensor) -> Tensor:
        """Return values − others, for angles along the shorter arc."""
        if self.name != "circular":
            return values - others
        half = self.period / 2.0
        return (values - others + half).remainder(self.period) - half

    def near(self, columns: Tensor, values: Tensor) -> Tensor:
        """Return columns (M, c) to compare with an interval around values (M, k).

        Angles come within half a period of the values, numbers and categories stay columns.
        """
        if self.name != "circular":
            return columns
        return values + self.apart(self.value(columns).to(values.dtype), values)

    def distance(self, true: Tensor, decoded: Tensor) -> Tensor:
        """Return how far decoded columns (M, c) are off, (M,): for angles along the circle."""
        if self.name == "circular":
            return self.apart(self.value(decoded), self.value(true)).abs()[:, 0]
        return (true - decoded).norm(dim=1)


def kind_of(key: str, given: Any) -> TargetKind:
    """Return the kind that a setting names.

    Args:
        key: of the setting, for errors.
        given: continuous, radians, degrees, categorical, or the period of a circular target.

    Raises:
        ValueError: anything else.
    """
    if isinstance(given, str) and given in _PERIODS:
        return TargetKind("circular", _PERIODS[given])
    if given == "continuous" or given == "categorical":
        return TargetKind(given)
    is_number = isinstance(given, Real) and not isinstance(given, bool)
    if is_number and 0.0 < float(given) < math.inf:
        return TargetKind("circular", float(given))
    raise ValueError(
        f"{key}: expected continuous, radians, degrees, categorical or a period above 0, got "
        f"{given!r}"
    )


def labels(values: NDArray[Any]) -> NDArray[np.str_]:
    """Return values (n,) as texts, "" where unknown."""
    if values.dtype.kind in "US":
        return values.astype(np.str_)
    numbers = np.asarray(values, dtype=np.float64)
    return np.array([f"{one:.15g}" if math.isfinite(one) else "" for one in numbers], dtype=np.str_)


def categories_of(what: str, *values: NDArray[Any]) -> tuple[str, ...]:
    """Return the different labels of values, numbers in their order, for one kind of all.

    Raises:
        ValueError: fewer than two, or more than a hundred.
    """
    found = sorted({one for each in values for one in labels(each.reshape(-1)).tolist()} - {""})
    if not 2 <= len(found) <= _MOST_CATEGORIES:
        raise ValueError(
            f"{what}: expected 2 to {_MOST_CATEGORIES} categories, got {len(found)} different ones"
        )
    try:
        return tuple(sorted(found, key=float))
    except ValueError:
        return tuple(found)
