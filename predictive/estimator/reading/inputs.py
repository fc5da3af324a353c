"""The arguments X and y of an estimator, checked, as sequences of bins."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import _check_n_features  # pyright: ignore[reportPrivateUsage]

from predictive.data.sequences import Segment, Sequences, pad
from predictive.estimator.reading.names import (
    check_different,
    keep_names,
    kept_names,
    names_of_bin,
    order_of,
    said_of,
    some_of,
)
from predictive.estimator.reading.session import Session, check_same_times
from predictive.estimator.reading.sessions import session_of, sessions_of
from solo_ldm.config.arguments import shortened

# Share by which the bins of new data may be longer or shorter than those of the training.
_TOLERANCE = 0.1


class Given(NamedTuple):
    """X as sequences, and the way back.

    Args:
        sessions: as they were given.
        many: whether they were given as a list.
        arrays: their values, (T, F) each, float32, NaN where missing.
        stretches: session and bins of each sequence.
        step_seconds: duration of a bin; None where neither X nor the caller says it.
    """

    sessions: list[Session]
    many: bool
    arrays: list[NDArray[np.float32]]
    stretches: list[tuple[int, slice]]
    step_seconds: float | None

    def sequences(self, targets: Sequence[NDArray] | None = None) -> Sequences:
        """Return the sequences, with targets (T, k) of each session where they are known."""
        step, made = self.step_seconds or 1.0, []
        for number, bins in self.stretches:
            times = self.sessions[number].times
            start = bins.start * step if times is None else float(times[bins.start]) - step / 2
            inputs = torch.from_numpy(self.arrays[number][bins])
            named = {}
            if targets is not None:
                named["y"] = torch.tensor(targets[number][bins], dtype=torch.float32)
            made.append(Segment(inputs, named, start))
        return pad(made, step)

    def joined(self, rows: Sequence[NDArray]) -> list[NDArray]:
        """Return values of sequences as values of sessions."""
        parts: list[list[NDArray]] = [[] for _ in self.sessions]
        for (number, _), values in zip(self.stretches, rows, strict=True):
            parts[number].append(values)
        return [np.concatenate(values) for values in parts]

    def back(self, values: Sequence[Any], names: Sequence[str], first: Sequence[int] = ()) -> Any:
        """Return values (S, k) of each session as what the caller gave.

        Args:
            values: one array of each session.
            names: of their columns.
            first: bin of each session that the first row stands for, 0 if not given.
        """
        starts = first or [0] * len(values)
        found = [
            session.wrap(one, names, start)
            for session, one, start in zip(self.sessions, values, starts, strict=True)
        ]
        return found if self.many else found[0]

    def check_times(self, given: Sequence[Any]) -> None:
        """Refuse a y of each session that has times of its own, other ones than X."""
        for one, session in zip(given, self.sessions, strict=True):
            check_same_times(session_of(one), session)

    def plain(self, values: Sequence[Any]) -> Any:
        """Return one object of each session, as a list if a list was given."""
        return list(values) if self.many else values[0]


def read_inputs(
    estimator: BaseEstimator,
    given: Any,
    bin_seconds: float | None,
    *,
    reset: bool = False,
    fewest: int = 1,
    every: bool = True,
) -> Given:
    """Check X and return it as sequences.

    Args:
        estimator: which takes note of the features and their names, or compares them.
        given: X.
        bin_seconds: as the estimator knows it.
        reset: whether X decides on the features.
        fewest: bins that a session must have.
        every: whether features that the model knows by name must all be there, and no others.

    Raises:
        ValueError: in one line: what cannot be used.
    """
    sessions, many = sessions_of(given, bin_seconds)
    arrays, stretches, lines = [], [], []
    step_seconds = bin_seconds
    for number, session in enumerate(sessions):
        values, line = _checked(
            estimator,
            session,
            f"X[{number}]" if many else "X",
            reset=reset and number == 0,
            fewest=1 if many else fewest,
            every=every,
        )
        lines += [line, session.said]
        arrays.append(np.ascontiguousarray(values))
        bins, step = session.stretches(len(values))
        stretches += [(number, one) for one in bins]
        if step is not None:
            if step_seconds is not None and abs(step / step_seconds - 1.0) > _TOLERANCE:
                raise ValueError(
                    f"X: expected bins of {step_seconds:g} s, got {step:g} s; bin it as the "
                    "training data, or change bin_seconds before fit"
                )
            step_seconds = step_seconds or step
    for said in sorted({*lines} - {""}):
        warn(said)
    if hasattr(estimator, "feature_names_in_") and any(one.names is None for one in sessions):
        warn("X: has no names of features, unlike that of fit: columns are taken in its order")
    _warn_of_negative(estimator, arrays, reset)
    return Given(sessions, many, arrays, stretches, step_seconds)


def _checked(
    estimator: BaseEstimator, session: Session, where: str, *, reset: bool, fewest: int, every: bool
) -> tuple[NDArray[np.float32], str]:
    """Return the values of a session, float32, with its features in the order of fit, and a line.

    A feature that is absent is NaN.
    """
    names = session.names
    wanted = None if reset else kept_names(estimator)
    try:
        _check_shape(session.values, fewest)
        refuse_dates(session.values, where)
        check_different(names, where)
        order = order_of(names, wanted, where, every=every)
        settings: Any = {"dtype": np.float32, "ensure_all_finite": "allow-nan"}
        values: Any = check_array(
            session.values,
            estimator=estimator,
            input_name="X",
            ensure_min_samples=fewest,
            **settings,
        )
        if order is not None:
            values = np.where(np.array(order) < 0, np.float32(np.nan), values[:, order])
        _check_n_features(estimator, values, reset=reset)
    except (TypeError, ValueError) as error:
        line = (str(error).splitlines() or ["no numbers"])[0]
        if wanted is not None and "is expecting" in line:
            line = f"{line.rstrip('.')}: those of fit are {some_of(wanted)}"
        if not line.startswith(where):
            line = f"{where}{line[1:]}" if line.startswith("X") else f"{where}: {line}"
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(line) from error
    if reset:
        keep_names(estimator, names)
    return values, said_of(order, names, wanted)


def _check_shape(values: Any, fewest: int) -> None:
    try:
        shape = values.shape if hasattr(values, "shape") else np.asarray(values).shape
    except ValueError:
        raise ValueError(
            f"X: expected (T, F), bins and features, got {len(values)} rows of different lengths; "
            "spike times are counted in bins first, as those of a pynapple TsGroup are"
        ) from None
    if len(shape) == 1 and shape[0]:
        raise ValueError(
            f"X: expected (T, F), bins and features, got {shape}. Reshape your data: X[:, None] is "
            "one feature, X[None] one bin"
        )
    if len(shape) != 2:
        kind = "None" if values is None else f"a {type(values).__name__}"
        got = shape if len(shape) > 2 else "no bins" if shape else kind
        raise ValueError(f"X: expected (T, F), bins and features, got {got}")
    if len(shape) == 2 and shape[0] == 0 < shape[1] and fewest == 1:
        raise ValueError("X: expected at least 1 sample (bin), got 0; leave it out")


def refuse_dates(values: Any, where: str) -> None:
    """Refuse dates and durations, which NumPy takes for numbers of their unit."""
    table = hasattr(values, "columns")
    kinds = values.dtypes if table else [getattr(values, "dtype", None)]
    dates = [one for one in kinds if getattr(one, "kind", "") in ("m", "M")]
    if dates:
        raise ValueError(f"{where}: expected numbers, got dates or durations ({dates[0]})")


def _warn_of_negative(estimator: Any, arrays: Sequence[NDArray], reset: bool) -> None:
    """Warn of negative values of which square roots are taken."""
    method = None if reset else getattr(estimator, "method_", None)
    asked = getattr(estimator, "input_transform", None)
    if (asked if method is None else method.encoder.transform) != "sqrt":
        return
    if count := sum(int((one < 0).sum()) for one in arrays):
        total = sum(one.size for one in arrays)
        warn(
            f"X: {count} of {total} values are negative and cut off at 0, as the model takes "
            "square roots of counts (input_transform='sqrt')"
        )


def read_bin(estimator: BaseEstimator, given: Any) -> NDArray[np.float32]:
    """Return one bin, (F,), its features in the order of fit where it has names; masked is NaN.

    Raises:
        ValueError: in one line: names of other features, or no numbers.
    """
    names = names_of_bin(given)
    check_different(names, "x")
    order = order_of(names, kept_names(estimator), "x")
    try:
        values = np.array(session_of(given).values, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"x: expected (F,) numbers, got {shortened(given)}") from None
    return values if order is None else values[order]


def warn(line: str) -> None:
    """Warn the caller of an estimator, three calls up."""
    warnings.warn(line, UserWarning, stacklevel=4)
