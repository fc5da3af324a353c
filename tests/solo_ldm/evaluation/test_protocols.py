"""Protocols: their scores, records and refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from solo_ldm.evaluation.features import Features, extract_features
from solo_ldm.evaluation.linear import linear_predict
from solo_ldm.evaluation.metrics import top_k_accuracy
from solo_ldm.evaluation.protocols import PROTOCOLS, check_num_training, find_protocol
from solo_ldm.evaluation.scores import evaluate


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
    with pytest.raises(ValueError, match=r"^evaluation\.protocols: expected.*did you mean knn-20"):
        find_protocol("knn", "evaluation.protocols")
    assert find_protocol("linear-online").predict is None
    with pytest.raises(ValueError, match="main_linear"):
        evaluate("linear-online", *digits)


def test_linear_features_is_scikit_learns_logistic_regression(digits):
    train, test = digits
    scaler = StandardScaler().fit(train.features.double())
    theirs = LogisticRegression(C=1 / 3.16, max_iter=1000)
    theirs.fit(scaler.transform(train.features.double()), train.labels)
    expected = theirs.predict_log_proba(scaler.transform(test.features.double()))
    ours = linear_predict(*train, test.features)
    np.testing.assert_allclose(ours.log(), expected, atol=1e-6)


def test_a_logistic_regression_that_has_not_converged_says_so_in_one_line(digits):
    train, test = digits
    with pytest.warns(ConvergenceWarning) as caught:
        linear_predict(*train, test.features, max_iterations=2)
    (message,) = {str(one.message) for one in caught}
    assert "has not converged in 2 steps" in message
    assert "\n" not in message


@pytest.mark.parametrize("weight_penalty", [None, 20.0])
def test_at_the_linear_protocols_optimum_the_penalty_pulls_as_much_as_the_samples(weight_penalty):
    """λ W = Σ_i (y_i − p_i) x_iᵀ, and log p is W x plus a constant a class and one a sample."""
    features, labels = torch.randn(60, 3, dtype=torch.float64), torch.arange(60) % 3
    settings = dict(find_protocol("linear-features").settings)
    if weight_penalty is not None:
        settings["weight_penalty"] = weight_penalty
    probabilities = linear_predict(features, labels, features, **settings)
    x = (features - features.mean(0)) / features.std(0, correction=0)
    expected = 3.16 if weight_penalty is None else weight_penalty
    weight = (torch.eye(3).double()[labels] - probabilities).T @ x / expected
    rest = probabilities.log() - x @ weight.T
    rest = rest - rest.mean(dim=1, keepdim=True)
    torch.testing.assert_close(rest, rest.mean(0).expand_as(rest), atol=2e-3, rtol=0)


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


def test_a_protocol_that_needs_more_images_is_refused_with_their_number():
    check_num_training(["knn-20", "linear-features"], 20)
    check_num_training(["linear-features", "linear-online"], 2)
    with pytest.raises(ValueError, match="got knn-20, which needs 20"):
        check_num_training(["linear-features", "knn-20"], 19)
