"""Alignment and uniformity of views, and two label-free scores: RankMe and LiDAR."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_ldm.evaluation.features import check_finite, check_vectors
from solo_ldm.evaluation.spectrum import CHUNK_SIZE
from solo_ldm.numerics import widen
from solo_ldm.pairs import row_blocks, small_gram, squared_distances

# Added to shares before their entropy is taken, by RankMe and LiDAR alike.
_SHARE_OFFSET = 1e-7

# Of LiDAR, as published. It is absolute: of features that vary less within an image, LiDAR is the
# effective rank of the means of the images.
LIDAR_RIDGE = 1e-4


def alignment(z1: Tensor, z2: Tensor, power: float = 2.0) -> float:
    """Compute the mean distance between the directions of two views.

        E ‖ z1/‖z1‖ − z2/‖z2‖ ‖^α

    Args:
        z1: features or latents (N, D) of one view of each image.
        z2: of another view of the same images.
        power: α.

    Returns:
        0 (the same directions) to 2^α.

    Raises:
        ValueError: in one line: other shapes, or numbers that are not finite.

    Source: Wang & Isola 2020 (arXiv 2005.10242), the alignment loss.
    """
    if z1.shape != z2.shape:
        raise ValueError(
            "views: expected the same images, equal shapes, got "
            f"{tuple(z1.shape)} and {tuple(z2.shape)}"
        )
    one, other = _directions(z1), _directions(z2)
    return (one - other).norm(dim=1).pow(power).mean().item()


def uniformity(z: Tensor, precision: float = 2.0) -> float:
    """Compute how evenly directions are spread over the sphere: all pairs, in blocks.

        log( 1 / (N (N − 1)) Σ_{i≠j} exp(−t ‖ z_i/‖z_i‖ − z_j/‖z_j‖ ‖²) )

    Args:
        z: features or latents (N, D), N at least 2.
        precision: t, above zero.

    Returns:
        −4 t (not reached) to 0 (one direction), in nats; lower is more even.

    Raises:
        ValueError: in one line: another shape, or numbers that are not finite.

    Source: Wang & Isola 2020 (arXiv 2005.10242), the uniformity loss, of different samples as
    in their code.
    """
    check_vectors("latents", z, at_least=2)
    unit = _directions(z)
    unit = unit - unit.mean(dim=0)
    total, count = unit.new_zeros(()), len(unit)
    for rows in row_blocks(slice(0, count), count):
        kernel = squared_distances(unit, rows).mul_(-precision).exp_()
        total += kernel.sum() - kernel.diagonal(rows.start).sum()
    return (total / (count * (count - 1))).log().item()


def rankme(features: Tensor) -> float:
    """Compute RankMe, the effective rank of the features as they are.

        p_k = σ_k / Σ_l σ_l + 1e-7,    RankMe = exp( −Σ_k p_k log p_k )

    with σ_k the singular values of the features, not centred. `effective_rank` is of the variance.

    Args:
        features: (N, D), finite.

    Returns:
        1 to min(N, D) (and a little more, by the offset); 0 where all features are zero.

    Raises:
        ValueError: in one line: another shape, or numbers that are not finite.

    Source: Garrido et al. 2023 (arXiv 2210.02885).
    """
    check_vectors("features", features)
    check_finite("features", features)
    squares = torch.linalg.eigvalsh(small_gram(widen(features.detach())))
    return _effective_number(squares.clamp(min=0).sqrt())


def lidar(views: Tensor, ridge: float = LIDAR_RIDGE) -> float:
    """Compute LiDAR, the effective number of directions that tell images apart despite the views.

        Σ_b = mean_i (μ_i − μ)(μ_i − μ)ᵀ,    Σ_w = mean_iv (z_iv − μ_i)(z_iv − μ_i)ᵀ + δ I
        λ = eigenvalues of Σ_w^(−1/2) Σ_b Σ_w^(−1/2)
        p_k = λ_k / Σ_l λ_l + 1e-7,    LiDAR = exp( −Σ_k p_k log p_k )

    with μ_i the mean over the views of image i. Each image is a class.

    Args:
        views: features or latents (N, q, D) of q views of N images, both at least 2.
        ridge: δ, in the unit of the features squared.

    Returns:
        1 to min(N − 1, D) (and a little more, by the offset); 0 where all means are equal.

    Raises:
        ValueError: in one line: another shape, or numbers that are not finite.

    Source: Thilak et al. 2023 (arXiv 2312.04000).
    """
    if views.ndim != 3 or views.shape[0] < 2 or views.shape[1] < 2:
        raise ValueError(
            "views: expected (images, views, dimensions), at least two images and two views, got "
            f"{tuple(views.shape)}"
        )
    check_finite("views", views.flatten(1))
    num_images, num_views, num_dims = views.shape
    means = views.detach().mean(dim=1, dtype=widen(views[:1, 0].detach()).dtype)
    within = means.new_zeros(num_dims, num_dims)
    size = max(1, CHUNK_SIZE // num_views)
    for some, their in zip(views.detach().split(size), means.split(size), strict=True):
        inner = (widen(some) - their[:, None]).flatten(0, 1)
        within += inner.T @ inner / (num_images * num_views)
    within.diagonal().add_(ridge)
    outer = means - means.mean(dim=0)
    factor = torch.linalg.cholesky(within)
    # Σ_w = LLᵀ: L⁻¹ Σ_b L⁻ᵀ has the eigenvalues of the definition.
    white = torch.linalg.solve_triangular(factor, outer.T, upper=False)
    return _effective_number(torch.linalg.eigvalsh(small_gram(white.T) / len(outer)).clamp(min=0))


def _effective_number(sizes: Tensor) -> float:
    total = sizes.sum()
    if total == 0:
        return 0.0
    return torch.special.entr(sizes / total + _SHARE_OFFSET).sum().exp().item()


def _directions(z: Tensor) -> Tensor:
    check_vectors("latents", z)
    check_finite("latents", z)
    return F.normalize(widen(z.detach()), dim=1)
