"""The intervals of decoded targets, calibrated on a part of the training bins."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from predictive.data.targets import TargetKind
from predictive.decoding.bins import FEWEST_BINS
from predictive.decoding.fit import Decoder, fit_linear, fit_mlp
from predictive.decoding.intervals import ResidualModel, fewest_calibration_bins, fit_residual
from predictive.filtered import Filtered

LEVEL = 0.95  # of the intervals
# Every fourth of twenty stretches of training time is the calibration set of the intervals.
_STRETCHES, EVERY = 20, 4
NUMBERS = TargetKind()


def fit_interval(
    train: Filtered,
    targets: Tensor,
    kind: str,
    seed: int,
    target: TargetKind = NUMBERS,
) -> tuple[Decoder, ResidualModel] | None:
    """Fit a decoder to some of the training bins, and its residuals to the calibration set.

    Args:
        train: filtered training sequences.
        targets: of their bins, rows (M, k).
        kind: linear or mlp.
        seed: of a perceptron.
        target: what the target is.

    Returns:
        None where the calibration set is too small.
    """
    groups = train.groups()
    calibration = calibration_bins(groups, len(train.sequences))
    states = train.rows(train.states)
    known = torch.isfinite(targets).all(dim=1)
    fewest = fewest_calibration_bins(LEVEL)
    if int(known[calibration].sum()) < fewest or int(known[~calibration].sum()) < FEWEST_BINS:
        return None
    fit = fit_linear if kind == "linear" else partial(fit_mlp, seed=seed)
    kept = ~calibration
    fitted = fit(states[kept], targets[kept], groups=groups[kept])
    factor = None if train.state_factor is None else train.rows(train.state_factor)
    residual = fit_residual(
        fitted,
        states[calibration],
        None if factor is None else factor[calibration],
        targets[calibration],
        target=target,
    )
    return fitted, residual


def calibration_bins(groups: Tensor, num_sequences: int) -> Tensor:
    """Return which training bins, given by the number of their sequence, are calibrated on."""
    stretch = groups * _STRETCHES // max(1, num_sequences)
    calibration = stretch % EVERY == EVERY - 1
    if bool(calibration.any()):
        return calibration
    # With few sequences, time is divided within them.
    stretch = torch.arange(len(groups)) * _STRETCHES // len(groups)
    return stretch % EVERY == EVERY - 1
