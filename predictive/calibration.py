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
# Of each four sequences, or stretches of time, one is in the calibration set of the intervals: the
# one of this number. Five permutations, one after the other, at no period: trials in a repeating
# order, or laps, are among them in all their phases.
EVERY = 4
_CHOSEN = torch.tensor([2, 3, 1, 0, 0, 3, 1, 2, 0, 2, 3, 1, 1, 2, 0, 3, 2, 0, 3, 1])
_STRETCHES = 20
_FEWEST_SEQUENCES = 2 * EVERY
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
    linear = partial(fit_linear, together=target.together)
    fit = linear if kind == "linear" else partial(fit_mlp, seed=seed)
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
    """Return which training bins are calibrated on, about a fourth of them.

    Args:
        groups: the number of its sequence for each bin, (M,).
        num_sequences: N. Whole sequences are taken, of less than eight stretches of their time.

    Returns:
        True where a bin is calibrated on, (M,).
    """
    unit, number = groups, num_sequences
    if number < _FEWEST_SEQUENCES:
        unit, number = torch.arange(len(groups)) * _STRETCHES // max(1, len(groups)), _STRETCHES
    four = torch.arange(number) // EVERY
    return (torch.arange(number) % EVERY == _CHOSEN[four % len(_CHOSEN)])[unit]
