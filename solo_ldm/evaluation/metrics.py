"""Measures of class probabilities: accuracy, its interval, calibration."""

from __future__ import annotations

import torch
from torch import Tensor

CALIBRATION_BINS = 15


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
    from scipy.stats import binomtest  # takes a second

    interval = binomtest(num_correct, num_samples).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)


def pad_classes(probabilities: Tensor, num_classes: int) -> Tensor:
    """Append columns of probability zero for classes without a training sample.

    Args:
        probabilities: (M, C).
        num_classes: wanted columns; nothing changes where there are as many already.

    Returns:
        (M, max(C, num_classes)).
    """
    missing = max(0, num_classes - probabilities.shape[1])
    return torch.nn.functional.pad(probabilities, (0, missing))


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Compute the expected calibration error of the predicted class.

    With B_b the samples whose highest probability lies in [b, b + 1) / 15, the last bin closed,

        ECE = sum_b |B_b| / M · | mean accuracy in B_b - mean highest probability in B_b |

    Args:
        probabilities: (M, C), rows sum to one.
        labels: (M,) integers from 0 to C - 1.

    Returns:
        The error, 0 to 1.

    Source: Guo, Pleiss, Sun and Weinberger 2017 (arXiv 1706.04599), equation 3.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error

    # torchmetrics puts a probability of exactly one into a sixteenth bin; a unanimous vote of the
    # neighbours has one.
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
