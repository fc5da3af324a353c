"""Decoding of targets from features of time bins, beside a null; for arrays see `bins`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from predictive.data.targets import TargetKind
from predictive.decoding.bins import known_bins, sums_of_squares, wide
from predictive.decoding.fit import Decoder, fit_mlp, fit_ridges
from solo_ldm.config.arguments import Count, checked

Kind = Literal["linear", "mlp"]

# Shifts of the null: 19 is the fewest whose largest is exceeded by chance in 5 % of cases; a
# perceptron takes seconds a fit, so it gets 3, whose largest is exceeded in 25 %.
_NUMBERS = TargetKind()
NUM_SHIFTS: Mapping[Kind, int] = {"linear": 20, "mlp": 3}


@dataclass(frozen=True)
class CategoryScore:
    """How often a decoded category is right, beside what knowing nothing gives.

    The probabilities of categories are the decoded columns, clipped to 10⁻³ … 1 and scaled to a sum
    of 1. Knowing nothing is the frequency of each category in the scored bins.

    Args:
        accuracy: share of bins in which the largest column is the right one.
        chance_accuracy: share of the most frequent category.
        log_loss: mean −log p of the right one, nats.
        chance_log_loss: the same for the frequencies, their entropy.
    """

    accuracy: float
    chance_accuracy: float
    log_loss: float
    chance_log_loss: float


@dataclass(frozen=True, eq=False)
class DecodingScore:
    """How well a decoder does on bins that it was not fitted on; see `score`.

    Args:
        features: name of the features.
        kind: "linear" or "mlp".
        r2: coefficient of determination, pooled over target dimensions.
        r2_per_dim: of each target dimension, (k,).
        median_absolute_error: median distance of decoded from true target, in its unit; along the
            circle for circular targets, of the columns for categorical ones.
        null_mean: mean R² of decoders fitted to shifted targets.
        null_high: what their R² stays below in 95 % of cases, see `score`.
        num_train: bins fitted on, added up over pooled folds.
        num_test: bins scored on.
        predictions: for all test bins, also those without a known target, (M, k).
        targets: of all test bins, NaN where not known, (M, k).
        null_squares: summed squared errors of the decoder of each shift, (num_shifts, k).
        decoder: the fitted decoder; None for pooled folds.
        r2_per_fold: of each pooled fold alone; empty for one score.
        target: what the target is; R² is that of its columns.
        category: of a categorical target.
    """

    features: str
    kind: Kind
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
    decoder: Decoder | None = None
    r2_per_fold: tuple[float, ...] = ()
    target: TargetKind = _NUMBERS
    category: CategoryScore | None = None

    @property
    def spread(self) -> float:
        """Standard deviation of R² over the folds, NaN for fewer than two."""
        return statistics.stdev(self.r2_per_fold) if len(self.r2_per_fold) > 1 else math.nan


@checked
def score(
    kind: Kind,
    train_features: Tensor,
    train_targets: Tensor,
    test_features: Tensor,
    test_targets: Tensor,
    groups: Tensor | None = None,
    num_shifts: Count | None = None,
    seed: int = 0,
    name: str = "",
    target: TargetKind = _NUMBERS,
) -> DecodingScore:
    """Fit a decoder and score it on test bins, beside a null distribution of that score.

    Autocorrelated features and targets can agree over a stretch of time without any relation. The
    null is therefore the same pipeline, choice of penalty or early stopping included, fitted to
    training targets that are shifted circularly in time against the features by a random number of
    bins (between one and nine tenths of them), and scored on the unshifted test targets.
    `null_high` is the ⌈0.95 (S + 1)⌉-th smallest R² of S shifts, at most the largest: without a
    relation R² exceeds it in about 5 % of cases if S ≥ 19, in about 1 / (S + 1) with fewer. That
    holds for series much longer than their correlation time: in simulations 5 % exceeded it at 100
    times that length, 10 % at ten times.

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
        target: what the target is; targets are its columns.

    Raises:
        ValueError: an unknown kind, fewer than one shift; as `fit_linear` and `sums_of_squares`.
    """
    num_shifts = NUM_SHIFTS[kind] if num_shifts is None else num_shifts
    x, y, groups = known_bins(train_features, train_targets, groups)
    generator = torch.Generator().manual_seed(seed)
    least = math.ceil(len(y) / 10)
    choices = torch.arange(least, len(y) - least + 1)
    order = torch.randperm(len(choices), generator=generator)
    # Without repeats while there are enough bins.
    shifts = choices[order[torch.arange(num_shifts) % len(choices)]].tolist()
    versions = [y, *(y.roll(shift, dims=0) for shift in shifts)]
    decoders: Sequence[Decoder]
    if kind == "linear":
        decoders = fit_ridges(x, torch.stack(versions, dim=1), None, groups, target.together)
    else:
        decoders = [fit_mlp(x, version, seed=seed, groups=groups) for version in versions]
    predictions, *shifted = (decoder.predict(test_features) for decoder in decoders)
    targets = wide(test_targets)
    null_squares = torch.stack([sums_of_squares(targets, one)[0] for one in shifted])
    return DecodingScore(
        features=name,
        kind=kind,
        num_train=len(y),
        decoder=decoders[0],
        **_measured(targets, predictions, null_squares, target),
    )


def decode(
    features: Mapping[str, tuple[Tensor, Tensor]],
    targets: tuple[Tensor, Tensor],
    kinds: Sequence[Kind] = ("linear", "mlp"),
    groups: Tensor | None = None,
    num_shifts: int | None = None,
    seed: int = 0,
    target: TargetKind = _NUMBERS,
) -> list[DecodingScore]:
    """Score every decoder on every set of features, for one target; see `score`.

    Args:
        features: training and test features, (M, F) and (M', F), by name, such as "latent".
        targets: training and test targets, (M, k) and (M', k).
        kinds: of decoders.
        groups: as in `fit_linear`.
        num_shifts: as in `score`.
        seed: as in `score`; the shifts are the same for all features.
        target: as in `score`.

    Returns:
        A score for each set of features and kind, in that order.

    Raises:
        ValueError: as `score`, with the name of the features.
    """
    scores = []
    known = (groups, num_shifts, seed)
    for name, (train, test) in features.items():
        for kind in kinds:
            try:
                scores.append(
                    score(kind, train, targets[0], test, targets[1], *known, name, target)
                )
            except ValueError as error:
                raise ValueError(f"decoding from {name!r}: {error}") from error
    return scores


def combine_folds(folds: Sequence[Sequence[DecodingScore]]) -> list[DecodingScore]:
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
            "folds: expected the same features and decoders in each of at least one, got "
            f"{len(folds)} with {sorted(names)}"
        )
    return [
        DecodingScore(
            features=parts[0].features,
            kind=parts[0].kind,
            num_train=sum(part.num_train for part in parts),
            r2_per_fold=tuple(part.r2 for part in parts),
            **_measured(
                torch.cat([part.targets for part in parts]),
                torch.cat([part.predictions for part in parts]),
                _summed([part.null_squares for part in parts]),
                parts[0].target,
            ),
        )
        for parts in zip(*folds, strict=True)
    ]


def _measured(
    targets: Tensor, predictions: Tensor, null_squares: Tensor, target: TargetKind
) -> dict[str, Any]:
    """Return what a score says of predictions (M, k), as its arguments."""
    squares, total = sums_of_squares(targets, predictions)
    null = (1.0 - null_squares.sum(dim=1) / total.sum()).sort().values
    # All S + 1 ranks of a new value among S exchangeable ones are equally probable.
    rank = min(len(null), math.ceil(0.95 * (len(null) + 1)))
    known = targets.isfinite().all(dim=1)
    return {
        "r2": float(1.0 - squares.sum() / total.sum()),
        "r2_per_dim": 1.0 - squares / total,
        "median_absolute_error": float(
            target.distance(targets[known], predictions[known]).median()
        ),
        "null_mean": float(null.mean()),
        "null_high": float(null[rank - 1]),
        "num_test": int(known.sum()),
        "predictions": predictions,
        "targets": targets,
        "null_squares": null_squares,
        "target": target,
        "category": _categories(targets[known], predictions[known])
        if target.name == "categorical"
        else None,
    }


def probabilities(decoded: Tensor) -> Tensor:
    """Return the probabilities (M, c) of categories of decoded columns; see `CategoryScore`."""
    clipped = decoded.clamp(1e-3, 1.0)
    return clipped / clipped.sum(dim=1, keepdim=True)


def _categories(true: Tensor, decoded: Tensor) -> CategoryScore:
    right = true.argmax(dim=1)
    probability = probabilities(decoded).gather(1, right[:, None])
    frequency = true.mean(dim=0)
    return CategoryScore(
        accuracy=float((decoded.argmax(dim=1) == right).double().mean()),
        chance_accuracy=float(frequency.max()),
        log_loss=float(-probability.log().mean()),
        chance_log_loss=float(-torch.xlogy(frequency, frequency).sum()),
    )


def _summed(squares: list[Tensor]) -> Tensor:
    """Add up the errors of folds, shift by shift."""
    num_shifts = min(len(each) for each in squares)
    return torch.stack([each[:num_shifts] for each in squares]).sum(dim=0)
