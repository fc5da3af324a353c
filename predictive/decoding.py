"""Decoding of targets from features of time bins, beside what chance would decode.

Features are (M, F) and targets (M, k) over M time bins in the order of time; a bin whose target is
not known (NaN in any dimension) is left out. Everything is returned in float64 on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["linear", "mlp"]

# Shifts of the null: 19 is the fewest whose largest is passed by chance in 5 % of cases; a
# perceptron takes seconds a fit, so it gets 3, and chance passes their largest in 25 %.
NUM_SHIFTS: Mapping[Kind, int] = {"linear": 20, "mlp": 3}
# Penalties tried, in units of the variance of a standardised feature.
_PENALTIES = torch.logspace(-6, 2, 17, dtype=torch.float64)
_NUM_CHUNKS = 5
_FEWEST_BINS = 20
# Standard deviations of a feature that a decoder sees at most.
_LARGEST = 10.0
# A weight below the rounding error of float64 ends a sum over the past.
_NEGLIGIBLE = 1e-17


@dataclass(frozen=True, eq=False)
class LinearDecoder:
    """An affine map: ŷ = ((x − mean) / scale) W + offset.

    Standardised features are limited to ±10: a unit that was all but silent in the bins fitted on
    would otherwise, with its first spike, outweigh everything.

    Args:
        mean: mean of the features, (F,).
        scale: standard deviation of the features, at least a thousandth of the largest, (F,).
        weight: W, (F, k).
        offset: (k,).
        penalty: λ of the ridge, see `fit_linear`.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    offset: Tensor
    penalty: float

    def predict(self, features: Tensor) -> Tensor:
        """Decode features (…, M, F) into targets (…, M, k), float64."""
        inputs = ((_wide(features) - self.mean) / self.scale).clamp(-_LARGEST, _LARGEST)
        return inputs @ self.weight + self.offset


