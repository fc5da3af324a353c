"""The arguments X and y of an estimator, checked, as sequences of bins."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from predictive.data.sequences import Segment, Sequences, pad
from predictive.estimator.sessions import Session, sessions_of

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
) -> Given:
    """Check X and return it as sequences.

    Args:
        estimator: which takes note of the features and their names, or compares them.
        given: X.
        bin_seconds: as the estimator knows it.
        reset: whether X decides on the features.
        fewest: bins that a session must have.

    Raises:
        ValueError: in one line: what cannot be used.
    """
    sessions, many = sessions_of(given, bin_seconds)
    arrays, stretches = [], []
    step_seconds = bin_seconds
    for number, session in enumerate(sessions):
        values: Any = validate_data(
            estimator,
            session.values,
            reset=reset and number == 0,
            dtype=np.float32,
            ensure_all_finite="allow-nan",
            ensure_min_samples=fewest,
        )
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
    return Given(sessions, many, arrays, stretches, step_seconds)


def for_training(sequences: Sequences, window: int) -> Sequences:
    """Return what can be trained on: sequences of two bins and more.

    Raises:
        ValueError: in one line: no sequence has two bins, or none has as many as a window.
    """
    if (longest := int(sequences.lengths.max())) < window:
        raise ValueError(
            f"window: expected at most the {longest} bins of the longest sequence, got {window}"
        )
    enough = sequences.lengths >= 2
    if not bool(enough.any()):
        raise ValueError(
            f"X: expected sequences of at least 2 bins, got {len(sequences)} of 1 bin, which "
            "have nothing to predict"
        )
    if not bool(enough.all()):
        warn(f"X: {int((~enough).sum())} sequences of 1 bin have nothing to predict: left out")
        sequences = sequences.select(enough)
    return sequences


def check_missing(sequences: Sequences) -> None:
    """Warn of bins with some values missing, which count as missing whole.

    Raises:
        ValueError: in one line: there is no other bin.
    """
    finite = torch.isfinite(sequences.inputs)
    if not bool(finite.all(dim=2)[sequences.mask].any()):
        never = (~finite[sequences.mask].any(dim=0)).nonzero().flatten().tolist()
        which = f"; leave out the features {never[:10]}, which have no value" if never else ""
        raise ValueError(f"X: expected bins with all their values, got none{which}")
    partly = sequences.mask & finite.any(dim=2) & ~finite.all(dim=2)
    if bool(partly.any()):
        count, total = int(partly.sum()), int(sequences.lengths.sum())
        warn(f"X: {count} of {total} bins lack some values and count as missing bins")


def warn(line: str) -> None:
    """Warn the caller of an estimator, three calls up."""
    warnings.warn(line, UserWarning, stacklevel=4)
