"""Evaluation: protocols against scikit-learn, health against definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import nn

from solo_ldm.evaluation import (
    PROTOCOLS,
    Features,
    covariance_spectrum,
    diagnose,
    effective_rank,
    evaluate,
    extract_features,
    health,
    knn_predict,
    linear_predict,
    top_k_accuracy,
)


@pytest.fixture
def digits() -> tuple[Features, Features]:
    data = load_digits()
    pixels, labels = torch.tensor(data.data).float(), torch.tensor(data.target).long()
    return Features(pixels[:1200], labels[:1200]), Features(pixels[1200:], labels[1200:])


def test_knn_equals_scikit_learns_weighted_vote(digits):
    train, test = digits

    def weights(distance: np.ndarray) -> np.ndarray:
        return np.exp((1 - distance) / 0.07)

    theirs = KNeighborsClassifier(20, weights=weights, metric="cosine", algorithm="brute")
    theirs.fit(train.features.double(), train.labels)
    expected = theirs.predict_proba(test.features.double())
    ours = knn_predict(train.features.double(), train.labels, test.features.double())
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_knn_does_not_depend_on_the_chunk_size(digits):
    train, test = digits
    whole = knn_predict(*train, test.features)
    torch.testing.assert_close(knn_predict(*train, test.features, chunk_size=7), whole)


def test_linear_features_is_scikit_learns_logistic_regression(digits):
    train, test = digits
    scaler = StandardScaler().fit(train.features.double())
    theirs = LogisticRegression(C=1 / (1e-4 * 1200), max_iter=1000)
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
