"""What features tell apart: classes, and images unlike those of the training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_ldm.evaluation.features import check_features, check_finite, check_labels, check_vectors
from solo_ldm.evaluation.knn import MAX_SIMILARITIES
from solo_ldm.evaluation.spectrum import CHUNK_SIZE
from solo_ldm.numerics import widen

# One neighbour in a thousand training samples: the 50 of 50,000 of Sun et al. on CIFAR-10.
_SAMPLES_PER_NEIGHBOUR = 1000

# Added to the covariance within classes, of its mean variance: a direction without variance in
# training would make everything strange.
_RIDGE_SHARE = 1e-6


def class_separation(features: Tensor, labels: Tensor) -> float:
    """Compute the share of the cosine distance that lies between classes.

        R² = 1 − d_within / d_total
        d_within = mean over classes of the mean of 1 − cos(x, y) over all pairs of the class
        d_total  = the same over all pairs of classes

    As mean_{x, y} xᵀy = ‖mean x‖² of unit vectors, with μ_c the mean direction of class c,
    R² = 1 − (1 − mean_c ‖μ_c‖²) / (1 − ‖mean_c μ_c‖²).

    Args:
        features: (N, D).
        labels: (N,) integers from 0; classes count alike, whatever their numbers.

    Returns:
        0 (each class is spread as all are) to 1 (each class is one direction); also 0 where all
        samples have one direction.

    Raises:
        ValueError: in one line: other shapes, numbers that are not finite, or a single class.

    Source: Kornblith, Chen, Lee and Norouzi 2021 (arXiv 2010.16402).
    """
    check_vectors("features", features)
    check_finite("features", features)
    check_labels("class", labels, len(features))
    classes, numbers = labels.to(features.device).unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"labels: expected at least 2 classes, got {len(classes)}")
    means = _class_means(features.detach(), numbers, len(classes), directions=True)
    within = 1.0 - means.square().sum(dim=1).mean()
    total = 1.0 - means.mean(dim=0).square().sum()
    return 0.0 if total < 1e-12 else (1.0 - within / total).item()


def neighbour_distances(
    train_features: Tensor, features: Tensor, num_neighbours: int | None = None
) -> Tensor:
    """Compute how far features are from the k-th nearest of the training.

        score(x) = ‖ x/‖x‖ − y_(k)/‖y_(k)‖ ‖

    Args:
        train_features: (N, D) of the training images.
        features: (M, D).
        num_neighbours: k; None for one in a thousand training images, at least 1.

    Returns:
        (M,) 0 to 2; higher is stranger.

    Raises:
        ValueError: in one line: shapes that do not fit, or more neighbours than training images.

    Source: Sun, Ming, Zhu and Li 2022 (arXiv 2204.06507), who take k = 50 of 50,000
    images.
    """
    _check_both(train_features, features)
    k = num_neighbours or max(1, len(train_features) // _SAMPLES_PER_NEIGHBOUR)
    if not 1 <= k <= len(train_features):
        raise ValueError(
            f"num_neighbours: expected 1 to {len(train_features)}, the training images, got {k}"
        )
    unit = F.normalize(widen(features.detach()), dim=1)
    nearest = unit.new_empty(len(unit), 0)
    for some in train_features.detach().split(max(1, MAX_SIMILARITIES // max(unit.shape))):
        cosines = unit @ F.normalize(widen(some), dim=1).T
        nearest = torch.cat([nearest, cosines], dim=1)
        nearest = nearest.topk(min(k, nearest.shape[1]), dim=1).values
    return (2.0 - 2.0 * nearest[:, -1]).clamp(min=0).sqrt()


def mahalanobis_distances(train_features: Tensor, train_labels: Tensor, features: Tensor) -> Tensor:
    """Compute the squared Mahalanobis distance to the nearest class of the training.

        score(x) = min_c (x − μ_c)ᵀ Σ⁻¹ (x − μ_c)

    with Σ the covariance within classes, plus a millionth of its mean variance on the diagonal.

    Args:
        train_features: (N, D).
        train_labels: (N,) integers from 0.
        features: (M, D).

    Returns:
        (M,) not negative; higher is stranger.

    Raises:
        ValueError: in one line: shapes or labels that do not fit, or numbers that are not finite.

    Source: Lee, Lee, Lee and Shin 2018 (arXiv 1807.03888); the ridge is ours.
    """
    _check_both(train_features, features)
    check_features(train_features, train_labels, features)
    x = train_features.detach()
    classes, numbers = train_labels.to(x.device).unique(return_inverse=True)
    means = _class_means(x, numbers, len(classes))
    covariance = means.new_zeros(x.shape[1], x.shape[1])
    for some, their in zip(x.split(CHUNK_SIZE), numbers.split(CHUNK_SIZE), strict=True):
        inner = widen(some) - means[their]
        covariance += inner.T @ inner / len(x)
    ridge = _RIDGE_SHARE * covariance.diagonal().mean()
    covariance.diagonal().add_(ridge.clamp(min=torch.finfo(means.dtype).tiny))
    factor = torch.linalg.cholesky(covariance)

    def whitened(vectors: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(factor, vectors.T, upper=False).T

    centre = means.mean(dim=0)
    white, white_means = whitened(widen(features.detach()) - centre), whitened(means - centre)
    distances = torch.cdist(white, white_means, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.amin(dim=1).square()


def _class_means(x: Tensor, numbers: Tensor, num_classes: int, directions: bool = False) -> Tensor:
    """Return the mean of each class (C, D), or that of its samples at unit length, in wide type."""
    sums = widen(x[:1]).new_zeros(num_classes, x.shape[1])
    for some, their in zip(x.split(CHUNK_SIZE), numbers.split(CHUNK_SIZE), strict=True):
        wide = widen(some)
        sums.index_add_(0, their, F.normalize(wide, dim=1) if directions else wide)
    return sums / torch.bincount(numbers, minlength=num_classes).to(sums)[:, None]


def _check_both(train_features: Tensor, features: Tensor) -> None:
    for name, one in (("train features", train_features), ("features", features)):
        check_vectors(name, one)
        check_finite(name, one)
    if train_features.shape[1] != features.shape[1]:
        raise ValueError(
            f"train features and features: expected equal dimensions, got "
            f"{train_features.shape[1]} and {features.shape[1]}"
        )
