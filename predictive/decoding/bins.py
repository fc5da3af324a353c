"""Time bins that decoders are fitted to, and the R² of predictions.

Features are (M, F) and targets (M, k) over M time bins in the order of time; a bin whose target is
not known (NaN or infinite in any dimension) is left out. Everything is returned in float64 on the
CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

# A decoder is not fitted to fewer.
FEWEST_BINS = 20


def sums_of_squares(targets: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two sums that R² is made of, for each target dimension.

    Σ_t (y_td − ŷ_td)² and Σ_t (y_td − ȳ_d)². R² of a dimension is one minus their ratio; R² pooled
    over dimensions (scikit-learn's "variance_weighted") is one minus that of their sums over d.

    Args:
        targets: y, (M, k); bins with NaN are left out.
        predictions: ŷ, (M, k).

    Returns:
        (k,) and (k,).

    Raises:
        ValueError: shapes that differ, no bin with a known target.
    """
    y, prediction = wide(targets), wide(predictions)
    if y.shape != prediction.shape or y.ndim != 2:
        raise ValueError(
            "targets: expected the shape (bins, dimensions) of the predictions "
            f"{tuple(prediction.shape)}, got {tuple(y.shape)}"
        )
    known = y.isfinite().all(dim=1)
    if not known.any():
        raise ValueError(f"targets: expected a known one in some bin, got none in {len(y)}")
    y, prediction = y[known], prediction[known]
    return (y - prediction).square().sum(dim=0), (y - y.mean(dim=0)).square().sum(dim=0)


def wide(x: Tensor) -> Tensor:
    """Return values without a graph, in float64 on the CPU."""
    return x.detach().to(device="cpu", dtype=torch.float64)


def known_bins(
    features: Tensor, targets: Tensor, groups: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the bins whose target is known.

    Args:
        features: (M, F), finite.
        targets: (M, k), NaN in any dimension where not known.
        groups: number of the sequence each bin belongs to, (M,), or None.

    Returns:
        Features, targets and groups of the known bins, in the order of time.

    Raises:
        ValueError: fewer than 20 bins with a target, shapes that do not fit, NaN in features.
    """
    x, y = wide(features), wide(targets)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or 0 in (x.shape[1], y.shape[1]):
        raise ValueError(
            "features and targets: expected (bins, features) and (bins, dimensions) over the same "
            f"bins, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if groups is not None and groups.shape != (len(x),):
        raise ValueError(f"groups: expected shape ({len(x)},), got {tuple(groups.shape)}")
    if not x.isfinite().all():
        raise ValueError(
            "features: expected finite ones, got NaN or infinity; leave out padded bins, and check "
            "that the training did not diverge"
        )
    known = y.isfinite().all(dim=1)
    if int(known.sum()) < FEWEST_BINS:
        raise ValueError(
            f"targets: expected at least {FEWEST_BINS} bins with a known target to fit a decoder, "
            f"got {int(known.sum())} of {len(y)}"
        )
    return x[known], y[known], None if groups is None else groups.cpu()[known]


def standards(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale of features (M, F), (F,) each.

    The scale is the standard deviation, at least a thousandth of the largest; 1 if all are zero.
    """
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    largest = deviation.max()
    if largest == 0.0:
        return mean, torch.ones_like(deviation)
    return mean, deviation.clamp(min=1e-3 * float(largest))


def chunk_edges(num_bins: int, num_chunks: int, groups: Tensor | None) -> list[int]:
    """Cut bins into contiguous chunks, where possible at borders of sequences.

    Args:
        num_bins: M, in the order of time.
        num_chunks: how many are wanted.
        groups: number of the sequence each bin belongs to, (M,); None cuts anywhere.

    Returns:
        The first bin of each chunk, and M; fewer chunks, but at least two, where several edges
        fall on the same border of sequences.
    """
    edges = [round(i * num_bins / num_chunks) for i in range(num_chunks + 1)]
    if groups is None:
        return edges
    starts = (groups[1:] != groups[:-1]).nonzero().flatten() + 1
    borders = torch.cat([torch.tensor([0]), starts, torch.tensor([num_bins])])
    nearest = {int(borders[(borders - edge).abs().argmin()]) for edge in edges}
    return sorted(nearest) if len(nearest) > 2 else edges
