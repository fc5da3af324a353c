"""How well sources were recovered: up to order, sign and scale, which no ICA can determine."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

_FAST_ICA_ITERATIONS = 1000


class Matching(NamedTuple):
    """Which recovered source is which true one, a value for each true source.

    Args:
        order: column of the recovered source.
        signs: +1 or −1.
        correlations: absolute.
    """

    order: np.ndarray
    signs: np.ndarray
    correlations: np.ndarray


class FastICAResult(NamedTuple):
    """The result of scikit-learn's FastICA.

    Args:
        unmixing: W (N, N).
        converged: whether it stopped before its last iteration.
    """

    unmixing: np.ndarray
    converged: bool


def amari_distance(unmixing: np.ndarray, mixing: np.ndarray) -> float:
    """Return the distance of W A from a permutation of scaled sources: 0 is perfect, 1 the worst.

    With P = W A, its rows scaled to length one,

        d = 1 / (2N(N − 1)) · [ Σ_i ( Σ_j |p_ij| / max_j |p_ij| − 1 )
                              + Σ_j ( Σ_i |p_ij| / max_i |p_ij| − 1 ) ]

    Scaling the rows, which is ours, makes d independent of the scale of the recovered sources,
    which is arbitrary. d depends on the scale of the true sources: give the mixing of sources of
    equal variance.

    Args:
        unmixing: W (N, N).
        mixing: A (N, N).

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: shapes that differ, fewer than two sources, or a row of W A that is zero.

    Source:
        Amari, Cichocki & Yang, NeurIPS 8, 757 (1996), equation of the performance index; divided by
        its largest value as in Bach & Jordan, JMLR 3, 1 (2002).
    """
    unmixing, mixing = np.asarray(unmixing, float), np.asarray(mixing, float)
    number = len(unmixing)
    if unmixing.shape != mixing.shape or unmixing.shape != (number, number) or number < 2:
        raise ValueError(
            "unmixing and mixing: expected two (N, N) matrices, N at least 2, "
            f"got {unmixing.shape} and {mixing.shape}"
        )
    product = np.abs(unmixing @ mixing)
    lengths = np.linalg.norm(product, axis=1, keepdims=True)
    if not lengths.min() > 0 or not product.max(axis=0).min() > 0:
        raise ValueError("unmixing and mixing: expected matrices of full rank")
    product = product / lengths
    rows = product.sum(axis=1) / product.max(axis=1) - 1
    columns = product.sum(axis=0) / product.max(axis=0) - 1
    return float((rows.sum() + columns.sum()) / (2 * number * (number - 1)))


def match_sources(recovered: np.ndarray, sources: np.ndarray) -> Matching:
    """Pair recovered with true sources so that the sum of absolute correlations is largest.

    Args:
        recovered: (T, N).
        sources: (T, N).

    Source:
        The assignment: Crouse, IEEE Trans. Aerosp. Electron. Syst. 52, 1679 (2016), by scipy.
    """
    number = sources.shape[1]
    correlation = np.corrcoef(sources.T, recovered.T)[:number, number:]
    rows, order = linear_sum_assignment(np.abs(correlation), maximize=True)
    matched = correlation[rows, order]
    return Matching(order, np.where(matched < 0, -1.0, 1.0), np.abs(matched))


def fast_ica(mixtures: np.ndarray, seed: int) -> FastICAResult:
    """Run scikit-learn's FastICA with its default settings (parallel, logcosh), 1000 iterations.

    Args:
        mixtures: (T, N).
        seed: of the initial unmixing.

    Source:
        Hyvärinen & Oja, Neural Networks 13, 411 (2000), by scikit-learn.
    """
    algorithm = FastICA(whiten="unit-variance", max_iter=_FAST_ICA_ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        algorithm.fit(mixtures)
    converged = algorithm.n_iter_ < _FAST_ICA_ITERATIONS
    return FastICAResult(np.asarray(algorithm.components_), converged)
