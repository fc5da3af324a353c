"""Evaluation of features: named protocols with labels, and health without them."""

from solo_ldm.evaluation.features import Features, extract_features
from solo_ldm.evaluation.knn import DISTANCES, Distance, KnnVote, knn_grid, knn_predict
from solo_ldm.evaluation.linear import linear_predict
from solo_ldm.evaluation.metrics import (
    Assessment,
    assess_predictions,
    pad_classes,
    top_k_accuracy,
    wilson_interval,
)
from solo_ldm.evaluation.protocols import (
    FEATURE_LAYER,
    ONLINE,
    PROTOCOLS,
    Protocol,
    Score,
    check_samples,
    evaluate,
    find_protocol,
    score_of,
)
from solo_ldm.evaluation.spectrum import (
    Health,
    covariance_spectrum,
    diagnose,
    effective_rank,
    health,
)

__all__ = [
    "DISTANCES",
    "FEATURE_LAYER",
    "ONLINE",
    "PROTOCOLS",
    "Assessment",
    "Distance",
    "Features",
    "Health",
    "KnnVote",
    "Protocol",
    "Score",
    "assess_predictions",
    "check_samples",
    "covariance_spectrum",
    "diagnose",
    "effective_rank",
    "evaluate",
    "extract_features",
    "find_protocol",
    "health",
    "knn_grid",
    "knn_predict",
    "linear_predict",
    "pad_classes",
    "score_of",
    "top_k_accuracy",
    "wilson_interval",
]