@dataclass(frozen=True, eq=False)
class MLPDecoder:
    """A perceptron with rectified hidden layers on standardised features and targets.

    It does not extrapolate: standardised features are limited to the range they had in the bins
    fitted on, and to ±10: a unit silent there would otherwise arrive, with its first spike, at
    weights that were never fitted.

    Args:
        mean: mean of the features, (F,).
        scale: standard deviation of the features, at least a thousandth of the largest, (F,).
        low: lower limit of standardised features, (F,).
        high: upper limit, (F,).
        layers: weight (out, in) and bias (out,) of each layer, float32.
        target_mean: (k,).
        target_scale: (k,).
        num_epochs: passes over the data behind the weights that were kept.
    """

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]
    target_mean: Tensor
    target_scale: Tensor
    num_epochs: int

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Decode features (…, M, F) into targets (…, M, k), float64."""
        inputs = ((_wide(features) - self.mean) / self.scale).clamp(self.low, self.high)
        return _forward(inputs.float(), self.layers).double() * self.target_scale + self.target_mean


Decoder = LinearDecoder | MLPDecoder


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


def fit_linear(
    features: Tensor,
    targets: Tensor,
    penalty: float | None = None,
    groups: Tensor | None = None,
) -> LinearDecoder:
    """Fit a ridge regression on standardised features; the offset is not penalised.

    W = argmin (1/M) Σ_t ‖y_t − x_t W − offset‖² + λ ‖W‖²,

    which is scikit-learn's `Ridge(alpha=λ M)` while no feature is beyond ±10 standard deviations,
    where features are cut. With Cov(x) = U diag(e) Uᵀ it is
    W = U diag(1 / (e + λ)) Uᵀ Cov(x, y), so that one eigendecomposition serves all λ and all
    shifts of a null.

    Args:
        features: x, (M, F), finite.
        targets: y, (M, k); bins with NaN are left out.
        penalty: λ ≥ 0; None takes the one of 10⁻⁶, 10⁻⁵·⁵ … 10² with the least squared error when
            each of five contiguous chunks of the bins is predicted from the other four.
        groups: number of the sequence each bin belongs to, (M,); given, the borders of chunks are
            those of sequences where that leaves at least two chunks.

    Raises:
        ValueError: fewer than 20 bins with a target, shapes that do not fit, NaN in features, a
            negative penalty.

    Source:
        Hoerl & Kennard (1970); Hastie, Tibshirani & Friedman, "The Elements of Statistical
        Learning" (2009), section 3.4.1.
    """
    x, y, groups = _known(features, targets, groups)
    return _ridges(x, y[:, None], penalty, groups)[0]


def _ridges(
    features: Tensor, targets: Tensor, penalty: float | None, groups: Tensor | None
) -> list[LinearDecoder]:
    """Fit the same features (M, F) to S versions of the targets (M, S, k)."""
    if penalty is not None and not penalty >= 0.0:
        raise ValueError(f"penalty must be at least 0 or None, got {penalty}")
    num_bins, num_sets, num_dims = targets.shape
    mean, scale = _standards(features)
    x = ((features - mean) / scale).clamp(-_LARGEST, _LARGEST)
    target_mean = targets.mean(dim=0).flatten()
    y = targets.flatten(1) - target_mean
    # Sums over chunks of products with (1, x) are all that any of the fits needs.
    x = torch.cat([torch.ones_like(x[:, :1]), x], dim=1)
    parts = [slice(*edges) for edges in pairwise(_chunk_edges(num_bins, _NUM_CHUNKS, groups))]
    grams = torch.stack([x[part].mT @ x[part] for part in parts])
    products = torch.stack([x[part].mT @ y[part] for part in parts])

    if penalty is None:
        errors = torch.zeros(len(_PENALTIES), num_sets, dtype=torch.float64)
        for part, gram, product in zip(parts, grams, products, strict=True):
            path = _RidgePath(grams.sum(dim=0) - gram, products.sum(dim=0) - product)
            for row, value in zip(errors, _PENALTIES, strict=True):
                weight, offset = path.solve(value)
                error = (y[part] - x[part, 1:] @ weight - offset).square().sum(dim=0)
                row += error.reshape(num_sets, num_dims).sum(dim=1)
        chosen = _PENALTIES[errors.argmin(dim=0)]
    else:
        chosen = torch.full((num_sets,), float(penalty), dtype=torch.float64)

    path = _RidgePath(grams.sum(dim=0), products.sum(dim=0))
    weight, offset = path.solve(chosen.repeat_interleave(num_dims))
    offset = offset + target_mean
    return [
        LinearDecoder(mean, scale, weight[:, dims], offset[dims], float(value))
        for dims, value in zip(
            torch.arange(num_sets * num_dims).reshape(num_sets, num_dims), chosen, strict=True
        )
    ]


class _RidgePath:
    """Ridge regressions at any penalty, from sums of products with (1, x)."""

    def __init__(self, gram: Tensor, product: Tensor) -> None:
        num_bins = gram[0, 0]
        self.mean, self.target_mean = gram[0, 1:] / num_bins, product[0] / num_bins
        covariance = gram[1:, 1:] / num_bins - self.mean[:, None] * self.mean
        cross = product[1:] / num_bins - self.mean[:, None] * self.target_mean
        self.values, self.basis = torch.linalg.eigh(covariance)
        self.cross = self.basis.mT @ cross
        self.floor = self.values[-1].abs() * len(self.values) * torch.finfo(torch.float64).eps

    def solve(self, penalty: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight (F, K) and offset (K,) for one penalty, or one for each of K targets."""
        damped = self.values.clamp(min=0.0)[:, None] + penalty
        # Directions without variance get no weight, also without a penalty.
        weight = self.basis @ torch.where(damped > self.floor, self.cross / damped, 0.0)
        return weight, self.target_mean - self.mean @ weight


