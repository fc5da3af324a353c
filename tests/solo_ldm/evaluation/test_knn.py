"""The nearest-neighbour classifier against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from solo_ldm.evaluation import knn
from solo_ldm.evaluation.features import Features
from solo_ldm.evaluation.knn import knn_grid, knn_predict


def cosine_weights(distance: np.ndarray) -> np.ndarray:
    return np.exp((1 - distance) / 0.07)


def inverse_distance(distance: np.ndarray) -> np.ndarray:
    return 1 / (distance + 1e-5)


# A k-d tree subtracts before it squares, as we do: no rounding where a test sample is a copy.
THEIRS = {
    "cosine": {"weights": cosine_weights, "metric": "cosine", "algorithm": "brute"},
    "euclidean": {"weights": inverse_distance, "metric": "euclidean", "algorithm": "kd_tree"},
}


def without_ties(data: Features) -> Tensor:
    """Move pixels, which are small integers, so that no two distances are equal."""
    return data.features.double() + 0.01 * torch.rand(data.features.shape, dtype=torch.float64)


def compare_with_scikit_learn(ours: Tensor, theirs: KNeighborsClassifier, test: np.ndarray) -> None:
    votes = theirs.predict_proba(test)
    np.testing.assert_allclose(ours, votes, atol=1e-9)
    np.testing.assert_array_equal(ours.argmax(dim=1), votes.argmax(axis=1))
    np.testing.assert_array_equal(ours.argmax(dim=1), theirs.predict(test))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5, 20, 200])
def test_knn_equals_scikit_learns_weighted_vote(digits, distance, k):
    train, test = digits
    inputs = without_ties(train), train.labels, without_ties(test)
    theirs = KNeighborsClassifier(k, **THEIRS[distance]).fit(inputs[0], train.labels)
    ours = knn_predict(*inputs, num_neighbours=k, distance=distance)
    compare_with_scikit_learn(ours, theirs, inputs[2].numpy())


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_knn_equals_scikit_learns_among_copies(digits, distance):
    """Copies share a label, so that it does not matter which of them votes."""
    train, test = digits
    features = without_ties(train).repeat(3, 1)
    labels = train.labels.repeat(3)
    queries = torch.cat([without_ties(test), features[:50]])
    theirs = KNeighborsClassifier(20, **THEIRS[distance]).fit(features, labels)
    ours = knn_predict(features, labels, queries, distance=distance)
    compare_with_scikit_learn(ours, theirs, queries.numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_equally_near_samples_the_one_with_the_lower_index_is_nearer(dtype):
    """On a grid of points ties are the rule; scikit-learn is told the rule by a tiny offset."""
    train = torch.randint(0, 4, (300, 3)).to(dtype)
    labels = torch.randint(0, 5, (300,))
    test = torch.randint(0, 4, (200, 3)).to(dtype)
    squared = (test[:, None] - train).square().sum(dim=2).double()
    ordered = squared + 1e-6 * torch.arange(300)

    def weights(ordered: np.ndarray) -> np.ndarray:
        return inverse_distance(np.sqrt(np.floor(ordered + 1e-9)))

    theirs = KNeighborsClassifier(7, weights=weights, metric="precomputed")
    theirs.fit(torch.zeros(300, 300), labels)
    ours = knn_predict(train, labels, test, num_neighbours=7, distance="euclidean")
    tolerance = 1e-9 if dtype == torch.float64 else 1e-6
    np.testing.assert_allclose(ours, theirs.predict_proba(ordered), atol=tolerance)
    ambiguous = (squared <= squared.sort(dim=1).values[:, 6:7]).sum(dim=1) > 7
    assert ambiguous.float().mean() > 0.5


def test_a_grid_equals_its_settings_one_by_one(digits):
    train, test = digits
    votes = list(knn_grid(train, test.features, [20, 1, 200], [0.07, 0.5], ["euclidean", "cosine"]))
    settings = [
        (one["distance"], one["num_neighbours"], one.get("temperature")) for one, _ in votes
    ]
    assert settings == [
        *(("euclidean", k, None) for k in (20, 1, 200)),
        *(("cosine", k, temperature) for k in (20, 1, 200) for temperature in (0.07, 0.5)),
    ]
    for one, shares in votes:
        alone = knn_predict(*train, test.features, **one)
        torch.testing.assert_close(shares, alone, atol=1e-6, rtol=0)
        assert torch.equal(shares.argmax(dim=1), alone.argmax(dim=1))


def test_a_wrong_grid_is_one_line_before_anything_is_computed(digits):
    train, test = digits
    for arguments, message in (
        (([0], [0.07], ["cosine"]), "num_neighbours"),
        (([1201], [0.07], ["cosine"]), "1 to 1200"),
        (([5], [0.0], ["cosine"]), "temperature"),
        (([5], [0.07], ["manhattan"]), "cosine or euclidean"),
        (([], [0.07], ["cosine"]), "at least one"),
        (([5], [], ["cosine"]), "temperature: expected at least one"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            knn_grid(train, test.features, *arguments)
        assert "\n" not in str(caught.value)


def test_knn_does_not_depend_on_the_chunk_size(digits):
    train, test = digits
    whole = knn_predict(*train, test.features)
    torch.testing.assert_close(knn_predict(*train, test.features, chunk_size=7), whole)


def test_a_copy_of_a_training_sample_weighs_a_hundred_thousand():
    """1 / (d + 1e-5): a copy against one at distance 1, exactly."""
    train, labels = torch.tensor([[0.0], [1.0], [5.0]]).double(), torch.tensor([1, 0, 3])
    shares = knn_predict(train, labels, torch.zeros(1, 1).double(), 2, distance="euclidean")
    copy, other = 1.0 / 1e-5, 1.0 / (1.0 + 1e-5)
    expected = torch.tensor([[other, copy, 0.0, 0.0]], dtype=torch.float64) / (copy + other)
    torch.testing.assert_close(shares, expected, rtol=1e-12, atol=0)


def test_cosine_weights_are_the_softmax_of_similarities_over_the_temperature():
    angles = torch.tensor([0.0, 0.5, 1.0, 2.0]).double()
    train = torch.stack([angles.cos(), angles.sin()], dim=1) * torch.tensor([[1], [3], [2], [9]])
    labels = torch.tensor([2, 0, 2, 1])
    shares = knn_predict(train, labels, torch.tensor([[7.0, 0.0]]).double(), 3, 0.2)
    weights = torch.exp(angles[:3].cos() / 0.2)
    expected = torch.stack([weights[1], torch.zeros(()).double(), weights[0] + weights[2]])
    torch.testing.assert_close(shares[0], expected / weights.sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_what_memory_allows_changes_no_vote(distance, monkeypatch):
    """Chunks of a row, and differences of a row, at the least."""
    train, labels = torch.randn(30, 4).double(), torch.randint(0, 3, (30,))
    test = torch.randn(7, 4).double()
    whole = knn_predict(train, labels, test, 5, distance=distance)
    for most in (1, 50, 70):
        monkeypatch.setattr(knn, "MAX_SIMILARITIES", most)
        chunked = knn_predict(train, labels, test, 5, distance=distance)
        torch.testing.assert_close(chunked, whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_votes_in_single_and_votes_have_no_graph(dtype):
    train = torch.randn(30, 4).to(dtype).requires_grad_()
    labels, test = torch.randint(0, 3, (30,)), torch.randn(7, 4).to(dtype)
    shares = knn_predict(train, labels, test, 5)
    assert shares.dtype == torch.float32
    assert not shares.requires_grad
    torch.testing.assert_close(shares, knn_predict(train.float(), labels, test.float(), 5))


def test_defaults_are_those_of_the_protocol():
    train, labels = torch.randn(50, 4), torch.randint(0, 3, (50,))
    test = torch.randn(7, 4)
    expected = knn_predict(train, labels, test, 20, 0.07, None, "cosine")
    assert torch.equal(knn_predict(train, labels, test), expected)


def test_all_training_samples_may_vote_and_no_more():
    train, labels = torch.randn(6, 2), torch.tensor([0, 0, 0, 1, 1, 2])
    for distance in ("cosine", "euclidean"):
        assert knn_predict(train, labels, train, 6, distance=distance).shape == (6, 3)
    with pytest.raises(ValueError, match="num_neighbours: expected 1 to 6"):
        knn_predict(train, labels, train, 7)
    with pytest.raises(ValueError, match="expected"):
        knn_predict(train, labels[:5], train, 2)


def test_a_grid_finds_as_many_neighbours_as_its_largest_vote_needs():
    train = Features(torch.randn(30, 3), torch.randint(0, 3, (30,)))
    test = torch.randn(5, 3)
    for settings, shares in knn_grid(train, test, [2, 9], [0.1, 0.3]):
        torch.testing.assert_close(shares, knn_predict(*train, test, **settings))
        assert ("temperature" in settings) == (settings["distance"] == "cosine")


def test_ties_at_the_last_neighbour_go_to_the_lower_index():
    nearness = torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0], [5.0, 1.0, 4.0, 3.0, 2.0]])
    assert knn._highest(nearness, 2).tolist() == [[1, 2], [0, 2]]
    assert knn._highest(nearness, 3).tolist() == [[1, 2, 3], [0, 2, 3]]
