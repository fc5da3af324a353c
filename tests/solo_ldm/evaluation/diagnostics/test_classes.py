"""Class separation and scores of strange images in closed form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from solo_ldm.evaluation.diagnostics.classes import (
    class_separation,
    mahalanobis_distances,
    neighbour_distances,
)


def test_one_direction_a_class_is_separated_and_equal_classes_are_not():
    labels = torch.arange(4).repeat_interleave(torch.tensor([5, 2, 9, 4]))
    scales = torch.rand(20, 1) + 0.5
    assert class_separation(torch.eye(4)[labels] * scales, labels) == pytest.approx(1.0)
    same = torch.randn(5, 6).repeat(4, 1)
    assert class_separation(same, torch.arange(20) // 5) == pytest.approx(0.0, abs=1e-9)
    assert class_separation(torch.ones(20, 3), labels) == 0.0


def test_separation_is_that_of_all_pairs_whatever_the_sizes_of_the_classes():
    labels = torch.tensor([0, 0, 0, 2, 2, 5, 5, 5, 5])
    features = torch.randn(9, 4) + labels[:, None]
    unit = F.normalize(features.double())
    distance = 1 - unit @ unit.T
    classes = [labels == one for one in (0, 2, 5)]
    within = torch.stack([distance[one][:, one].mean() for one in classes]).mean()
    pairs = [distance[one][:, other].mean() for one in classes for other in classes]
    expected = 1 - (within / torch.stack(pairs).mean()).item()
    assert class_separation(features, labels) == pytest.approx(expected)


def test_the_kth_neighbour_is_that_of_the_sorted_distances(monkeypatch):
    train, test = torch.randn(50, 6), torch.randn(30, 6)
    every = torch.cdist(F.normalize(test.double()), F.normalize(train.double())).sort(1).values
    for k in (1, 7, 50):
        torch.testing.assert_close(neighbour_distances(train, test, k), every[:, k - 1])
    torch.testing.assert_close(neighbour_distances(train, test), every[:, 0])
    monkeypatch.setattr("solo_ldm.evaluation.diagnostics.classes.MAX_SIMILARITIES", 60)
    for k in (1, 3, 50):
        torch.testing.assert_close(neighbour_distances(train, test, k), every[:, k - 1])
    many = torch.randn(2500, 3)
    torch.testing.assert_close(
        neighbour_distances(many, test[:, :3]), neighbour_distances(many, test[:, :3], 2)
    )


def test_mahalanobis_is_the_distance_to_the_nearest_class_in_units_of_its_spread(monkeypatch):
    """Two classes at ±(10, 0, 0) whose samples are one step of known length from the mean."""
    spread = torch.tensor([1.0, 2.0, 0.5]).double()
    steps = torch.cat([torch.diag(spread), -torch.diag(spread)])
    shift = torch.tensor([10.0, 0.0, 0.0]).double()
    train = torch.cat([steps + shift, steps - shift])
    labels = torch.tensor([0] * 6 + [3] * 6)
    test = torch.tensor([[10.0, 0.0, 0.0], [12.0, 4.0, 0.0], [-10.0, 0.0, 3.0]]).double()
    variance = spread.square() / 3
    expected = ((test.abs() - shift) / variance.sqrt()).square().sum(dim=1)
    found = mahalanobis_distances(train, labels, test)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr("solo_ldm.evaluation.diagnostics.classes.CHUNK_SIZE", 5)
    torch.testing.assert_close(mahalanobis_distances(train, labels, test), found)
    whole = class_separation(train + 1, labels)
    monkeypatch.undo()
    assert class_separation(train + 1, labels) == pytest.approx(whole)


def test_a_dead_direction_makes_what_moves_along_it_strange():
    train = torch.cat([torch.randn(200, 3), torch.zeros(200, 1)], dim=1)
    labels = torch.arange(200) % 2
    inside, outside = torch.randn(5, 4), torch.randn(5, 4)
    inside[:, 3], outside[:, 3] = 0.0, 1.0
    assert mahalanobis_distances(train, labels, inside).max() < 100
    assert mahalanobis_distances(train, labels, outside).min() > 1e4
    collapsed = torch.ones(20, 3)
    assert mahalanobis_distances(collapsed, torch.arange(20) % 2, collapsed).max() == 0.0


def test_what_does_not_fit_is_refused():
    ones, labels = torch.ones(4, 2), torch.tensor([0, 0, 1, 1])
    with pytest.raises(ValueError, match="at least 2 classes"):
        class_separation(ones, torch.zeros(4).long())
    with pytest.raises(ValueError, match="class labels"):
        class_separation(ones, labels[:3])
    with pytest.raises(ValueError, match="1 to 4"):
        neighbour_distances(ones, ones, 5)
    with pytest.raises(ValueError, match="equal dimensions"):
        neighbour_distances(ones, torch.ones(4, 3))
    with pytest.raises(ValueError, match="finite"):
        mahalanobis_distances(ones, labels, torch.full((1, 2), torch.nan))
