"""Scores of class predictions, with the record of what they were measured on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from solo_ldm.evaluation.features import Features, check_labels, check_samples
from solo_ldm.evaluation.metrics import (
    calibration_error,
    pad_classes,
    top_k_accuracy,
    wilson_interval,
)
from solo_ldm.evaluation.protocols import ONLINE, ONLINE_PROTOCOL, find_protocol

FEATURE_LAYER = "pooled backbone output"

# Rows of float32 shares over a thousand classes sum to one within this.
_ROUNDING = 1e-3

# Larger confusion matrices are left out of results.json: they would be most of it.
MAX_CONFUSION = 100


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well class probabilities fit the true classes, over M test samples of C classes.

    Args:
        protocol: its name.
        settings: of the protocol.
        top1: share of the test samples whose class has the highest probability, 0 to 1.
        top5: share whose class is among the five highest; None with fewer than six classes,
            where it would be 1 for any features.
        ece: expected calibration error of the highest probability, 0 to 1. The shares of a
            nearest-neighbour vote are no calibrated probabilities.
        interval: ends of the 95 % Wilson score interval of `top1`, 0 to 1.
        per_class: recall by class number; None for a class without test samples.
        confusion: (C, C) counts, a row a true class, a column a predicted one.
        num_train: training samples.
        num_test: M.
        seconds: wall-clock time of the prediction.
        epoch: epochs of pretraining of the features; None where not known.
        feature_layer: what the features are.
        preprocessing: how images became inputs: image_size, mean, std, view, backend.
    """

    protocol: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    top1: float
    top5: float | None
    ece: float
    interval: tuple[float, float]
    per_class: list[float | None]
    confusion: list[list[int]]
    num_train: int = 0
    num_test: int
    seconds: float = 0.0
    epoch: int | None = None
    feature_layer: str = FEATURE_LAYER
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the content for results.json; the confusion matrix of at most 100 classes."""
        content = {**asdict(self), "interval": list(self.interval)}
        if len(self.confusion) > MAX_CONFUSION:
            content["confusion"] = None
        return content


def score_predictions(probabilities: Tensor, labels: Tensor, **record: Any) -> Score:
    """Compare class probabilities with the true classes.

    Args:
        probabilities: (M, C), rows sum to one, C at least 2.
        labels: (M,) integers from 0 to C - 1.
        **record: the fields of `Score` that are not measured here.

    Returns:
        The score. Ties go to the class with the lower number, on every device.

    Raises:
        ValueError: in one line, for shapes that do not fit, a row that is no distribution, or a
            label without a column.
    """
    probabilities, labels = _checked(probabilities, labels)
    num_samples, num_classes = probabilities.shape
    # The CPU's argmax names the first of equal values, as `top_k_accuracy` does.
    predicted = probabilities.argmax(dim=1)
    num_correct = int((predicted == labels).sum())
    cells = torch.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    confusion = cells.reshape(num_classes, num_classes)
    counts = confusion.sum(dim=1).tolist()
    found = confusion.diagonal().tolist()
    return Score(
        top1=num_correct / num_samples,
        top5=top_k_accuracy(probabilities, labels, 5) if num_classes > 5 else None,
        ece=calibration_error(probabilities, labels),
        interval=wilson_interval(num_correct, num_samples),
        per_class=[hits / n if n else None for hits, n in zip(found, counts, strict=True)],
        confusion=confusion.tolist(),
        num_test=num_samples,
        **record,
    )


def _checked(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Refuse rows that are no distribution over the labels; return both on the CPU, in float64."""
    if probabilities.ndim != 2 or len(probabilities) == 0 or probabilities.shape[1] < 2:
        raise ValueError(
            "probabilities: expected (samples, classes), at least one sample and two classes, "
            f"got {tuple(probabilities.shape)}"
        )
    check_labels("test", labels, len(probabilities))
    probabilities = probabilities.detach().to("cpu", torch.float64)
    off = ~((probabilities >= 0).all(dim=1) & ((probabilities.sum(dim=1) - 1).abs() < _ROUNDING))
    if off.any():
        first = int(off.nonzero()[0])
        raise ValueError(
            f"probabilities: expected rows from 0 to 1 that sum to one, got {int(off.sum())} of "
            f"{len(off)} that do not, first row {first} with sum "
            f"{probabilities[first].sum().item():.3g}; take the softmax of scores first"
        )
    labels = labels.cpu().long()
    num_classes = probabilities.shape[1]
    if int(labels.max()) >= num_classes:
        raise ValueError(
            f"test labels: expected classes 0 to {num_classes - 1}, one a column of the "
            f"probabilities, got {int(labels.max())}; pad the probabilities (pad_classes)"
        )
    return probabilities, labels


def evaluate(protocol_name: str, train: Features, test: Features, **record: Any) -> Score:
    """Score features by a named protocol.

    Args:
        protocol_name: a key of `PROTOCOLS`.
        train: features (N, D) and labels (N,) of the training split.
        test: features (M, D) and labels (M,) of the test split. A class without a training sample
            counts as a class, and its samples as wrong.
        **record: `epoch`, `feature_layer` and `preprocessing` of the score.

    Returns:
        The score; accuracies as shares, 0 to 1.

    Raises:
        ValueError: in one line, for an unknown protocol, one that trains a network, features that
            are not finite, a single class, or shapes that do not fit.
    """
    protocol = find_protocol(protocol_name)
    if protocol.predict is None:
        raise ValueError(
            f"protocol {protocol_name}: needs what was trained beside the backbone; list it in "
            "evaluation.protocols of a pretraining run, or use main_linear.py"
        )
    check_samples(protocol_name, train, test)
    module, _, function = protocol.predict.partition(":")
    predict = getattr(import_module(module), function)
    start = time.perf_counter()
    probabilities = predict(*train, test.features, **protocol.settings)
    probabilities = probabilities.cpu()  # also waits for the GPU, whose work is timed
    return score_predictions(
        pad_classes(probabilities, int(test.labels.max()) + 1),
        test.labels,
        protocol=protocol_name,
        settings=dict(protocol.settings),
        num_train=len(train.features),
        seconds=time.perf_counter() - start,
        **record,
    )


def predict_classes(classifier: nn.Module, features: Tensor) -> Tensor:
    """Return a classifier's probabilities (M, C) of features (M, D), in float64 on the CPU."""
    weight = next(classifier.parameters())
    with torch.no_grad():
        logits = classifier(features.to(weight.device, weight.dtype))
    return logits.cpu().double().softmax(dim=1)


def score_online(classifier: nn.Module, test: Features, **record: Any) -> Score:
    """Score the classifier that was trained beside the backbone (protocol linear-online).

    Args:
        classifier: maps features (M, D) to logits (M, C).
        test: features (M, D) and labels (M,) of the test split.
        **record: as of `evaluate`, and `num_train`.
    """
    start = time.perf_counter()
    probabilities = predict_classes(classifier, test.features)
    return score_predictions(
        probabilities,
        test.labels,
        protocol=ONLINE,
        settings=dict(ONLINE_PROTOCOL.settings),
        seconds=time.perf_counter() - start,
        **record,
    )