def fit_mlp(
    features: Tensor,
    targets: Tensor,
    hidden: Sequence[int] = (64, 64),
    seed: int = 0,
    *,
    groups: Tensor | None = None,
    learning_rate: float = 2e-3,
    weight_decay: float = 1.0,
    max_epochs: int = 100,
    patience: int = 10,
) -> MLPDecoder:
    """Fit a perceptron to the mean squared error of standardised targets with AdamW.

    About a tenth of the bins, contiguous and in the middle (recordings drift towards their ends),
    is not fitted on; the weights with the least error on it are kept. Batches are a sixteenth of
    the bins, from 64 to 1024 of them.

    Args:
        features: (M, F), finite.
        targets: (M, k); bins with NaN are left out.
        hidden: widths of the hidden layers.
        seed: of the initial weights and of the order of bins; the same seed and number of threads
            give the same decoder.
        groups: as in `fit_linear`.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        max_epochs: most passes over the bins.
        patience: passes without a smaller error before the end.

    Raises:
        ValueError: as `fit_linear`; settings out of their range.

    Source:
        AdamW: Loshchilov & Hutter, arXiv 1711.05101; initial weights: He et al., arXiv 1502.01852.
    """
    if min((*hidden, max_epochs, patience)) < 1:
        raise ValueError(
            f"hidden, max_epochs and patience must be at least 1, got {tuple(hidden)}, "
            f"{max_epochs} and {patience}"
        )
    features, targets, groups = _known(features, targets, groups)
    mean, scale = _standards(features)
    target_scale, target_mean = torch.std_mean(targets, dim=0, correction=0)
    target_scale = torch.where(target_scale > 0.0, target_scale, 1.0)
    x = (features - mean) / scale
    low, high = (ends.clamp(-_LARGEST, _LARGEST) for ends in (x.amin(dim=0), x.amax(dim=0)))
    x = x.clamp(low, high).float()
    y = ((targets - target_mean) / target_scale).float()
    edges = _chunk_edges(len(x), 10, groups)
    first, end = edges[len(edges) // 2 - 1], edges[len(edges) // 2]
    check_x, check_y = x[first:end], y[first:end]
    x, y = torch.cat([x[:first], x[end:]]), torch.cat([y[:first], y[end:]])

    generator = torch.Generator().manual_seed(seed)
    layers = []
    for fan_in, fan_out in pairwise((x.shape[1], *hidden, y.shape[1])):
        weight = torch.randn(fan_out, fan_in, generator=generator) * math.sqrt(2.0 / fan_in)
        layers.append((weight.requires_grad_(), torch.zeros(fan_out, requires_grad=True)))
    parameters = [parameter for layer in layers for parameter in layer]
    optimizer = torch.optim.AdamW(
        parameters, lr=learning_rate, weight_decay=weight_decay, fused=True
    )
    batch_size = min(1024, max(64, len(x) // 16))
    best, best_epoch, kept = math.inf, 0, [p.detach().clone() for p in parameters]
    for epoch in range(1, max_epochs + 1):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            optimizer.zero_grad()
            F.mse_loss(_forward(x[batch], layers), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            error = float(F.mse_loss(_forward(check_x, layers), check_y))
        if error < best:
            best, best_epoch, kept = error, epoch, [p.detach().clone() for p in parameters]
        elif epoch - best_epoch >= patience:
            break
    pairs = tuple(zip(kept[::2], kept[1::2], strict=True))
    return MLPDecoder(mean, scale, low, high, pairs, target_mean, target_scale, best_epoch)


def _forward(x: Tensor, layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    for weight, bias in layers[:-1]:
        x = F.relu(F.linear(x, weight, bias))
    return F.linear(x, *layers[-1])


def r2(targets: Tensor, predictions: Tensor) -> float:
    """Return the coefficient of determination, pooled over target dimensions.

    R² = 1 − Σ_t,d (y_td − ŷ_td)² / Σ_t,d (y_td − ȳ_d)², scikit-learn's "variance_weighted".

    Args:
        targets: y, (M, k); bins with NaN are left out.
        predictions: ŷ, (M, k).

    Returns:
        At most 1; below 0 for predictions worse than the mean; NaN for constant targets.

    Raises:
        ValueError: shapes that differ, no bin with a known target.
    """
    squares, total = _squares(targets, predictions)
    return float(1.0 - squares.sum() / total.sum())


def r2_per_dim(targets: Tensor, predictions: Tensor) -> Tensor:
    """Return the R² of each target dimension, (k,); see `r2`."""
    squares, total = _squares(targets, predictions)
    return 1.0 - squares / total


def _squares(targets: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed squares of errors and of targets about their mean, (k,) each."""
    y, prediction = _wide(targets), _wide(predictions)
    if y.shape != prediction.shape or y.ndim != 2:
        raise ValueError(
            f"targets and predictions must have the same shape (bins, dimensions), got "
            f"{tuple(y.shape)} and {tuple(prediction.shape)}"
        )
    known = ~y.isnan().any(dim=1)
    if not known.any():
        raise ValueError(f"no bin with a known target among {len(y)}: give bins to score on")
    y, prediction = y[known], prediction[known]
    return (y - prediction).square().sum(dim=0), (y - y.mean(dim=0)).square().sum(dim=0)


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
    1 / (S + 1) with fewer.

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
    x, y, groups = _known(train_features, train_targets, groups)
    generator = torch.Generator().manual_seed(seed)
    least = math.ceil(len(y) / 10)
    choices = torch.arange(least, len(y) - least + 1)
    order = torch.randperm(len(choices), generator=generator)
    # Without repeats while there are enough bins.
    shifts = choices[order[torch.arange(num_shifts) % len(choices)]].tolist()
    versions = [y, *(y.roll(shift, dims=0) for shift in shifts)]
    if kind == "linear":
        decoders: list[LinearDecoder] | list[MLPDecoder] = _ridges(
            x, torch.stack(versions, dim=1), None, groups
        )
    else:
        decoders = [fit_mlp(x, version, seed=seed, groups=groups) for version in versions]
    predictions = decoders[0].predict(test_features)
    targets = _wide(test_targets)
    squares, total = _squares(targets, predictions)
    null_squares = torch.stack(
        [_squares(targets, decoder.predict(test_features))[0] for decoder in decoders[1:]]
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
        squares, total = _squares(targets, predictions)
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


def smooth_causally(
    counts: Tensor, mask: Tensor, step_seconds: float, time_constant_seconds: float
) -> Tensor:
    """Smooth each sequence with an exponential that only looks back.

    y_t = Σ_{s≤t} a^{t−s} x_s / Σ_{s≤t} a^{t−s},  a = exp(−step / time constant),

    sums over the bins of the sequence that the mask keeps; the denominator makes the start, where
    there is little past, a mean as well. Sums over 1, 2, 4 … bins are built from one another, so
    that there is no loop over bins and the future never enters, not even by rounding.

    Args:
        counts: x, (N, T, F).
        mask: true where there is a bin, (N, T).
        step_seconds: duration of a bin.
        time_constant_seconds: time after which a bin's weight is down to 1/e.

    Returns:
        (N, T, F), float64, zero where the mask is false.

    Raises:
        ValueError: shapes that do not fit; a duration that is not positive.
    """
    if counts.ndim != 3 or mask.shape != counts.shape[:2]:
        raise ValueError(
            f"counts must be (sequences, bins, features) and the mask (sequences, bins), got "
            f"{tuple(counts.shape)} and {tuple(mask.shape)}"
        )
    if not (step_seconds > 0.0 and time_constant_seconds > 0.0):
        raise ValueError(
            f"step_seconds and time_constant_seconds must be above 0, got {step_seconds} and "
            f"{time_constant_seconds}"
        )
    kept = mask.to(device="cpu", dtype=torch.bool)[:, :, None]
    # The weights are summed beside the counts, as one more feature.
    sums = torch.cat([torch.where(kept, _wide(counts), 0.0), kept.double()], dim=2)
    span = 1
    while span < sums.shape[1]:
        weight = math.exp(-span * step_seconds / time_constant_seconds)
        if weight < _NEGLIGIBLE:
            break
        sums = torch.cat([sums[:, :span], sums[:, span:] + weight * sums[:, :-span]], dim=1)
        span *= 2
    return torch.where(kept, sums[:, :, :-1] / sums[:, :, -1:], 0.0)


def _wide(x: Tensor) -> Tensor:
    return x.detach().to(device="cpu", dtype=torch.float64)


def _known(
    features: Tensor, targets: Tensor, groups: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return what there is to fit: the bins whose target is known."""
    x, y = _wide(features), _wide(targets)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or 0 in (x.shape[1], y.shape[1]):
        raise ValueError(
            f"features and targets must be (bins, features) and (bins, dimensions) over the same "
            f"bins, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if groups is not None and groups.shape != (len(x),):
        raise ValueError(f"groups must be one number a bin ({len(x)}), got {tuple(groups.shape)}")
    if not x.isfinite().all():
        raise ValueError(
            "features must be finite, got NaN or infinity: leave out padded bins, and check that "
            "the training did not diverge"
        )
    known = ~y.isnan().any(dim=1)
    if int(known.sum()) < _FEWEST_BINS:
        raise ValueError(
            f"fitting a decoder needs at least {_FEWEST_BINS} bins with a known target, got "
            f"{int(known.sum())} of {len(y)}"
        )
    return x[known], y[known], None if groups is None else groups.cpu()[known]


def _standards(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale of the features: none is blown up that hardly varies."""
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    largest = deviation.max()
    return mean, deviation.clamp(min=1e-3 * float(largest)) if largest > 0.0 else 1.0 + deviation


def _chunk_edges(num_bins: int, num_chunks: int, groups: Tensor | None) -> list[int]:
    """Cut the bins into contiguous chunks, between sequences if there are enough of them."""
    edges = [round(i * num_bins / num_chunks) for i in range(num_chunks + 1)]
    if groups is None:
        return edges
    starts = (groups[1:] != groups[:-1]).nonzero().flatten() + 1
    borders = torch.cat([torch.tensor([0]), starts, torch.tensor([num_bins])])
    nearest = {int(borders[(borders - edge).abs().argmin()]) for edge in edges}
    return sorted(nearest) if len(nearest) > 2 else edges


def _null(squares: Tensor, total: Tensor) -> tuple[float, float]:
    """Return the mean and the 95 % bound of the R² of shifts with these squared errors (S, k)."""
    values = (1.0 - squares.sum(dim=1) / total.sum()).sort().values
    # Among S values and a new one alike, each rank is as probable: hence S + 1.
    rank = min(len(values), math.ceil(0.95 * (len(values) + 1)))
    return float(values.mean()), float(values[rank - 1])


def _median_error(targets: Tensor, predictions: Tensor) -> float:
    known = ~targets.isnan().any(dim=1)
    return float((targets - predictions)[known].norm(dim=1).median())
