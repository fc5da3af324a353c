"""Metrics of predictions: against scipy, scikit-learn and plain sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, recall_score
from torch import Tensor

from solo_ldm.evaluation.metrics import (
    calibration_error as ours_calibration_error,
)
from solo_ldm.evaluation.metrics import (
    pad_classes,
    top_k_accuracy,
    wilson_interval,
)
from solo_ldm.evaluation.scores import score_predictions


def predictions(num_samples: int = 400, num_classes: int = 7) -> tuple[Tensor, Tensor]:
    labels = torch.randint(0, num_classes, (num_samples,))
    logits = torch.randn(num_samples, num_classes) + 2 * torch.eye(num_classes)[labels]
    return logits.softmax(dim=1), labels


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Sum over fifteen bins of [0, 1], written out."""
    confidence = probabilities.double().numpy().max(axis=1)
    correct = probabilities.numpy().argmax(axis=1) == labels.numpy()
    error = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside = (confidence >= low) & ((confidence < high) | (number == 14))
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            error += inside.mean() * gap
    return error


def test_calibration_error_equals_the_sum_over_bins():
    probabilities, labels = predictions()
    # Votes that all agree are exactly one. In the last bin, and not in one of their own, those
    # that are wrong make up for others that are more often right than sure.
    named = torch.randint(0, 7, (200,))
    sure = torch.eye(7)[named]
    probabilities = torch.cat([probabilities, sure, 0.94 * sure + 0.06 / 7])
    wrong = torch.where(torch.arange(200) < 10, (named + 1) % 7, named)
    labels = torch.cat([labels, wrong, named])
    expected = calibration_error(probabilities, labels)
    assert expected > 0.01
    # torchmetrics adds up in float32.
    assert score_predictions(probabilities, labels).ece == pytest.approx(expected, abs=1e-5)


def test_calibration_error_of_calibrated_probabilities_is_near_zero():
    probabilities, _ = predictions(20000)
    labels = torch.multinomial(probabilities, 1)[:, 0]
    assert score_predictions(probabilities, labels).ece < 0.02


@pytest.mark.parametrize(("correct", "total"), [(0, 10), (10, 10), (1, 3), (950, 1000), (5, 10**6)])
def test_interval_equals_scipys_wilson_interval(correct, total):
    expected = binomtest(correct, total).proportion_ci(method="wilson")
    assert wilson_interval(correct, total) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total <= high <= 1


def test_confusion_and_recall_equal_scikit_learns():
    probabilities, labels = predictions()
    found = score_predictions(probabilities, labels)
    predicted = probabilities.argmax(dim=1)
    np.testing.assert_array_equal(found.confusion, confusion_matrix(labels, predicted))
    expected = recall_score(labels, predicted, average=None)
    np.testing.assert_allclose(np.array(found.per_class, dtype=float), expected)
    assert found.num_test == 400
    assert found.top1 == (predicted == labels).double().mean().item()
    assert found.interval[0] < found.top1 < found.interval[1]


def test_a_class_without_test_samples_has_no_recall():
    probabilities, labels = predictions()
    labels[labels == 3] = 4
    found = score_predictions(probabilities, labels)
    assert found.per_class[3] is None
    assert sum(found.confusion[3]) == 0


def test_ties_go_to_the_class_with_the_lower_number():
    probabilities = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    found = score_predictions(probabilities, torch.tensor([1, 1]))
    assert found.confusion == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert found.top1 == 0.5


def test_top5_is_told_only_of_six_classes_and_more():
    assert score_predictions(*predictions(50, 5)).top5 is None
    found = score_predictions(*predictions(50, 6))
    assert found.top5 is not None
    assert found.top1 <= found.top5 <= 1


def test_unknown_classes_are_padded_with_zero():
    probabilities, labels = predictions()
    padded = pad_classes(probabilities, 9)
    assert padded.shape == (400, 9)
    labels[0] = 8
    assert score_predictions(padded, labels).per_class[8] == 0
    assert pad_classes(probabilities, 3) is probabilities or pad_classes(probabilities, 3).equal(
        probabilities
    )


def test_wrong_predictions_are_one_line():
    probabilities, labels = predictions()
    logits, negative, nan = probabilities.log(), probabilities.clone(), probabilities.clone()
    negative[5, :2] += torch.tensor([-1.0, 1.0])
    nan[7, 0] = float("nan")
    cases = [
        (logits, labels, "400 of 400"),
        (negative, labels, "first row 5"),
        (nan, labels, "first row 7"),
        (probabilities[:, :1], labels, r"got \(400, 1\)"),
        (probabilities[:0], labels[:0], r"got \(0, 7\)"),
        (probabilities, labels[:3], "one per sample"),
        (probabilities, labels + 1, "classes 0 to 6"),
        (probabilities, labels.float(), "integers"),
    ]
    for given, truth, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            score_predictions(given, truth)
        assert "\n" not in str(caught.value)


def test_the_true_class_is_among_the_k_highest_ties_going_to_the_lower_number():
    scores = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.3, 0.3, 0.3], [0.7, 0.1, 0.1, 0.1]])
    labels = torch.tensor([2, 2, 3])
    assert [top_k_accuracy(scores, labels, k) for k in (1, 2, 3, 4)] == pytest.approx(
        [0.0, 1 / 3, 2 / 3, 1.0]
    )


@pytest.mark.parametrize(("correct", "total"), [(-1, 10), (11, 10), (0, 0)])
def test_an_interval_of_impossible_counts_is_one_line(correct, total):
    with pytest.raises(ValueError, match="expected 0 <= correct <= samples") as caught:
        wilson_interval(correct, total)
    assert "\n" not in str(caught.value)
    assert wilson_interval(1, 1)[1] == pytest.approx(1.0)


def test_bins_of_the_calibration_error_are_fifteenths_and_a_certain_prediction_is_in_the_last():
    """Each of 15 bins has one sample, right or wrong in turn; then two certain ones beside it."""
    confidence = (torch.arange(8, 15) + 0.5) / 15
    probabilities = torch.stack([confidence, 1.0 - confidence], dim=1)
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0])
    gaps = (confidence - (labels == 0).float()).abs()
    assert ours_calibration_error(probabilities, labels) == pytest.approx(gaps.mean().item())
    # Two in one bin, of which one is right, make up for each other; in bins of 1 / 16 they do not.
    confidence = torch.tensor([8.1, 8.9]) / 15
    both = torch.stack([confidence, 1.0 - confidence], dim=1)
    ours = ours_calibration_error(both, torch.tensor([0, 1]))
    assert ours == pytest.approx(8.5 / 15 - 0.5, abs=1e-6)
    certain = torch.cat([probabilities[-1:], torch.tensor([[1.0, 0.0], [0.0, 1.0]])])
    gap = abs(1 / 3 - (14.5 / 15 + 2.0) / 3)
    ours = ours_calibration_error(certain, torch.tensor([0, 1, 0]))
    assert ours == pytest.approx(gap, abs=1e-6)
