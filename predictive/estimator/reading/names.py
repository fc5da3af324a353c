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


def numbers_of(texts: Sequence[str]) -> Names:
    """Return the names that a file of texts keeps, as numbers where all are whole numbers."""
    whole = all(one.isdecimal() and str(int(one)) == one for one in texts)
    return tuple(map(int, texts)) if whole else tuple(texts)


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
    texts = [] if names is None else [*map(str, names)]
    if len(set(texts)) < len(texts):
        twice = next(one for one in texts if texts.count(one) > 1)
        raise ValueError(
            f"{where}: expected features of different names, got {twice} {texts.count(twice)} times"
        )


def order_of(
    names: Names | None, wanted: Names | None, where: str = "X", *, every: bool = True
) -> list[int] | None:
    """Return where the columns that were fitted to are among others; None for as they are.

    Columns without names, or with the numbers from 0 that tables have by default, are taken as
    they are where the others are named by texts. Such numbers name no cells: columns that are
    numbered otherwise, or fewer or more, are refused.

    Args:
        names: of the columns.
        wanted: names at fit.
        where: they are, for errors.
        every: whether the columns have to be those of the fit, no fewer and no more. If not, −1
            stands for one that is absent.

    Raises:
        ValueError: in one line: names that are missing, or that the fit had not.
    """
    if names is None or wanted is None or names == wanted:
        return None
    own, fitted = ([*map(str, one)] for one in (names, wanted))
    missing, others = _without(fitted, own), _without(own, fitted)
    order = [own.index(one) if one not in missing else -1 for one in fitted]
    if not missing and not others:
        return order
    unnamed = [one == tuple(range(len(one))) for one in (names, wanted)]
    numbers = [all(isinstance(name, int) for name in one) for one in (names, wanted)]
    if any(unnamed) and not all(numbers):
        return None
    doubtful = unnamed[1] or (unnamed[0] and missing)
    if not every and not doubtful and len(missing) < len(fitted):
        return order
    differ = [
        f"{how} {some_of(some)}" for how, some in (("without", missing), ("with", others)) if some
    ]
    raise ValueError(
        f"{where}: expected the {len(wanted)} features of fit ({some_of(wanted, 3)}), got "
        f"{len(names)} {' and '.join(differ)}; "
        + ("rename them, " if missing else "take X[names] with the names of fit, ")
        + "or give an array to go by position"
    )


def said_of(order: Sequence[int] | None, names: Names | None, wanted: Names | None) -> str:
    """Return what is to be said of features that are absent or not the model's, "" if nothing."""
    if order is None or names is None or wanted is None:
        return ""
    own, fitted = ([*map(str, one)] for one in (names, wanted))
    missing, others = _without(fitted, own), _without(own, fitted)
    parts = []
    if missing:
        which = some_of(missing)
        parts.append(f"{len(missing)} of the {len(fitted)} features of fit are missing ({which})")
    if others:
        parts.append(f"{len(others)} others are ignored ({some_of(others)})")
    return "X: " + ", ".join(parts) if parts else ""


def some_of(names: Sequence[Any], most: int = 5) -> str:
    """Return the first names of some, and that there are more."""
    return ", ".join(map(str, names[:most])) + (", …" if names[most:] else "")


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    known = {*others}
    return [one for one in names if one not in known]


def names_of_bin(given: Any) -> Names | None:
    """Return the names that one bin has: the index of a Series, or the coordinates of an array."""
    pandas, xarray = sys.modules.get("pandas"), sys.modules.get("xarray")
    if pandas is not None and isinstance(given, pandas.Series):
        return names_of(given.index)
    if xarray is not None and isinstance(given, xarray.DataArray) and given.ndim == 1:
        coords = given.coords.get(given.dims[0])
        return None if coords is None else names_of(coords.values.tolist())
    return None
