"""Named protocols: how features are scored, with every setting that the score depends on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from solo_ldm.evaluation.features import Features, check_features, check_labels
from solo_ldm.evaluation.knn import knn_predict
from solo_ldm.evaluation.linear import linear_predict
from solo_ldm.evaluation.metrics import Assessment, assess_predictions, pad_classes

FEATURE_LAYER = "pooled backbone output"

# A confusion matrix of more classes would be most of a results.json, and nobody reads its numbers.
MAX_CONFUSION = 100


def _as_they_are(output: Tensor) -> Tensor:
    return output


@dataclass(frozen=True)
class Protocol:
    """One way to score features. A change of a setting is a new protocol with a new name.

    Args:
        name: as in `PROTOCOLS`, on the command line and in results.
        description: a line for people.
        predict: maps train features (N, D), train labels (N,) and test features (M, D) to an
            output (M, C), a column a class; called with the settings.
        settings: the keyword arguments of `predict`, stored in results.
        to_probabilities: maps that output to probabilities (M, C), rows sum to one.
    """

    name: str
    description: str
    predict: Callable[..., Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    to_probabilities: Callable[[Tensor], Tensor] = _as_they_are


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="knn-20",
            description="weighted vote of the 20 nearest training samples by cosine similarity",
            predict=knn_predict,  # shares of the vote: probabilities as they are
            settings={"num_neighbours": 20, "temperature": 0.07, "distance": "cosine"},
        ),
        Protocol(
            name="linear-features",
            description="logistic regression on standardised features of unaugmented images",
            predict=linear_predict,
            settings={"weight_penalty": 3.16, "max_iterations": 1000},
            to_probabilities=torch.exp,  # of log-probabilities
        ),
    )
}


def _needs_the_classifier(*features: Tensor, **settings: Any) -> Tensor:
    raise ValueError(
        "protocol linear-online: needs the classifier that was trained during pretraining; list "
        "it in evaluation.protocols of a pretraining run, or use main_linear.py"
    )


ONLINE = Protocol(
    name="linear-online",
    description="the linear classifier trained beside the backbone, on detached features",
    predict=_needs_the_classifier,
    settings={"trained": "during pretraining, on augmented views, detached features"},
)

# They train a network, so that no function of features can run them.
TRAINED_PROTOCOLS = ("linear-offline", "finetune")


@dataclass(frozen=True)
class Score:
    """What a protocol says of features, and where the features came from.

    Args:
        protocol: its name.
        settings: of the protocol.
        top1: share of the test samples whose class has the highest probability, 0 to 1.
        top5: share whose class is among the five highest; None with fewer than six classes,
            where it would be 1 for any features.
        ece: expected calibration error of the highest probability, 0 to 1. That of a vote of
            neighbours is of the shares of the vote, which no training has calibrated.
        interval: ends of the 95 % Wilson score interval of `top1`, 0 to 1.
        per_class: recall by class number; None for a class without test samples.
        confusion: counts, a row a true class, a column a predicted one.
        num_train: training samples.
        num_test: test samples.
        seconds: wall-clock time of the prediction.
        epoch: epochs of pretraining of the features; None where not known.
        feature_layer: what the features are.
        preprocessing: how images became inputs: image_size, mean, std, view, backend.
    """

    protocol: str
    settings: dict[str, Any]
    top1: float
    top5: float | None
    ece: float
    interval: tuple[float, float]
    per_class: list[float | None]
    confusion: list[list[int]]
    num_train: int
    num_test: int
    seconds: float
    epoch: int | None = None
    feature_layer: str = FEATURE_LAYER
    preprocessing: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the content for results.json, confusion only of at most a hundred classes."""
        content = asdict(self)
        content["interval"] = list(self.interval)
        if len(self.confusion) > MAX_CONFUSION:
            content["confusion"] = None
        return content


def evaluate(
    protocol_name: str,
    train: Features,
    test: Features,
    *,
    epoch: int | None = None,
    feature_layer: str = FEATURE_LAYER,
    preprocessing: Mapping[str, Any] | None = None,
) -> Score:
    """Score features by a named protocol.

    Args:
        protocol_name: a key of `PROTOCOLS`.
        train: features (N, D) and labels (N,) of the training split.
        test: features (M, D) and labels (M,) of the test split. A class without a training sample
            counts as a class, and its samples as wrong.
        epoch: epochs of pretraining of the features, for the record.
        feature_layer: what the features are, for the record.
        preprocessing: how images became inputs, for the record.

    Returns:
        The score; accuracies as shares, 0 to 1.

    Raises:
        ValueError: in one line, for an unknown protocol, one that trains a network, features that
            are not finite, a single class, or shapes that do not fit.
    """
    protocol = find_protocol(protocol_name)
    check_samples(protocol_name, train, test)
    start = time.perf_counter()
    output = protocol.predict(train.features, train.labels, test.features, **protocol.settings)
    output = output.cpu()  # also waits for the GPU, so that the time is that of the work
    seconds = time.perf_counter() - start
    probabilities = pad_classes(protocol.to_probabilities(output), int(test.labels.max()) + 1)
    return score_of(
        assess_predictions(probabilities, test.labels),
        protocol=protocol.name,
        settings=dict(protocol.settings),
        num_train=len(train.features),
        seconds=seconds,
        epoch=epoch,
        feature_layer=feature_layer,
        preprocessing=dict(preprocessing or {}),
    )


def score_of(assessment: Assessment, **about: Any) -> Score:
    """Join what was measured with what it was measured of.

    Args:
        assessment: of the predictions.
        **about: the fields of `Score` that an assessment lacks.
    """
    measured = {name: getattr(assessment, name) for name in assessment.__dataclass_fields__}
    return Score(**measured, **about)


def find_protocol(name: str) -> Protocol:
    """Find a protocol by its name.

    Args:
        name: a key of `PROTOCOLS`, or linear-online.

    Returns:
        The protocol.

    Raises:
        ValueError: for a protocol that trains a network, or an unknown name, with the nearest one
            where there is one.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name == ONLINE.name:
        return ONLINE
    known = [*PROTOCOLS, ONLINE.name]
    if name in TRAINED_PROTOCOLS:
        raise ValueError(
            f"protocol: expected one of {', '.join(known)}, got {name}, which trains a network; "
            "run it with main_linear.py (solo-ldm linear)"
        )
    nearest = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise ValueError(f"protocol: expected one of {', '.join(known)}, got {name!r}{hint}")


def check_samples(what: str, train: Features, test: Features) -> None:
    """Check that features can be trained and tested on.

    Args:
        what: is being done with them, for the message.
        train: features (N, D) and labels (N,).
        test: features (M, D) and labels (M,).

    Raises:
        ValueError: in one line, for features that are not finite, a single class, or shapes that
            do not fit.
    """
    check_features(train.features, train.labels, test.features)
    check_labels("test", test.labels, len(test.features))
    _check_finite("train", train.features)
    _check_finite("test", test.features)
    if len(train.labels.unique()) < 2:
        raise ValueError(
            f"{what}: expected at least 2 classes in the training labels, got only class "
            f"{int(train.labels[0])}; is the data set sorted by class and cut short?"
        )


def _check_finite(name: str, features: Tensor) -> None:
    num_bad = int((~features.isfinite()).any(dim=1).sum())
    if num_bad:
        raise ValueError(
            f"{name} features: expected finite numbers, got {num_bad} of {len(features)} samples "
            "with NaN or infinity; the weights have diverged, use an earlier checkpoint or a "
            "lower learning rate"
        )
