"""The weighted nearest-neighbour classifier: a probe without training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_ldm.config.arguments import Bounds, checked
from solo_ldm.evaluation.features import Features, check_features

Distance = Literal["cosine", "euclidean"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)

# 64 MiB of float32: large enough to keep the matrix product busy, small enough for a laptop.
MAX_SIMILARITIES = 2**24

# Added to a Euclidean distance before its inverse is taken: a copy of a training sample has a
# large weight, not an infinite one. solo-learn's value.
DISTANCE_OFFSET = 1e-5


def knn_predict(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    num_neighbours: int = 20,
    temperature: float = 0.07,
    chunk_size: int | None = None,
    distance: Distance = "cosine",
) -> Tensor:
    """Classify by a vote of the nearest training samples, weighted by their nearness.

    With w_ij the weight of training sample j for test sample i, and N_k(i) the k training samples
    that are nearest to i,

        score(i, c) = sum_{j in N_k(i), y_j = c} w_ij / sum_{j in N_k(i)} w_ij

        cosine:     w_ij = exp(s_ij / T),        s_ij the cosine similarity
        euclidean:  w_ij = 1 / (d_ij + 1e-5),    d_ij = ||x_i - x_j||

    Of training samples that are equally near, the one with the lower index is the nearer.

    Args:
        train_features: (N, D). The computation runs on their device.
        train_labels: (N,) integers from 0.
        test_features: (M, D).
        num_neighbours: k, the samples that vote.
        temperature: T, in units of cosine similarity; of no effect on the Euclidean distance.
        chunk_size: test samples at a time; None means as many as keep the similarities in 64 MiB.
        distance: cosine or euclidean.

    Returns:
        (M, C) shares of the vote, rows sum to one, C the largest training label plus one; on the
        device of `test_features`. They are read as probabilities, but are not calibrated: with
        cosine weights the temperature decides their confidence.

    Raises:
        ValueError: for shapes that do not fit, more neighbours than samples, an unknown distance,
            or a temperature or chunk size that is not positive.

    Source: cosine, Wu, Xiong, Yu and Lin 2018, section 3.4 (arXiv 1805.01978); they do not divide
    by the sum over the neighbours, which changes no rank and cannot overflow. Euclidean, the
    weights of solo-learn's WeightedKNNClassifier; without the offset, Dudani 1976.
    """
    train = Features(train_features, train_labels)
    ((_, shares),) = knn_grid(
        train, test_features, [num_neighbours], [temperature], [distance], chunk_size
    )
    return shares


@checked
def knn_grid(
    train: Features,
    test_features: Tensor,
    num_neighbours: Sequence[Annotated[int, Bounds(1)]],
    temperatures: Sequence[Annotated[float, Bounds(above=0)]],
    distances: Sequence[Distance] = DISTANCES,
    chunk_size: Annotated[int, Bounds(1)] | None = None,
) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """Classify as `knn_predict` does under every setting, finding the neighbours only once.

    Args:
        train: features (N, D) and labels (N,). The computation runs on their device.
        test_features: (M, D).
        num_neighbours: values of k.
        temperatures: values of T, for the cosine distance alone.
        distances: cosine, euclidean or both.
        chunk_size: as of `knn_predict`.

    Returns:
        An iterator over the settings, arguments of `knn_predict` without those of no effect, with
        the shares of the vote (M, C): by distance, then k, then temperature, each in the order
        given, repeated ones once.

    Raises:
        ValueError: as `knn_predict`, before anything is computed.
    """
    check_features(*train, test_features)
    num_train = len(train.features)
    for k in num_neighbours:
        if k > num_train:
            raise ValueError(
                f"num_neighbours: expected 1 to {num_train}, the training samples, got {k}; lower "
                "it, or use more training samples"
            )
    needed: dict[str, Sequence[Any]] = {"num_neighbours": num_neighbours, "distance": distances}
    if "cosine" in distances:
        needed["temperature"] = temperatures
    for name, values in needed.items():
        if not len(values):
            raise ValueError(f"{name}: expected at least one value, got none")
    most, num_classes = max(num_neighbours), int(train.labels.max()) + 1

    def votes() -> Iterator[tuple[dict[str, Any], Tensor]]:
        for distance in dict.fromkeys(distances):
            values, labels = _nearest(*train, test_features, most, distance, chunk_size)
            for k in dict.fromkeys(num_neighbours):
                for temperature in dict.fromkeys(temperatures) if distance == "cosine" else (None,):
                    shares = _vote(values[:, :k], labels[:, :k], num_classes, temperature)
                    weights = {} if temperature is None else {"temperature": temperature}
                    settings = {"num_neighbours": k, **weights, "distance": distance}
                    yield settings, shares.to(test_features.device)

    return votes()


def _nearest(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    count: int,
    distance: Distance,
    chunk_size: int | None,
) -> tuple[Tensor, Tensor]:
    """Return the similarities or distances (M, count) of the neighbours, and their labels."""
    chunk_size = chunk_size or max(1, MAX_SIMILARITIES // len(train_features))
    train = _prepare(train_features, distance)
    # Subtracted from 2 x^T y it orders by the squared distance: ||y||^2 is the same for all.
    offset = train.square().sum(dim=1) / 2 if distance == "euclidean" else None
    all_labels = train_labels.to(train.device, torch.int64)
    values, labels = [], []
    for chunk in test_features.split(chunk_size):
        test = _prepare(chunk.to(train.device), distance).to(train.dtype)
        nearness = test @ train.T
        if offset is not None:
            nearness -= offset
        neighbours = _highest(nearness, count)
        if distance == "cosine":
            value = nearness.gather(1, neighbours)
        else:
            # Computed again from the difference: in a difference of squares small distances are
            # lost to rounding.
            value = _distances(test, train, neighbours)
            value, order = value.sort(dim=1, stable=True)
            neighbours = neighbours.gather(1, order)
        values.append(value)
        labels.append(all_labels[neighbours])
    return torch.cat(values), torch.cat(labels)


def _prepare(features: Tensor, distance: Distance) -> Tensor:
    if features.dtype not in (torch.float32, torch.float64):
        features = features.float()
    features = features.detach()
    return F.normalize(features, dim=1) if distance == "cosine" else features


def _highest(nearness: Tensor, count: int) -> Tensor:
    """Return the indexes of the highest values of each row, in order; of equals, the lower first.

    torch.topk leaves the order of equals to the device, and which of them it takes.
    """
    value, index = nearness.topk(count, dim=1)
    ambiguous = (nearness >= value[:, -1:]).sum(dim=1) > count
    if ambiguous.any():
        ranking = nearness[ambiguous].sort(dim=1, descending=True, stable=True).indices
        index[ambiguous] = ranking[:, :count]
    index = index.sort(dim=1).values
    order = nearness.gather(1, index).sort(dim=1, descending=True, stable=True).indices
    return index.gather(1, order)


def _distances(test: Tensor, train: Tensor, neighbours: Tensor) -> Tensor:
    num_dims = train.shape[1]
    rows = max(1, MAX_SIMILARITIES // (neighbours.shape[1] * num_dims))
    parts = zip(test.split(rows), neighbours.split(rows), strict=True)
    return torch.cat([(train[near] - some[:, None]).norm(dim=2) for some, near in parts])


def _vote(values: Tensor, labels: Tensor, num_classes: int, temperature: float | None) -> Tensor:
    """Return the shares of the vote by similarities, or without a temperature by distances."""
    if temperature is not None:
        weights = torch.softmax(values / temperature, dim=1)
    else:
        weights = 1 / (values + DISTANCE_OFFSET)
        weights = weights / weights.sum(dim=1, keepdim=True)
    return weights.new_zeros(len(values), num_classes).scatter_add_(1, labels, weights)
