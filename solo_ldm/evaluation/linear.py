"""Logistic regression on frozen features."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from solo_ldm.evaluation.features import check_features


def linear_predict(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    weight_penalty: float = 3.16,
    max_iterations: int = 1000,
) -> Tensor:
    """Classify by logistic regression on standardised features, trained to convergence.

    With x the features after subtracting the training mean and dividing by the training standard
    deviation, W and b minimise

        sum_i [ -log softmax(W x_i + b)_{y_i} ] + (weight_penalty / 2) ||W||^2

    Args:
        train_features: (N, D).
        train_labels: (N,) integers from 0, at least two classes.
        test_features: (M, D).
        weight_penalty: relative to the loss summed over samples, as a Gaussian prior's precision
            is: few samples are held back more than many.
        max_iterations: the most steps of L-BFGS; a line says where they do not suffice.

    Returns:
        (M, C) probabilities, C the largest training label plus one, zero for classes without a
        training sample; float64 on the device of `test_features`.

    Raises:
        ValueError: for shapes that do not fit, or a single class.

    Source: the usual linear probe; L-BFGS as in Radford et al. 2021 (arXiv 2103.00020), with the
    penalty of the example in their repository (C = 0.316).
    """
    check_features(train_features, train_labels, test_features)
    labels = train_labels.detach().cpu().numpy()
    if len(np.unique(labels)) < 2:
        raise ValueError(
            f"train labels: expected at least 2 classes, got only class {labels[0]}; "
            "a classifier needs samples of another one"
        )
    scaler = StandardScaler()
    train = scaler.fit_transform(_to_numpy(train_features))
    classifier = LogisticRegression(C=1 / weight_penalty, max_iter=max_iterations, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of six lines
        classifier.fit(train, labels)
    if max(classifier.n_iter_) >= max_iterations:
        warnings.warn(
            f"logistic regression on {train.shape[1]} features has not converged in "
            f"{max_iterations} steps: the score is that of its last step",
            ConvergenceWarning,
            stacklevel=2,
        )
    decision = classifier.decision_function(scaler.transform(_to_numpy(test_features)))
    if decision.ndim == 1:  # two classes: scikit-learn gives the log-odds of the second alone
        decision = np.stack([np.zeros_like(decision), decision], axis=1)
    known = torch.log_softmax(torch.as_tensor(decision, dtype=torch.float64), dim=1).exp()
    probabilities = known.new_zeros(len(known), int(labels.max()) + 1)
    probabilities[:, torch.as_tensor(classifier.classes_, dtype=torch.int64)] = known
    return probabilities.to(test_features.device)


def _to_numpy(features: Tensor) -> np.ndarray:
    return features.detach().to("cpu", torch.float64).numpy()
