"""Evaluation: protocols against scikit-learn, health against definitions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from solo_ldm.evaluation.features import Features, extract_features
from solo_ldm.evaluation.knn import knn_grid, knn_predict
from solo_ldm.evaluation.linear import linear_predict
from solo_ldm.evaluation.metrics import top_k_accuracy
from solo_ldm.evaluation.protocols import PROTOCOLS, find_protocol
from solo_ldm.evaluation.scores import evaluate
from solo_ldm.evaluation.spectrum import covariance_spectrum, diagnose, effective_rank, health


@pytest.fixture
def digits() -> tuple[Features, Features]:
    data = load_digits()
    pixels, labels = torch.tensor(data.data).float(), torch.tensor(data.target).long()
    return Features(pixels[:1200], labels[:1200]), Features(pixels[1200:], labels[1200:])


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
    votes = list(knn_grid(train, test, [20, 1, 200], [0.07, 0.5], ["euclidean", "cosine"]))
    settings = [(vote.distance, vote.num_neighbours, vote.temperature) for vote in votes]
    assert settings == [
        *(("euclidean", k, None) for k in (20, 1, 200)),
        *(("cosine", k, temperature) for k in (20, 1, 200) for temperature in (0.07, 0.5)),
    ]
    for vote in votes:
        alone = knn_predict(
            *train,
            test.features,
            num_neighbours=vote.num_neighbours,
            temperature=vote.temperature or 1.0,
            distance=vote.distance,
        )
        torch.testing.assert_close(vote.probabilities, alone, atol=1e-6, rtol=0)
        assert torch.equal(vote.probabilities.argmax(dim=1), alone.argmax(dim=1))


def test_a_wrong_grid_is_one_line_before_anything_is_computed(digits):
    for arguments, message in (
        (([0], [0.07], ["cosine"]), "num_neighbours"),
        (([1201], [0.07], ["cosine"]), "1 to 1200"),
        (([5], [0.0], ["cosine"]), "temperature"),
        (([5], [0.07], ["manhattan"]), "cosine or euclidean"),
        (([], [0.07], ["cosine"]), "at least one"),
        (([5], [], ["cosine"]), "temperature: expected at least one"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            knn_grid(*digits, *arguments)
        assert "\n" not in str(caught.value)


def test_knn_does_not_depend_on_the_chunk_size(digits):
    train, test = digits
    whole = knn_predict(*train, test.features)
    torch.testing.assert_close(knn_predict(*train, test.features, chunk_size=7), whole)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_score_carries_all_that_it_depends_on(digits, protocol):
    preprocessing = {"image_size": 8, "backend": "none"}
    score = evaluate(
        protocol, *digits, epoch=3, feature_layer="pixels", preprocessing=preprocessing
    )
    stored = json.loads(json.dumps(score.as_dict()))
    assert stored["protocol"] == protocol
    assert (stored["epoch"], stored["feature_layer"]) == (3, "pixels")
    assert stored["preprocessing"] == preprocessing
    assert stored["interval"][0] < stored["top1"] < stored["interval"][1]
    assert np.trace(stored["confusion"]) == round(stored["top1"] * stored["num_test"])
    assert len(stored["per_class"]) == 10
    assert 0 < stored["ece"] < 0.2


def test_a_confusion_of_many_classes_is_not_stored():
    labels = torch.arange(101)
    features = torch.eye(101)
    score = evaluate("knn-20", Features(features, labels), Features(features, labels))
    assert len(score.confusion) == 101
    assert score.as_dict()["confusion"] is None
    assert score.top1 == 1


def test_protocols_that_train_a_network_say_where_they_run(digits):
    for name in ("linear-offline", "finetune"):
        with pytest.raises(ValueError, match=f"{name}, which trains.*main_linear"):
            find_protocol(name)
    assert find_protocol("linear-online").name == "linear-online"
    with pytest.raises(ValueError, match="main_linear"):
        evaluate("linear-online", *digits)


def test_linear_features_is_scikit_learns_logistic_regression(digits):
    train, test = digits
    scaler = StandardScaler().fit(train.features.double())
    theirs = LogisticRegression(C=1 / 3.16, max_iter=1000)
    theirs.fit(scaler.transform(train.features.double()), train.labels)
    expected = theirs.predict_log_proba(scaler.transform(test.features.double()))
    ours = linear_predict(*train, test.features)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize(("protocol", "least"), [("knn-20", 0.95), ("linear-features", 0.90)])
def test_pixels_of_digits_score_as_they_are_known_to(digits, protocol, least):
    score = evaluate(protocol, *digits)
    assert least < score.top1 < 1
    assert score.top5 is not None
    assert score.top1 <= score.top5
    assert (score.num_train, score.num_test) == (1200, 597)
    assert score.settings == dict(PROTOCOLS[protocol].settings)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_labels_score_at_chance(protocol):
    train, test = (Features(torch.randn(600, 8), torch.randint(0, 4, (600,))) for _ in range(2))
    assert evaluate(protocol, train, test).top1 == pytest.approx(0.25, abs=0.08)
    assert evaluate(protocol, train, test).top5 is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_class_without_training_samples_counts_as_wrong(protocol):
    train = Features(torch.randn(60, 8), torch.arange(60) % 3)
    test = Features(train.features, train.labels + 3)
    assert evaluate(protocol, train, test).top1 == 0


def test_top_k_counts_the_true_class_among_the_highest():
    scores = torch.tensor([[0.1, 0.5, 0.4], [0.3, 0.3, 0.4]])
    labels = torch.tensor([2, 0])
    assert [top_k_accuracy(scores, labels, k) for k in (1, 2, 3)] == [0.0, 1.0, 1.0]


def test_wrong_features_are_one_line(digits):
    train, test = digits
    broken = Features(train.features.clone(), train.labels)
    broken.features[3, 0] = float("nan")
    cases = [
        (lambda: evaluate("knn-2", train, test), "did you mean knn-20"),
        (lambda: evaluate("knn-20", broken, test), "1 of 1200 samples"),
        (lambda: evaluate("knn-20", train, Features(test.features[:, :9], test.labels)), "64"),
        (lambda: evaluate("knn-20", Features(*(x[:9] for x in train)), test), "num_neighbours"),
        (lambda: evaluate("knn-20", train._replace(labels=0 * train.labels), test), "2 classes"),
    ]
    for case, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            case()
        assert "\n" not in str(caught.value)


def test_feature_extraction_leaves_the_module_as_it_was():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Dropout())
    module[2].eval()
    images, targets = torch.randn(10, 3, 2, 2), torch.arange(10)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    batches = [[images[:6], targets[:6]], [images[6:], targets[6:]]]
    found = extract_features(module, batches)
    assert module.training
    assert not module[2].training
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    torch.testing.assert_close(found.features, module.eval()(images).detach())
    assert torch.equal(found.labels, targets)


@pytest.mark.parametrize("dim", [2, 16])
def test_effective_rank_of_an_isotropic_gaussian_is_its_dimension(dim):
    assert effective_rank(torch.randn(20000, dim)) == pytest.approx(dim, rel=0.01)


def test_effective_rank_of_one_direction_is_one_and_of_a_point_zero():
    line = torch.randn(100, 1) * torch.randn(1, 8) + 5
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.ones(100, 8)) == 0


@pytest.mark.parametrize("shape", [(50, 8), (8, 50)])
def test_spectrum_is_that_of_the_covariance(shape):
    features = torch.randn(shape, dtype=torch.float64) + 3
    expected = torch.linalg.eigvalsh(torch.cov(features.T)).flip(0).clamp_min(0)
    torch.testing.assert_close(covariance_spectrum(features), expected)


def test_mean_cosine_equals_the_mean_over_pairs():
    z = torch.randn(30, 6, dtype=torch.float64) + 0.5
    unit = F.normalize(z)
    pairs = (unit @ unit.T)[~torch.eye(30, dtype=torch.bool)]
    assert health(z).mean_cosine == pytest.approx(pairs.mean().item())


@pytest.mark.parametrize("z", [torch.zeros(20, 4), torch.ones(20, 4), torch.full((20, 4), 1e30)])
def test_health_of_a_collapsed_batch_is_finite(z):
    assert all(math.isfinite(value) for value in health(z))


@pytest.mark.parametrize(
    ("z", "sphere", "named"),
    [
        (torch.randn(200, 16), False, None),
        (F.normalize(torch.randn(200, 16)), True, None),
        (0.001 * torch.randn(200, 16) + 1, False, "Complete collapse"),
        (F.normalize(0.01 * torch.randn(200, 16) + 1), True, "Complete collapse"),
        (torch.randn(200, 1) * torch.randn(1, 16), False, "Dimensional collapse"),
        (1e6 * torch.randn(200, 16), False, "explode"),
        (torch.full((200, 16), float("nan")), False, "diverged"),
    ],
    ids=["plane", "sphere", "point", "cap", "line", "explosion", "nan"],
)
def test_what_is_wrong_with_latents_is_named(z, sphere, named):
    warning = diagnose(health(z), sphere=sphere)
    if named is None:
        assert warning is None
    else:
        assert warning is not None
        assert named in warning
        assert "\n" not in warning


def test_latents_on_their_way_out_of_a_collapse_are_not_warned_of():
    small, larger = (health(s * torch.randn(200, 16)) for s in (0.01, 0.02))
    assert diagnose(larger, previous=small, sphere=False) is None
    assert diagnose(small, previous=larger, sphere=False) is not None
