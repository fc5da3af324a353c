"""Names of features: kept where X has some at fit, and found again in later X."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

Names = tuple[int | str, ...]


def names_of(columns: Iterable[Any]) -> Names:
    """Return the names of columns: whole numbers as numbers, all others as texts."""
    return tuple(int(one) if _is_whole(one) else str(one) for one in columns)


def _is_whole(one: Any) -> bool:
    if isinstance(one, Integral):
        return not isinstance(one, bool)
    return isinstance(one, Real) and float(one).is_integer()


def kept_names(estimator: BaseEstimator) -> Names | None:
    """Return the names of the features that an estimator was fitted to; None without names."""
    texts = getattr(estimator, "feature_names_in_", None)
    return getattr(estimator, "_feature_numbers", None) if texts is None else tuple(texts)


def keep_names(estimator: Any, names: Sequence[int | str] | None) -> None:
    """Take note of names: as `feature_names_in_` where all are texts, as scikit-learn does."""
    for attribute in ("feature_names_in_", "_feature_numbers"):
        vars(estimator).pop(attribute, None)
    if names is None:
        return
    if all(isinstance(one, str) for one in names):
        estimator.feature_names_in_ = np.array(names, dtype=object)
    else:
        estimator._feature_numbers = tuple(names)


def check_different(names: Names | None, where: str) -> None:
    """Refuse a name that two columns have."""
    if names is not None and len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise ValueError(
            f"{where}: expected features of different names, got {twice} {names.count(twice)} times"
        )


def order_of(names: Names | None, wanted: Names | None, where: str = "X") -> list[int] | None:
    """Return where the columns that were fitted to are among others; None for as they are.

    Columns without names, or with the numbers from 0 that tables have by default, are taken as
    they are where the others are named by texts.

    Args:
        names: of the columns.
        wanted: names at fit.
        where: they are, for errors.

    Raises:
        ValueError: in one line: names that are missing, or that the fit had not.
    """
    if names is None or wanted is None or names == wanted:
        return None
    if len(names) == len(wanted) and set(names) == set(wanted):
        return [names.index(one) for one in wanted]
    unnamed = [one == tuple(range(len(one))) for one in (names, wanted)]
    numbers = [all(isinstance(name, int) for name in one) for one in (names, wanted)]
    if any(unnamed) and not all(numbers):
        return None
    missing, others = (
        [str(one) for one in a if one not in b] for a, b in ((wanted, names), (names, wanted))
    )
    differ = [
        f"{how} {', '.join(some[:5])}{', …' if some[5:] else ''}"
        for how, some in (("without", missing), ("with", others))
        if some
    ]
    first = ", ".join(map(str, wanted[:3])) + (", …" if wanted[3:] else "")
    raise ValueError(
        f"{where}: expected the {len(wanted)} features of fit ({first}), got {len(names)} "
        f"{' and '.join(differ)}; "
        + ("rename them, " if missing else "take X[names] with the names of fit, ")
        + "or give an array to go by position"
    )


def names_of_bin(given: Any) -> Names | None:
    """Return the names that one bin has: the index of a Series, or the coordinates of an array."""
    pandas, xarray = sys.modules.get("pandas"), sys.modules.get("xarray")
    if pandas is not None and isinstance(given, pandas.Series):
        return names_of(given.index)
    if xarray is not None and isinstance(given, xarray.DataArray) and given.ndim == 1:
        coords = given.coords.get(given.dims[0])
        return None if coords is None else names_of(coords.values.tolist())
    return None
