"""Linear and multi-layer decoders of targets from features of time bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from predictive.decoding.bins import chunk_edges, known_bins, standards, wide
from solo_ldm.config.arguments import Count, NonNegative, checked

# Penalties tried, in units of the variance of a standardised feature.
_PENALTIES = torch.logspace(-6, 2, 17, dtype=torch.float64)
_NUM_CHUNKS = 5
# Standardised features are clipped at this.
_LARGEST = 10.0


@dataclass(frozen=True, eq=False)
class LinearDecoder:
    """An affine map: ŷ = ((x − mean) / scale) W + offset.

    Standardised features are clipped to ±10, so that a unit that was almost silent in the fitted
    bins does not dominate with its first spike.

    Args:
        mean: mean of the features, (F,).
        scale: standard deviation of the features, at least a thousandth of the largest, (F,).
        weight: W, (F, k).
        offset: (k,).
        penalty: λ of the ridge of each column, see `fit_linear`, (k,).
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    offset: Tensor
    penalty: Tensor

    def predict(self, features: Tensor) -> Tensor:
        """Decode features (…, M, F) into targets (…, M, k), float64."""
        inputs = ((wide(features) - self.mean) / self.scale).clamp(-_LARGEST, _LARGEST)
        return inputs @ self.weight + self.offset


