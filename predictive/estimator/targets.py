"""The argument y of an estimator, checked: numbers, an angle or labels, as columns to decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from predictive.data.recordings.series import wraps
from predictive.data.recordings.values import first_line
from predictive.data.targets import TargetKind, categories_of, kind_of
from predictive.estimator.reading.inputs import Given, refuse_dates, warn
from predictive.estimator.reading.sessions import listed, session_of

# Of a y that may be an angle: different values, and its usual step as a share of the range.
_FEWEST_LEVELS, _SMALL = 10, 0.05


class Targets(NamedTuple):
    """y of each session.

    Args:
        columns: (T, c) each, as `TargetKind` decodes them; NaN where unknown.
        flat: whether y had no columns.
        kind: what y is.
        classes: of a categorical y, its labels in the order of the columns.
    """

    columns: list[NDArray[np.float64]]
    flat: bool
    kind: TargetKind
    classes: NDArray[Any] | None


def target_kind(given: Any) -> TargetKind:
    """Return what the parameter `target` names."""
    return TargetKind() if given is None else kind_of("target", given)


def read_targets(
    given: Any,
    inputs: Given,
    kind: TargetKind,
    classes: NDArray[Any] | None = None,
    told: bool = True,
) -> Targets:
    """Check y and return its columns.

    Args:
        given: y.
        inputs: X.
        kind: what y is.
        classes: of a categorical y that was fitted; None takes those of y.
        told: whether the caller said what y is; if not, a y that wraps is warned of.

    Raises:
        ValueError: in one line: values of another kind, or another number of bins than X.
    """
    each = list(listed(given)) if inputs.many else [given]
    if len(each) != len(inputs.sessions):
        raise ValueError(
            f"y: expected one array for each of the {len(inputs.sessions)} of X, got {len(each)}"
        )
    if any(one is None for one in each):
        raise ValueError("y: expected a value for each bin, got None; give NaN where unknown")
    inputs.check_times(each)
    arrays: list[NDArray[Any]] = []
    dtypes: set[np.dtype[Any]] = set()
    flat = False
    for one, like in zip(each, inputs.arrays, strict=True):
        values: Any = session_of(one).values
        dtypes.add(np.asarray(values).dtype)
        if kind.name == "categorical":
            values = _labels(values)
        else:
            settings: Any = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
            refuse_dates(values, "y")
            try:
                values = check_array(values, ensure_2d=False, input_name="y", **settings)
            except (TypeError, ValueError) as error:
                line = f"got: {first_line(error)}"
                if np.asarray(values).dtype.kind in "OSU":
                    line = "got texts or others; labels need target='categorical'"
                raise ValueError(f"y: expected numbers, NaN where unknown, {line}") from None
        flat = values.ndim == 1
        if values.ndim > 2 or len(values) != len(like):
            raise ValueError(
                f"y: expected a row for each of the {len(like)} bins of X, got shape {values.shape}"
            )
        arrays.append(values.reshape(len(like), -1))
    widths = {one.shape[1] for one in arrays}
    if len(widths) > 1:
        raise ValueError(f"y: expected the same columns in all, got {sorted(widths)}")
    if kind.name != "continuous" and widths != {1}:
        raise ValueError(f"y: expected one column of a {kind.name} target, got {max(widths)}")
    if kind.name == "categorical":
        found = _categorical(arrays, flat, kind, classes)
        (dtype, *others) = dtypes
        if found.classes is not None and not others and dtype.kind in "iuf":
            return found._replace(classes=found.classes.astype(dtype))
        return found
    if not told and widths == {1} and any(map(_looks_circular, arrays)):
        warn(
            "y: jumps over nearly its range again and again, as an angle does; set "
            "target='radians', 'degrees' or its period, or 'continuous' if it jumps"
        )
    return Targets([kind.encoded(one) for one in arrays], flat, kind, None)


def _looks_circular(values: NDArray[np.float64]) -> bool:
    """Whether values (T, 1) wrap, and neither jump all the time nor have a few levels."""
    known = values[np.isfinite(values[:, 0]), 0]
    if len(np.unique(known)) < _FEWEST_LEVELS:
        return False
    usual = float(np.median(np.abs(np.diff(known))))
    return usual < _SMALL * np.ptp(known) and wraps(known, np.arange(float(len(known))), np.inf)


def _text(label: Any) -> str:
    """Return a label as a text, the same for 1, 1.0 and True; "" for None."""
    if label is None:
        return ""
    return f"{float(label):.15g}" if isinstance(label, Real | np.bool_) else str(label)


def _labels(values: Any) -> NDArray[Any]:
    """Return labels as an array of objects, None where unknown."""
    if isinstance(values, np.ma.MaskedArray):
        unknown = np.ma.getmaskarray(values)
    elif hasattr(values, "isna"):  # of pandas
        unknown = np.asarray(values.isna())
    else:
        unknown = False
    found = np.asarray(values)
    if found.dtype.kind not in "biufUO":
        raise ValueError(f"y: expected labels (texts or numbers), got {found.dtype}")
    objects = found.astype(object)
    objects[unknown] = None
    for index, one in np.ndenumerate(objects):
        if one is None or one != one or one == "":
            objects[index] = None
    return objects


def _categorical(
    arrays: Sequence[NDArray[Any]], flat: bool, kind: TargetKind, classes: NDArray[Any] | None
) -> Targets:
    texts = [np.array([_text(one) for one in values[:, 0]]) for values in arrays]
    if classes is None:
        every = [one for values in arrays for one in values[:, 0].tolist() if one is not None]
        by_text = {_text(one): one for one in every}
        if len(by_text) < len(different := set(every)):
            raise ValueError(
                f"y: expected labels that differ as texts of 15 digits, got {len(different)} of "
                f"{len(by_text)} texts"
            )
        kind = replace(kind, categories=categories_of("y", *texts))
        labels = [by_text[text] for text in kind.categories]
        same = len({type(one) for one in labels}) == 1
        classes = np.array(labels, dtype=None if same else object)
    columns = []
    for one in texts:
        encoded = kind.encoded(one)
        # A label that the training had not is known, and never right.
        encoded[(one != "") & np.isnan(encoded[:, 0])] = 0.0
        columns.append(encoded)
    return Targets(columns, flat, kind, classes)
