"""Evaluation of features: named protocols with labels, and health without them."""

from solo_ldm.evaluation.features import Features, extract_features
from solo_ldm.evaluation.knn import knn_predict
from solo_ldm.evaluation.linear import linear_predict
from solo_ldm.evaluation.protocols import (
    PROTOCOLS,
    Protocol,
    Score,
    evaluate,
    find_protocol,
    top_k_accuracy,
)
from solo_ldm.evaluation.spectrum import (
    Health,
    covariance_spectrum,
    diagnose,
    effective_rank,
    health,
)

__all__ = [
    "PROTOCOLS",
    "Features",
    "Health",
    "Protocol",
    "Score",
    "covariance_spectrum",
    "diagnose",
    "effective_rank",
    "evaluate",
    "extract_features",
    "find_protocol",
    "health",
    "knn_predict",
    "linear_predict",
    "top_k_accuracy",
]