@dataclass(frozen=True, eq=False)
class MLPDecoder:
    """A perceptron with rectified hidden layers on standardised features and targets.

    It does not extrapolate: standardised features are clipped to their range in the fitted bins and
    to ±10, so that the first spike of a unit silent there meets no weights that were never fitted.

    Args:
        mean: mean of the features, (F,).
        scale: standard deviation of the features, at least a thousandth of the largest, (F,).
        low: lower limit of standardised features, (F,).
        high: upper limit, (F,).
        layers: weight (out, in) and bias (out,) of each layer, float32.
        target_mean: (k,).
        target_scale: (k,).
        num_epochs: epochs of training of the weights that were kept.
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
        inputs = ((wide(features) - self.mean) / self.scale).clamp(self.low, self.high)
        return _forward(inputs.float(), self.layers).double() * self.target_scale + self.target_mean


Decoder = LinearDecoder | MLPDecoder


def fit_linear(
    features: Tensor,
    targets: Tensor,
    penalty: float | None = None,
    groups: Tensor | None = None,
    *,
    together: bool = False,
) -> LinearDecoder:
    """Fit a ridge regression on standardised features; the offset is not penalised.

    W = argmin (1/M) Σ_t ‖y_t − x_t W − offset‖² + λ ‖W‖²

    of each column of y, which is scikit-learn's `Ridge(alpha=λ M)` while no feature exceeds ±10
    standard deviations, where features are clipped. With Cov(x) = U diag(e) Uᵀ it is
    W = U diag(1 / (e + λ)) Uᵀ Cov(x, y), so that one eigendecomposition serves all λ and all
    shifts of a null.

    Args:
        features: x, (M, F), finite.
        targets: y, (M, k); bins with NaN are left out.
        penalty: λ ≥ 0; None takes the one of 10⁻⁶, 10⁻⁵·⁵ … 10² with the least squared error when
            each of five contiguous chunks of the bins is predicted from the other four.
        groups: number of the sequence each bin belongs to, (M,): chunks then end at borders of
            sequences where that leaves at least two chunks.
        together: whether the columns are of one quantity (an angle, a category) and get the λ of
            their summed error, in place of one each: then decoded categories add up to 1.

    Raises:
        ValueError: fewer than 20 bins with a target, shapes that do not fit, NaN in features, a
            negative penalty.

    Source:
        Hoerl & Kennard (1970); Hastie, Tibshirani & Friedman, "The Elements of Statistical
        Learning" (2009), section 3.4.1.
    """
    x, y, groups = known_bins(features, targets, groups)
    return fit_ridges(x, y[:, None], penalty, groups, together)[0]


@checked
def fit_ridges(
    features: Tensor,
    targets: Tensor,
    penalty: NonNegative | None,
    groups: Tensor | None,
    together: bool = False,
) -> list[LinearDecoder]:
    """Fit the same features to several versions of the targets at once; see `fit_linear`.

    Args:
        features: of known bins, (M, F), float64.
        targets: S versions, (M, S, k), float64.
        penalty: as in `fit_linear`; None takes the best for each version.
        groups: as in `fit_linear`.
        together: as in `fit_linear`.

    Returns:
        A decoder for each of the S versions.

    Raises:
        ValueError: a negative penalty.
    """
    num_bins, num_sets, num_dims = targets.shape
    mean, scale = standards(features)
    x = ((features - mean) / scale).clamp(-_LARGEST, _LARGEST)
    target_mean = targets.mean(dim=0).flatten()
    y = targets.flatten(1) - target_mean
    # All fits need only the sums over chunks of products with (1, x).
    x = torch.cat([torch.ones_like(x[:, :1]), x], dim=1)
    parts = [slice(*edges) for edges in pairwise(chunk_edges(num_bins, _NUM_CHUNKS, groups))]
    grams = torch.stack([x[part].mT @ x[part] for part in parts])
    products = torch.stack([x[part].mT @ y[part] for part in parts])

    if penalty is None:
        errors = torch.zeros(len(_PENALTIES), num_sets, num_dims, dtype=torch.float64)
        for part, gram, product in zip(parts, grams, products, strict=True):
            path = _RidgePath(grams.sum(dim=0) - gram, products.sum(dim=0) - product)
            for row, value in zip(errors, _PENALTIES, strict=True):
                weight, offset = path.solve(value)
                error = (y[part] - x[part, 1:] @ weight - offset).square().sum(dim=0)
                row += error.reshape(num_sets, num_dims)
        if together:
            errors = errors.sum(dim=2, keepdim=True).expand_as(errors)
        chosen = _PENALTIES[errors.argmin(dim=0)]
    else:
        chosen = torch.full((num_sets, num_dims), float(penalty), dtype=torch.float64)

    path = _RidgePath(grams.sum(dim=0), products.sum(dim=0))
    weight, offset = path.solve(chosen.flatten())
    offset = offset + target_mean
    return [
        LinearDecoder(mean, scale, weight[:, dims], offset[dims], value)
        for dims, value in zip(
            torch.arange(num_sets * num_dims).reshape(num_sets, num_dims), chosen, strict=True
        )
    ]


class _RidgePath:
    """Ridge regressions at any penalty from sums of products with (1, x)."""

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


@checked
def fit_mlp(
    features: Tensor,
    targets: Tensor,
    hidden: Sequence[Count] = (64, 64),
    seed: int = 0,
    *,
    groups: Tensor | None = None,
    learning_rate: float = 2e-3,
    weight_decay: float = 1.0,
    max_epochs: Count = 100,
    patience: Count = 10,
) -> MLPDecoder:
    """Fit a perceptron to the mean squared error of standardised targets with AdamW.

    About a tenth of the bins, contiguous and in the middle (recordings drift towards their ends),
    is a validation set; the weights with the least error on it are kept. Batches are a sixteenth of
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
        max_epochs: most epochs.
        patience: epochs without a smaller validation error before the end.

    Raises:
        ValueError: as `fit_linear`; settings out of their range.

    Source:
        AdamW: Loshchilov & Hutter, arXiv 1711.05101; initial weights: He et al., arXiv 1502.01852.
    """
    features, targets, groups = known_bins(features, targets, groups)
    mean, scale = standards(features)
    target_scale, target_mean = torch.std_mean(targets, dim=0, correction=0)
    target_scale = torch.where(target_scale > 0.0, target_scale, 1.0)
    x = (features - mean) / scale
    low, high = (ends.clamp(-_LARGEST, _LARGEST) for ends in (x.amin(dim=0), x.amax(dim=0)))
    x = x.clamp(low, high).float()
    y = ((targets - target_mean) / target_scale).float()
    edges = chunk_edges(len(x), 10, groups)
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
