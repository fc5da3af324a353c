"""What an estimator can be trained on, and what is said of data of which it learns little."""

from __future__ import annotations

import numpy as np
import torch

from predictive.data.sequences import Sequences
from predictive.estimator.reading.inputs import Given, warn
from predictive.estimator.reading.names import some_of

# Seconds of a bin from which its times are hardly in seconds.
_LONG = 10.0


def check_meant(inputs: Given, sequences: Sequences, bin_seconds: float | None) -> None:
    """Warn of data that are hardly meant, as rows that are features, or of which little is learned.

    Args:
        inputs: X.
        sequences: to train on.
        bin_seconds: as the caller said.

    Raises:
        ValueError: in one line: all features are constant.
    """
    names = inputs.sessions[0].names
    bins, features = sum(map(len, inputs.arrays)), inputs.arrays[0].shape[1]
    if bins < features:
        warn(
            f"X: {bins} bins of {features} features are few; rows are bins: transpose it if they "
            "are features"
        )
    times, step = inputs.sessions[0].times, inputs.step_seconds
    numbers = times is not None and times is inputs.sessions[0].stamps
    if numbers and bin_seconds is None and step is not None and step >= _LONG:
        warn(f"X: bins of {step:g} s; times are in seconds: divide milliseconds by 1000")
    for index, name in enumerate(names or ()):
        clock = str(name).lower() in ("t", "s") or str(name).lower().startswith("time")
        if clock and bool((np.diff(inputs.arrays[0][:, index]) > 0).all()):
            warn(f"X: the feature {name} increases as times do; make it the index if it is time")
    known = sequences.inputs[sequences.mask]
    low = torch.where(torch.isfinite(known), known, torch.inf).amin(dim=0)
    high = torch.where(torch.isfinite(known), known, -torch.inf).amax(dim=0)
    still = (low == high).nonzero().flatten().tolist()
    if len(still) == known.shape[1]:
        raise ValueError(f"X: expected features that vary, got {len(still)} constant ones")
    if still:
        which = some_of(still if names is None else [names[i] for i in still])
        warn(
            f"X: {len(still)} of {known.shape[1]} features are constant ({which}), of which "
            "nothing is learned; leave them out"
        )


def for_training(sequences: Sequences, window: int) -> Sequences:
    """Return what can be trained on: sequences of two bins and more.

    Raises:
        ValueError: in one line: no sequence has two bins, or none has as many as a window.
    """
    enough = sequences.lengths >= 2
    if not bool(enough.any()):
        raise ValueError(
            f"X: expected sequences of at least 2 bins, got {len(sequences)} of 1 bin, which "
            "have nothing to predict"
        )
    if (longest := int(sequences.lengths.max())) < window:
        raise ValueError(
            f"window: expected at most the {longest} bins of the longest sequence, got {window}"
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
        which = ", as each lacks some"
        if len(never) == finite.shape[2]:
            which = ", as all values are missing"
        elif never:
            first = ", ".join(map(str, never[:10])) + (", …" if never[10:] else "")
            which = f"; leave out the {len(never)} features that have no value: {first}"
        raise ValueError(f"X: expected bins with all their values, got none{which}")
    partly = sequences.mask & finite.any(dim=2) & ~finite.all(dim=2)
    if bool(partly.any()):
        count, total = int(partly.sum()), int(sequences.lengths.sum())
        warn(f"X: {count} of {total} bins lack some values and count as missing bins")
