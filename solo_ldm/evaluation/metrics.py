"""What probabilities of classes are worth: accuracy, its uncertainty, calibration, confusion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from solo_ldm.evaluation.features import check_labels

CALIBRATION_BINS = 15

# The 97.5 % quantile of the standard normal distribution: 95 % lie within this on both sides.
NORMAL_QUANTILE = 1.959963984540054

# Rows of float32 shares over a thousand classes sum to one within this.
ROUNDING = 1e-3


@dataclass(frozen=True)
class Assessment:
    """How well probabilities of classes fit the true ones, over M samples of C classes.

    Args:
        top1: share of the samples whose class has the highest probability, 0 to 1.
        top5: share whose class is among the five highest; None with fewer than six classes,
            where it would be 1 for any probabilities.
        ece: expected calibration error of the highest probability, 0 to 1.
        interval: the lower and upper end of the 95 % Wilson score interval of `top1`.
        per_class: share of the samples of each class that were found (recall), by class number;
            None for a class without samples.
        confusion: (C, C) counts, a row a true class, a column a predicted one.
        num_test: M.
    """

    top1: float
    top5: float | None
    ece: float
    interval: tuple[float, float]
    per_class: list[float | None]
    confusion: list[list[int]]
    num_test: int


def assess_predictions(probabilities: Tensor, labels: Tensor) -> Assessment:
    """Compare probabilities of classes with the true classes.

    Args:
        probabilities: (M, C), rows sum to one, C at least 2.
        labels: (M,) integers from 0 to C - 1.

    Returns:
        The assessment. Ties go to the class with the lower number, on every device.

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
    return Assessment(
        top1=num_correct / num_samples,
        top5=top_k_accuracy(probabilities, labels, 5) if num_classes > 5 else None,
        ece=_calibration_error(probabilities, labels),
        interval=wilson_interval(num_correct, num_samples),
        per_class=[hits / n if n else None for hits, n in zip(found, counts, strict=True)],
        confusion=confusion.tolist(),
        num_test=num_samples,
    )


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


def wilson_interval(num_correct: int, num_samples: int) -> tuple[float, float]:
    """Compute the 95 % score interval of a share.

    With p = num_correct / n and z the 97.5 % quantile of the standard normal distribution,

        ( p + z^2 / 2n  ±  z sqrt( p (1 - p) / n + z^2 / 4n^2 ) ) / ( 1 + z^2 / n )

    It covers the uncertainty from the finite test set, not that from the seed of training.

    Args:
        num_correct: successes, 0 to n.
        num_samples: n, at least 1.

    Returns:
        The lower and the upper end, each 0 to 1.

    Raises:
        ValueError: for counts out of their range.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not 0 <= num_correct <= num_samples or num_samples < 1:
        raise ValueError(
            f"interval: expected 0 <= correct <= samples and at least one sample, "
            f"got {num_correct} of {num_samples}"
        )
    share, spread = num_correct / num_samples, NORMAL_QUANTILE**2 / num_samples
    centre = share + spread / 2
    half = math.sqrt(spread * share * (1 - share) + spread**2 / 4)
    low, high = ((centre + sign * half) / (1 + spread) for sign in (-1, 1))
    # Rounding must not leave an end on the wrong side of a share of 0 or 1.
    return min(max(low, 0.0), share), max(min(high, 1.0), share)


def pad_classes(probabilities: Tensor, num_classes: int) -> Tensor:
    """Give classes that a protocol did not know of a probability of zero.

    Args:
        probabilities: (M, C).
        num_classes: wanted columns; nothing changes where there are as many already.

    Returns:
        (M, max(C, num_classes)).
    """
    missing = max(0, num_classes - probabilities.shape[1])
    return torch.nn.functional.pad(probabilities, (0, missing))


def _calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Compute the expected calibration error of the predicted class.

    With B_b the samples whose highest probability lies in [b, b + 1) / 15, the last bin closed,

        ECE = sum_b |B_b| / M · | mean accuracy in B_b - mean highest probability in B_b |

    Source: Guo, Pleiss, Sun and Weinberger 2017 (arXiv 1706.04599), equation 3.
    """
    # torchmetrics counts a probability of exactly one in a sixteenth bin; a vote that all
    # neighbours agree on is such a one.
    below_one = probabilities.clamp(0, 1 - 2**-24)
    error = multiclass_calibration_error(
        below_one,
        labels,
        num_classes=probabilities.shape[1],
        n_bins=CALIBRATION_BINS,
        norm="l1",
        validate_args=False,
    )
    return float(error)


def _checked(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return both on the CPU, in float64 and int64."""
    if probabilities.ndim != 2 or len(probabilities) == 0 or probabilities.shape[1] < 2:
        raise ValueError(
            "probabilities: expected (samples, classes), at least one sample and two classes, "
            f"got {tuple(probabilities.shape)}"
        )
    check_labels("test", labels, len(probabilities))
    probabilities = probabilities.detach().to("cpu", torch.float64)
    off = ~((probabilities >= 0).all(dim=1) & ((probabilities.sum(dim=1) - 1).abs() < ROUNDING))
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
