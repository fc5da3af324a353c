"""The weighted nearest-neighbour classifier, a probe without training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_ldm.evaluation.features import check_features

# 64 MiB of float32: large enough to keep the matrix product busy, small enough for a laptop.
MAX_SIMILARITIES = 2**24


def knn_predict(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    num_neighbours: int = 20,
    temperature: float = 0.07,
    chunk_size: int | None = None,
) -> Tensor:
    """Classify by a vote of the nearest training samples, weighted by their similarity.

    With s_ij the cosine similarity of test sample i and training sample j, and N_k(i) the k
    training samples that are most similar to i,

        score(i, c) = sum_{j in N_k(i), y_j = c} exp(s_ij / T) / sum_{j in N_k(i)} exp(s_ij / T)

    Args:
        train_features: (N, D). The computation runs on their device.
        train_labels: (N,) integers from 0.
        test_features: (M, D).
        num_neighbours: k, the samples that vote.
        temperature: T, in units of cosine similarity.
        chunk_size: test samples at a time; None means as many as keep the similarities in 64 MiB.

    Returns:
        (M, C) shares of the vote, rows sum to one, C the largest training label plus one; on the
        device of `test_features`.

    Raises:
        ValueError: for shapes that do not fit, more neighbours than samples, or a temperature or
            chunk size that is not positive.

    Source: Wu, Xiong, Yu and Lin 2018, section 3.4 (arXiv 1805.01978). They do not divide by the
    sum over the neighbours; dividing changes no rank and cannot overflow.
    """
    check_features(train_features, train_labels, test_features)
    num_train = len(train_features)
    if not 1 <= num_neighbours <= num_train:
        raise ValueError(
            f"num_neighbours: expected 1 to {num_train}, the training samples, "
            f"got {num_neighbours}; lower it, or use more training samples"
        )
    if not temperature > 0:
        raise ValueError(f"temperature: expected a positive number, got {temperature}")
    if chunk_size is None:
        chunk_size = max(1, MAX_SIMILARITIES // num_train)
    elif chunk_size < 1:
        raise ValueError(f"chunk_size: expected at least 1, got {chunk_size}")

    train = _prepare(train_features)
    labels = train_labels.to(train.device, torch.int64)
    num_classes = int(labels.max()) + 1
    scores = []
    for chunk in test_features.split(chunk_size):
        similarity = _similarity(_prepare(chunk.to(train.device)).to(train.dtype), train)
        similarity, neighbours = similarity.topk(num_neighbours, dim=1)
        weights = torch.softmax(similarity / temperature, dim=1)
        votes = weights.new_zeros(len(chunk), num_classes)
        scores.append(votes.scatter_add_(1, labels[neighbours], weights).to(test_features.device))
    return torch.cat(scores)


# The two functions below are all that another distance replaces.
def _prepare(features: Tensor) -> Tensor:
    if features.dtype not in (torch.float32, torch.float64):
        features = features.float()
    return F.normalize(features.detach(), dim=1)


def _similarity(test: Tensor, train: Tensor) -> Tensor:
    return test @ train.T
