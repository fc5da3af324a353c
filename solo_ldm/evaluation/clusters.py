"""Agreement of clusters with classes that were not used to find them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClusterScores:
    """How well clusters name the classes, over N images in n clusters and C classes.

    Args:
        accuracy: share of the images whose cluster was assigned their class, each class to one
            cluster at most, so that the share is as high as it can be.
        purity: the same with each cluster assigned its most frequent class.
        normalised_mutual_information: of cluster and class, over the mean of their entropies.
        adjusted_rand: share of the pairs of images that both put together or both apart, corrected
            for chance; 1 is agreement, 0 chance.
        num_used: clusters with an image.
        class_of_cluster: (n,) the class that each cluster was assigned for `accuracy`; −1 where the
            cluster has no image of it, and for clusters that are left when the classes are taken.
        confusion: (C, n) counts, a row a class, a column a cluster.
        num_images: N.
    """

    accuracy: float
    purity: float
    normalised_mutual_information: float
    adjusted_rand: float
    num_used: int
    class_of_cluster: list[int]
    confusion: list[list[int]]
    num_images: int


def score_clusters(
    clusters: npt.ArrayLike, labels: npt.ArrayLike, num_clusters: int, num_classes: int
) -> ClusterScores:
    """Compare clusters with classes.

    Args:
        clusters: (N,) of each image, 0 to n − 1.
        labels: (N,) its class, 0 to C − 1.
        num_clusters: n.
        num_classes: C.

    Raises:
        ValueError: no image, other numbers of clusters and labels, or numbers out of range.

    Source:
        The assignment is Kuhn's Hungarian method, as scipy has it; scikit-learn computes the
        normalised mutual information and the adjusted Rand index (Hubert & Arabie 1985).
    """
    found, true = np.asarray(clusters, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    if found.ndim != 1 or found.shape != true.shape or not len(found):
        raise ValueError(
            "expected a cluster and a label for each of at least one image, got shapes "
            f"{found.shape} and {true.shape}"
        )
    for name, values, count in (("cluster", found, num_clusters), ("label", true, num_classes)):
        if values.min() < 0 or values.max() >= count:
            raise ValueError(
                f"expected {name}s from 0 to {count - 1}, got {values.min()} to {values.max()}"
            )
    confusion = np.zeros((num_classes, num_clusters), dtype=np.int64)
    np.add.at(confusion, (true, found), 1)
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    counts = confusion[rows, columns]
    class_of_cluster = np.full(num_clusters, -1)
    class_of_cluster[columns[counts > 0]] = rows[counts > 0]
    return ClusterScores(
        accuracy=float(counts.sum() / len(found)),
        purity=float(confusion.max(axis=0).sum() / len(found)),
        normalised_mutual_information=float(normalized_mutual_info_score(true, found)),
        adjusted_rand=float(adjusted_rand_score(true, found)),
        num_used=int((confusion.sum(axis=0) > 0).sum()),
        class_of_cluster=class_of_cluster.tolist(),
        confusion=confusion.tolist(),
        num_images=len(found),
    )


def most_and_least(values: npt.ArrayLike, members: Ints, count: int) -> tuple[Ints, Ints]:
    """Return which members have the lowest and which the highest values, none in both.

    Args:
        values: (N,) of all.
        members: (M,) places to choose from.
        count: at most, of each kind.

    Returns:
        Places in order: lowest first, and highest first. Of an odd number of members the lowest
        has one more.
    """
    order = members[np.argsort(np.asarray(values)[members], kind="stable")]
    half = (len(order) + 1) // 2
    return order[:half][:count], order[half:][::-1][:count]
