"""Named protocols: how features are scored, with every setting that the score depends on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from solo_ldm.evaluation.features import Features, check_features, check_labels
from solo_ldm.evaluation.knn import knn_predict
from solo_ldm.evaluation.linear import linear_predict


@dataclass(frozen=True)
class Protocol:
    """One way to score features. A change of a setting is a new protocol with a new name.

    Args:
        name: as in `PROTOCOLS`, on the command line and in results.
        description: a line for people.
        predict: maps train features (N, D), train labels (N,) and test features (M, D) to class
            scores (M, C), higher is likelier; called with the settings.
        settings: the keyword arguments of `predict`, stored in results.
    """

    name: str
    description: str
    predict: Callable[..., Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="knn-20",
            description="weighted vote of the 20 nearest training samples by cosine similarity",
            predict=knn_predict,
            settings={"num_neighbours": 20, "temperature": 0.07},
        ),
        Protocol(
            name="linear-features",
            description="logistic regression on standardised features of unaugmented images",
            predict=linear_predict,
            settings={"weight_penalty": 1e-4, "max_iterations": 1000},
        ),
    )
}


@dataclass(frozen=True)
class Score:
    """What a protocol says of features.

    Args:
        protocol: its name.
        top1: share of the test samples whose class has the highest score, 0 to 1.
        top5: share whose class is among the five highest; None with fewer than six classes,
            where it would be 1 for any features.
        num_train: training samples.
        num_test: test samples.
        settings: of the protocol.
        seconds: wall-clock time of the prediction.
    """

    protocol: str
    top1: float
    top5: float | None
    num_train: int
    num_test: int
    settings: dict[str, Any]
    seconds: float


def evaluate(protocol_name: str, train: Features, test: Features) -> Score:
    """Score features by a named protocol.

    Args:
        protocol_name: a key of `PROTOCOLS`.
        train: features (N, D) and labels (N,) of the training split.
        test: features (M, D) and labels (M,) of the test split. A class without a training sample
            counts as a class, and its samples as wrong.

    Returns:
        The score; accuracies as shares, 0 to 1.

    Raises:
        ValueError: in one line, for an unknown protocol, features that are not finite, a single
            class, or shapes that do not fit.
    """
    protocol = find_protocol(protocol_name)
    check_features(train.features, train.labels, test.features)
    check_labels("test", test.labels, len(test.features))
    _check_finite("train", train.features)
    _check_finite("test", test.features)
    if len(train.labels.unique()) < 2:
        raise ValueError(
            f"{protocol_name}: expected at least 2 classes in the training labels, got only class "
            f"{int(train.labels[0])}; is the data set sorted by class and cut short?"
        )
    start = time.perf_counter()
    scores = protocol.predict(train.features, train.labels, test.features, **protocol.settings)
    scores = scores.cpu()  # also waits for the GPU, so that the time is that of the work
    seconds = time.perf_counter() - start

    labels = test.labels.cpu().long()
    num_unseen = int(labels.max()) + 1 - scores.shape[1]
    if num_unseen > 0:
        unseen = scores.new_full((len(scores), num_unseen), float("-inf"))
        scores = torch.cat([scores, unseen], dim=1)
    num_classes = scores.shape[1]
    return Score(
        protocol=protocol.name,
        top1=top_k_accuracy(scores, labels, 1),
        top5=top_k_accuracy(scores, labels, 5) if num_classes > 5 else None,
        num_train=len(train.features),
        num_test=len(test.features),
        settings=dict(protocol.settings),
        seconds=seconds,
    )


def find_protocol(name: str) -> Protocol:
    """Find a protocol by its name.

    Args:
        name: a key of `PROTOCOLS`.

    Returns:
        The protocol.

    Raises:
        ValueError: for an unknown name, with the nearest one where there is one.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    nearest = get_close_matches(name, PROTOCOLS, n=1, cutoff=0.4)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise ValueError(f"protocol: expected one of {', '.join(PROTOCOLS)}, got {name!r}{hint}")


def top_k_accuracy(scores: Tensor, labels: Tensor, k: int) -> float:
    """Count how often the true class is among the k highest scores.

    Args:
        scores: (M, C), C at least k.
        labels: (M,) integers from 0 to C - 1.
        k: classes that may be named.

    Returns:
        A share of the samples, 0 to 1. Ties go to the class with the lower number, on every device.
    """
    # Not torch.topk nor torchmetrics, which leave the order of ties to the device: a vote of 20
    # neighbours gives most classes exactly zero, so that ties are the rule beyond the first class.
    ranking = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
    return (ranking == labels[:, None]).any(dim=1).double().mean().item()


def _check_finite(name: str, features: Tensor) -> None:
    num_bad = int((~features.isfinite()).any(dim=1).sum())
    if num_bad:
        raise ValueError(
            f"{name} features: expected finite numbers, got {num_bad} of {len(features)} samples "
            "with NaN or infinity; the weights have diverged, use an earlier checkpoint or a "
            "lower learning rate"
        )
