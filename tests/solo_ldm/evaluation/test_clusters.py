"""Agreement of clusters and classes, by hand and against all permutations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from solo_ldm.evaluation.clusters import most_and_least, score_clusters


def test_renamed_classes_are_found_whatever_the_names():
    labels = np.arange(60) % 6
    for seed in range(5):
        names = np.random.default_rng(seed).permutation(6)
        scores = score_clusters(names[labels], labels, 6, 6)
        assert scores.accuracy == scores.purity == 1.0
        assert scores.normalised_mutual_information == pytest.approx(1.0)
        assert scores.adjusted_rand == pytest.approx(1.0)
        assert [scores.class_of_cluster[names[label]] for label in range(6)] == list(range(6))


def test_the_assignment_is_the_best_of_all_permutations():
    rng = np.random.default_rng(0)
    for _ in range(20):
        confusion = rng.integers(0, 30, (4, 4))
        labels, clusters = (np.repeat(one.ravel(), confusion.ravel()) for one in np.indices((4, 4)))
        scores = score_clusters(clusters, labels, 4, 4)
        assigned = np.array(scores.class_of_cluster)
        found = confusion[assigned[assigned >= 0], np.flatnonzero(assigned >= 0)].sum()
        best = max(
            sum(confusion[row, column] for column, row in enumerate(order))
            for order in itertools.permutations(range(4))
        )
        assert found == best
        assert scores.accuracy == pytest.approx(best / confusion.sum())


def test_two_classes_in_one_cluster_cost_accuracy_and_two_clusters_of_a_class_no_purity():
    labels = np.repeat([0, 1, 2], 10)
    merged = score_clusters(np.repeat([0, 0, 1], 10), labels, 3, 3)
    assert merged.accuracy == merged.purity == pytest.approx(20 / 30)
    assert merged.num_used == 2
    assert merged.class_of_cluster[0] in (0, 1)
    assert merged.class_of_cluster[1:] == [2, -1]
    split = score_clusters(np.repeat([0, 1, 2, 3], [10, 10, 6, 4]), labels, 5, 3)
    assert split.accuracy == pytest.approx(26 / 30)
    assert split.purity == 1.0
    assert split.num_used == 4
    assert split.class_of_cluster == [0, 1, 2, -1, -1]
    assert split.confusion == [[10, 0, 0, 0, 0], [0, 10, 0, 0, 0], [0, 0, 6, 4, 0]]


def test_clusters_at_random_say_nothing():
    clusters, labels = np.random.default_rng(0).integers(0, 4, (2, 4000))
    scores = score_clusters(clusters, labels, 4, 4)
    assert abs(scores.adjusted_rand) < 0.01
    assert scores.normalised_mutual_information < 0.01
    assert 0.25 <= scores.accuracy < 0.3


def test_wrong_clusters_are_one_line():
    cases = [
        (([], [], 2, 2), "at least one image"),
        (([0, 1], [0], 2, 2), r"shapes \(2,\) and \(1,\)"),
        (([0, 2], [0, 1], 2, 2), "clusters from 0 to 1, got 0 to 2"),
        (([0, 1], [0, -1], 2, 2), "labels from 0 to 1, got -1 to 0"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            score_clusters(*arguments)


def test_the_most_and_the_least_certain():
    values = [5.0, 1.0, 4.0, 2.0, 3.0, 0.0]
    most, least = most_and_least(values, np.array([0, 1, 2, 3, 4]), 2)
    assert (most.tolist(), least.tolist()) == ([1, 3], [0, 2])
    most, least = most_and_least(values, np.array([2, 3, 4]), 5)
    assert (most.tolist(), least.tolist()) == ([3, 4], [2])
    most, least = most_and_least(values, np.array([2]), 5)
    assert (most.tolist(), least.tolist()) == ([2], [])
