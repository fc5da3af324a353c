"""How well recovered latents agree with the true ones, up to an affine map.

A linear-Gaussian model of the latents fits equally well after any invertible affine map of them, so
true latents are identifiable up to an affine map (Mikulasch & Zenke, arXiv 2605.03517). Latents are
(M, m) over M time bins; everything is computed in float64 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from predictive.decoding.bins import sums_of_squares, wide
from solo_ldm.evaluation.gradients import cosines, gradients_of, inner_products


@dataclass(frozen=True, eq=False)
class AffineFit:
    """An affine map between latents, y ≈ x · matrix + offset, and its score.

    Args:
        r2: coefficient of determination on the scored part, pooled over dimensions.
        per_dim: the same for each dimension of y, (k,).
        matrix: (m, k).
        offset: (k,).
    """

    r2: float
    per_dim: Tensor
    matrix: Tensor
    offset: Tensor


@dataclass(frozen=True, eq=False)
class Identifiability:
    """Agreement of recovered with true latents, see `identifiability`.

    Args:
        to_true: the affine map from recovered to true latents.
        to_recovered: the affine map from true to recovered latents.
        procrustes: the rotation and scale from recovered to true; None for unequal dimensions.
    """

    to_true: AffineFit
    to_recovered: AffineFit
    procrustes: AffineFit | None


def affine_r2(
    fit_recovered: Tensor, fit_true: Tensor, score_recovered: Tensor, score_true: Tensor
) -> AffineFit:
    """Fit the best affine map from recovered to true latents, and score it on other sequences.

    min over matrix, offset of Σ ‖y − x · matrix − offset‖² on the first part; R² on the second.
    R² is 1 where the latents are identified up to an affine map, and does not change under
    invertible affine maps of the recovered latents.

    Args:
        fit_recovered: x of the sequences fitted on, (M, m).
        fit_true: y of the same bins, (M, k); bins with NaN are left out, here and below.
        score_recovered: x of other sequences, (M', m).
        score_true: y of the same bins, (M', k).

    Raises:
        ValueError: shapes that do not fit, NaN in x, no more known bins to fit on than m + 1.

    Source:
        The measure of Mikulasch & Zenke, arXiv 2605.03517: identifiability up to an affine map.
    """
    x, y, centre, target_centre = _parts(fit_recovered, fit_true, score_recovered, score_true)
    # Standardised, and by singular values: latents may be nearly collinear or constant.
    scale = x.std(dim=0, correction=0)
    scale = torch.where(scale > 0.0, scale, 1.0)
    matrix = torch.linalg.lstsq(x / scale, y, driver="gelsd").solution / scale[:, None]
    return _scored(matrix, centre, target_centre, score_recovered, score_true)


def procrustes_r2(
    fit_recovered: Tensor, fit_true: Tensor, score_recovered: Tensor, score_true: Tensor
) -> AffineFit:
    """Fit the best rotation, scale and offset from recovered to true latents; score elsewhere.

    min over s, R, offset of Σ ‖y − s x R − offset‖² with Rᵀ R = I: of centred latents
    xᵀy = U Σ Vᵀ, R = U Vᵀ (a reflection where that is better), s = tr Σ / Σ ‖x‖². Stricter than
    `affine_r2`: the recovered latents must also have the shape of the true ones.

    Args:
        fit_recovered: x of the sequences fitted on, (M, k).
        fit_true: y of the same bins, (M, k).
        score_recovered: x of other sequences, (M', k).
        score_true: y of the same bins, (M', k).

    Raises:
        ValueError: as `affine_r2`; recovered and true latents of different dimension.

    Source:
        Schönemann (1966), "A generalized solution of the orthogonal Procrustes problem"; compared
        with identifiability up to an affine map, Mikulasch & Zenke, arXiv 2605.03517.
    """
    x, y, centre, target_centre = _parts(fit_recovered, fit_true, score_recovered, score_true)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"latents: expected the same dimension for a rotation, got {x.shape[1]} recovered and "
            f"{y.shape[1]} true; use affine_r2"
        )
    left, values, right = torch.linalg.svd(x.mT @ y)
    size = x.square().sum()
    scale = values.sum() / size if size > 0.0 else size
    return _scored(scale * left @ right, centre, target_centre, score_recovered, score_true)


def identifiability(
    fit_recovered: Tensor, fit_true: Tensor, score_recovered: Tensor, score_true: Tensor
) -> Identifiability:
    """Score the affine maps in both directions, and the rotation where there can be one.

    The first direction measures whether the recovered latents determine the true ones, the second
    whether they contain anything else. Both are 1 for latents identified up to an affine map
    (Mikulasch & Zenke, arXiv 2605.03517). Args and Raises: see `affine_r2`.
    """
    forward = (fit_recovered, fit_true, score_recovered, score_true)
    # Unknown true latents are NaN, which inputs must not be.
    fit, other = (wide(true).isfinite().all(dim=1) for true in (fit_true, score_true))
    backward = (fit_true[fit], fit_recovered[fit], score_true[other], score_recovered[other])
    same = fit_recovered.shape[1] == fit_true.shape[1]
    return Identifiability(
        affine_r2(*forward), affine_r2(*backward), procrustes_r2(*forward) if same else None
    )


def cosine_similarity_of_gradients(
    first: Tensor, second: Tensor, parameters: Iterable[Parameter]
) -> float:
    """Return the cosine between the gradients of two scalars over the same parameters.

    cos = ⟨∇a, ∇b⟩ / (‖∇a‖ ‖∇b‖): 1 for the same direction of descent, −1 for opposite ones.

    Args:
        first: a, a scalar with a graph; the graph is kept for further use.
        second: b, the same.
        parameters: what is differentiated; those that a scalar does not reach count as zero.

    Returns:
        Between −1 and 1, summed in float64; NaN where a gradient is zero and has no direction.

    Raises:
        ValueError: no parameters that are trained; an input that is no scalar.

    Source:
        The comparison of two objectives by their gradients in Mikulasch & Zenke, arXiv 2605.03517.
    """
    return float(cosines(inner_products(gradients_of([first, second], parameters)))[0, 1])


def _parts(
    fit_x: Tensor, fit_y: Tensor, score_x: Tensor, score_y: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Check the shapes; return the centred latents that are fitted on, and their centres."""
    shapes = [tuple(part.shape) for part in (fit_x, fit_y, score_x, score_y)]
    if (
        any(len(shape) != 2 for shape in shapes)
        or shapes[0][0] != shapes[1][0]
        or shapes[2][0] != shapes[3][0]
        or shapes[0][1] != shapes[2][1]
        or shapes[1][1] != shapes[3][1]
    ):
        raise ValueError(
            "latents: expected (bins, dimensions), recovered and true over the same bins, of the "
            f"same dimensions in the fitted and the scored part, got {shapes}"
        )
    x, y = wide(fit_x), wide(fit_y)
    if not (x.isfinite().all() and score_x.isfinite().all()):
        raise ValueError(
            "latents: expected finite ones, got NaN or infinity; leave out padded bins, and check "
            "that the training did not diverge"
        )
    known = y.isfinite().all(dim=1)
    x, y = x[known], y[known]
    if len(x) <= x.shape[1] + 1:
        raise ValueError(
            f"latents: expected more than {x.shape[1] + 1} bins with known true latents to fit "
            f"{x.shape[1]} latents, got {len(x)}"
        )
    return x - x.mean(dim=0), y - y.mean(dim=0), x.mean(dim=0), y.mean(dim=0)


def _scored(
    matrix: Tensor, centre: Tensor, target_centre: Tensor, features: Tensor, targets: Tensor
) -> AffineFit:
    offset = target_centre - centre @ matrix
    # Centred before the product, so that large means cost no digits.
    predictions = (wide(features) - centre) @ matrix + target_centre
    squares, total = sums_of_squares(targets, predictions)
    return AffineFit(float(1 - squares.sum() / total.sum()), 1 - squares / total, matrix, offset)
