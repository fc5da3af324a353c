"""Decoding of targets from features of time bins, beside what chance would decode.

Features are (M, F) and targets (M, k) over M time bins in the order of time; a bin whose target is
not known (NaN in any dimension) is left out. Everything is returned in float64 on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from predictive.decoding.bins import known_bins, sums_of_squares, wide
from predictive.decoding.fit import Decoder, LinearDecoder, MLPDecoder, fit_mlp, fit_ridges

Kind = Literal["linear", "mlp"]

# Shifts of the null: 19 is the fewest whose largest is passed by chance in 5 % of cases; a
# perceptron takes seconds a fit, so it gets 3, and chance passes their largest in 25 %.
NUM_SHIFTS: Mapping[Kind, int] = {"linear": 20, "mlp": 3}


@dataclass(frozen=True, eq=False)
class DecodingScore:
    """How well a decoder does on bins that it was not fitted on; see `score`.

    Args:
        features: name of the features.
        kind: "linear" or "mlp".
        decoder: the fitted decoder.
        r2: coefficient of determination, pooled over target dimensions.
        r2_per_dim: the same for each dimension, (k,).
        median_absolute_error: median distance of decoded from true target, in its unit.
        null_mean: mean R² of decoders fitted to shifted targets.
        null_high: what their R² stays below in 95 % of cases, see `score`.
        num_train: bins fitted on.
        num_test: bins scored on.
        predictions: for all test bins, also those without a known target, (M, k).
        targets: of all test bins, NaN where not known, (M, k).
        null_squares: summed squared errors of the decoder of each shift, (num_shifts, k).
    """

    features: str
    kind: Kind
    decoder: Decoder
    r2: float
    r2_per_dim: Tensor
    median_absolute_error: float
    null_mean: float
    null_high: float
    num_train: int
    num_test: int
    predictions: Tensor
    targets: Tensor
    null_squares: Tensor


@dataclass(frozen=True, eq=False)
class CombinedScore:
    """Scores of several folds as one; R² is that of the pooled predictions.

    Args:
        features: name of the features.
        kind: "linear" or "mlp".
        r2: over the bins of all folds.
        r2_per_dim: (k,).
        r2_per_fold: of each fold by itself.
        spread: standard deviation of R² over the folds, NaN for one.
        median_absolute_error: over the bins of all folds.
        null_mean: mean R² of the shifts, pooled over folds as the predictions are.
        null_high: what it stays below in 95 % of cases.
        num_test: bins scored on.
    """

    features: str
    kind: Kind
    r2: float
    r2_per_dim: Tensor
    r2_per_fold: tuple[float, ...]
    spread: float
    median_absolute_error: float
    null_mean: float
    null_high: float
    num_test: int


def score(
    kind: Kind,
    train_features: Tensor,
    train_targets: Tensor,
    test_features: Tensor,
    test_targets: Tensor,
    groups: Tensor | None = None,
    num_shifts: int | None = None,
    seed: int = 0,
    name: str = "",
) -> DecodingScore:
    """Fit a decoder, score it on test bins, and tell what chance would score there.

    Autocorrelated features and targets that have nothing to do with each other can still agree
    over a stretch of time. Chance is therefore the same pipeline, choice of penalty or early
    stopping included, fitted to training targets that are shifted circularly in time against the
    features by a random number of bins (between one and nine tenths of them), and scored on the
    test targets as they are. `null_high` is the ⌈0.95 (S + 1)⌉-th smallest R² of S shifts, at most
    the largest: without a relation R² exceeds it in about 5 % of cases if S ≥ 19, in about
    1 / (S + 1) with fewer. That holds for stretches that are long beside the time over which the
    series are correlated: of simulated ones that were 100 times as long, 5 % exceeded it; of ones
    only ten times as long, 10 %.

    Args:
        kind: "linear" or "mlp".
        train_features: (M, F), in the order of time.
        train_targets: (M, k); bins with NaN are left out before the shift.
        test_features: (M', F).
        test_targets: (M', k); bins with NaN are not scored.
        groups: sequence of each training bin, as in `fit_linear`.
        num_shifts: S; None takes 20 for "linear", 3 for "mlp".
        seed: of the shifts and of the perceptron.
        name: of the features, kept with the score.

    Raises:
        ValueError: an unknown kind, fewer than one shift, and as `fit_linear` and `r2`.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"decoder must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    num_shifts = NUM_SHIFTS[kind] if num_shifts is None else num_shifts
    if num_shifts < 1:
        raise ValueError(f"num_shifts must be at least 1, got {num_shifts}")
    x, y, groups = known_bins(train_features, train_targets, groups)
    generator = torch.Generator().manual_seed(seed)
    least = math.ceil(len(y) / 10)
    choices = torch.arange(least, len(y) - least + 1)
    order = torch.randperm(len(choices), generator=generator)
    # Without repeats while there are enough bins.
    shifts = choices[order[torch.arange(num_shifts) % len(choices)]].tolist()
    versions = [y, *(y.roll(shift, dims=0) for shift in shifts)]
    if kind == "linear":
        decoders: list[LinearDecoder] | list[MLPDecoder] = fit_ridges(
            x, torch.stack(versions, dim=1), None, groups
        )
    else:
        decoders = [fit_mlp(x, version, seed=seed, groups=groups) for version in versions]
    predictions = decoders[0].predict(test_features)
    targets = wide(test_targets)
    squares, total = sums_of_squares(targets, predictions)
    null_squares = torch.stack(
        [sums_of_squares(targets, decoder.predict(test_features))[0] for decoder in decoders[1:]]
    )
    null_mean, null_high = _null(null_squares, total)
    return DecodingScore(
        features=name,
        kind=kind,
        decoder=decoders[0],
        r2=float(1.0 - squares.sum() / total.sum()),
        r2_per_dim=1.0 - squares / total,
        median_absolute_error=_median_error(targets, predictions),
        null_mean=null_mean,
        null_high=null_high,
        num_train=len(y),
        num_test=int((~targets.isnan().any(dim=1)).sum()),
        predictions=predictions,
        targets=targets,
        null_squares=null_squares,
    )


def decode(
    features: Mapping[str, tuple[Tensor, Tensor]],
    targets: tuple[Tensor, Tensor],
    kinds: Sequence[Kind] = ("linear", "mlp"),
    groups: Tensor | None = None,
    num_shifts: int | None = None,
    seed: int = 0,
) -> list[DecodingScore]:
    """Score every decoder on every set of features, for one target; see `score`.

    Args:
        features: training and test features, (M, F) and (M', F), by name, such as "latent".
        targets: training and test targets, (M, k) and (M', k).
        kinds: of decoders.
        groups: as in `fit_linear`.
        num_shifts: as in `score`.
        seed: as in `score`; the shifts are the same for all features.

    Returns:
        A score for each set of features and kind, in that order.

    Raises:
        ValueError: as `score`; the name of the features is said.
    """
    scores = []
    for name, (train, test) in features.items():
        for kind in kinds:
            try:
                scores.append(
                    score(kind, train, targets[0], test, targets[1], groups, num_shifts, seed, name)
                )
            except ValueError as error:
                raise ValueError(f"decoding from {name!r}: {error}") from error
    return scores


def combine_folds(folds: Sequence[Sequence[DecodingScore]]) -> list[CombinedScore]:
    """Pool the predictions of folds that hold out different bins.

    R² is taken over all predictions at once, about the mean of all targets: the mean of the folds'
    own values depends on how much the target happens to vary within each.

    Args:
        folds: what `decode` returned for each fold, with the same features and decoders in each.

    Raises:
        ValueError: no folds, or folds with different features or decoders.
    """
    names = {tuple((s.features, s.kind) for s in fold) for fold in folds}
    if len(names) != 1:
        raise ValueError(
            f"folds must have the same features and decoders, got {len(folds)} folds with "
            f"{sorted(names)}"
        )
    combined = []
    for parts in zip(*folds, strict=True):
        targets = torch.cat([part.targets for part in parts])
        predictions = torch.cat([part.predictions for part in parts])
        squares, total = sums_of_squares(targets, predictions)
        num_shifts = min(len(part.null_squares) for part in parts)
        null = torch.stack([part.null_squares[:num_shifts] for part in parts]).sum(dim=0)
        null_mean, null_high = _null(null, total)
        values = torch.tensor([part.r2 for part in parts], dtype=torch.float64)
        combined.append(
            CombinedScore(
                features=parts[0].features,
                kind=parts[0].kind,
                r2=float(1.0 - squares.sum() / total.sum()),
                r2_per_dim=1.0 - squares / total,
                r2_per_fold=tuple(values.tolist()),
                spread=float(values.std()) if len(values) > 1 else math.nan,
                median_absolute_error=_median_error(targets, predictions),
                null_mean=null_mean,
                null_high=null_high,
                num_test=sum(part.num_test for part in parts),
            )
        )
    return combined


def _null(squares: Tensor, total: Tensor) -> tuple[float, float]:
    """Return the mean and the 95 % bound of the R² of shifts with these squared errors (S, k)."""
    values = (1.0 - squares.sum(dim=1) / total.sum()).sort().values
    # Among S values and a new one alike, each rank is as probable: hence S + 1.
    rank = min(len(values), math.ceil(0.95 * (len(values) + 1)))
    return float(values.mean()), float(values[rank - 1])


def _median_error(targets: Tensor, predictions: Tensor) -> float:
    known = ~targets.isnan().any(dim=1)
    return float((targets - predictions)[known].norm(dim=1).median())
