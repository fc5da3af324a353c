"""Health of features or latents without labels: how far they spread, and in how many directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_ldm.evaluation.features import check_finite, check_vectors

# Samples that are converted to float64 at a time: bounds the copy, not the result.
CHUNK_SIZE = 8192

# A spread this far below the size of the features is rounding in float32.
ROUNDING = 4 * torch.finfo(torch.float32).eps

# On the plane two samples at this standard deviation are 2 * 0.05^2 apart per dimension, 0.025 nats
# of log p at the paper's prediction precision of 5: the model takes them for one.
COLLAPSED_STD_PLANE = 0.05
# Spread over the sphere, latents have a standard deviation of 1/sqrt(D), 0.02 for D = 2048; a
# twentieth of that is a point.
COLLAPSED_STD_SPHERE = 1e-3

# On the sphere the variance is 1 - mean cosine: less than 0.01 is a point.
COLLAPSED_COSINE = 0.99

# One direction, or two of very unequal variance: a line, whatever the dimension.
COLLAPSED_RANK = 2.0

# Accuracy falls with the rank (Garrido et al. 2023), but what rank is good depends on the data: a
# judgement, low so that a warning means trouble.
COLLAPSED_RANK_SHARE = 0.02

# Within a factor of ten of the largest float16, where mixed precision turns to infinity.
EXPLODED_STD = 1e4

# No warning where a measure has moved away from collapse by this factor since the last check, as it
# does for most networks in the first epochs.
RECOVERY = 1.05


class Health(NamedTuple):
    """What `health` measures, over N samples of dimension D; NaN where the input is not finite.

    Args:
        std_mean: standard deviation of a dimension, mean over the dimensions, input units.
        std_min: the smallest of them.
        effective_rank: 0 (a point) to min(N - 1, D).
        mean_cosine: of two different samples, -1 / (N - 1) to 1.
        num_samples: N.
        num_dims: D.
    """

    std_mean: float
    std_min: float
    effective_rank: float
    mean_cosine: float
    num_samples: int
    num_dims: int


def covariance_spectrum(features: Tensor) -> Tensor:
    """Compute the eigenvalues of the features' covariance.

        Cov = sum_i (x_i - mean)(x_i - mean)^T / (N - 1)

    Args:
        features: (N, D), N at least 2, finite.

    Returns:
        (D,) descending, not negative, in input units squared, float64 where the device has it.

    Raises:
        ValueError: for another shape, or features that are not finite.
    """
    check_vectors("features", features, at_least=2)
    check_finite("features", features)
    num_samples, num_dims = features.shape
    features = features.detach()
    dtype = _wide_dtype(features)
    mean = features.mean(dim=0, dtype=dtype)
    if num_samples < num_dims:
        # The Gram matrix has the same eigenvalues but for zeros, and is the smaller one.
        centred = features.to(dtype) - mean
        scatter = centred @ centred.T
    else:
        scatter = mean.new_zeros(num_dims, num_dims)
        for chunk in features.split(CHUNK_SIZE):
            centred = chunk.to(dtype) - mean
            scatter += centred.T @ centred
    eigenvalues = torch.linalg.eigvalsh(scatter / (num_samples - 1)).clamp(min=0).flip(0)
    return F.pad(eigenvalues, (0, num_dims - len(eigenvalues)))


def effective_rank(features: Tensor) -> float:
    """Compute the effective number of directions that the features vary in.

    With lambda_d the eigenvalues of the covariance,

        p_d = lambda_d / sum_e lambda_e,    effective rank = exp( -sum_d p_d log p_d )

    p_d is the share of the *variance* along direction d. Roy and Vetterli, and RankMe after them,
    take shares of the singular values of the features as they are, neither squared nor centred.
    We square because variance is what entropy and prediction act on, and centre because an offset
    that all samples share does not distinguish them. Both measures give D for isotropic features;
    on centred features ours is never the larger one, and falls sooner when few directions dominate.

    Args:
        features: (N, D), N at least 2, finite.

    Returns:
        1 to min(N - 1, D), or 0 where all samples are equal up to float32 rounding.

    Raises:
        ValueError: as `covariance_spectrum`.

    Source: Roy and Vetterli 2007, "The effective rank"; RankMe, Garrido et al. 2023
    (arXiv 2210.02885).
    """
    eigenvalues = covariance_spectrum(features)
    variance = eigenvalues.sum()
    mean = features.detach().mean(dim=0, dtype=eigenvalues.dtype)
    if variance <= ROUNDING**2 * mean.square().sum() or variance == 0:
        return 0.0
    return torch.special.entr(eigenvalues / variance).sum().exp().item()


def health(z: Tensor) -> Health:
    """Measure the spread of latents or features.

    The mean cosine of different samples needs no pairs: with u_i = z_i / ||z_i||,

        sum_{i != j} u_i^T u_j = || sum_i u_i ||^2 - sum_i || u_i ||^2

    Args:
        z: (N, D), N at least 2.

    Returns:
        The measures, each finite if z is, also for samples that are all equal or all zero.

    Raises:
        ValueError: for another shape.
    """
    check_vectors("features", z, at_least=2)
    z = z.detach()
    num_samples, num_dims = z.shape
    if not z.isfinite().all():
        return Health(math.nan, math.nan, math.nan, math.nan, num_samples, num_dims)
    dtype = _wide_dtype(z)
    mean = z.mean(dim=0, dtype=dtype)
    squares, direction, num_directed = torch.zeros_like(mean), torch.zeros_like(mean), 0.0
    for chunk in z.split(CHUNK_SIZE):
        chunk = chunk.to(dtype)
        squares += (chunk - mean).square().sum(dim=0)
        unit = F.normalize(chunk, dim=1)
        direction += unit.sum(dim=0)
        num_directed += unit.square().sum().item()  # zero vectors point nowhere and count as zero
    std = (squares / (num_samples - 1)).sqrt()
    cosine_sum = direction.square().sum().item() - num_directed
    return Health(
        std_mean=std.mean().item(),
        std_min=std.min().item(),
        effective_rank=effective_rank(z),
        mean_cosine=cosine_sum / (num_samples * (num_samples - 1)),
        num_samples=num_samples,
        num_dims=num_dims,
    )


def diagnose(
    health: Health,
    previous: Health | None = None,
    sphere: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> str | None:
    """Name in one line what is wrong with latents, the likely cause, and what to change.

    Args:
        health: of the latents now.
        previous: of the latents at the check before; no warning where a collapse recedes, as
            untrained networks start near one.
        sphere: whether the direction of a latent means something, as on the sphere and, of
            categories, on the simplex. False on the plane, where a shift of all latents changes
            neither the model nor the entropy, but the mean cosine.
        settings: the method's own, complete; advice names keys that are among them.

    Returns:
        The warning, or None if nothing is wrong.
    """
    if not all(map(math.isfinite, health)):
        return (
            "Latents are not finite: the run has diverged. Lower optimizer.lr, or train in "
            "bf16-mixed or 32 bits precision."
        )
    if health.std_mean > EXPLODED_STD:
        return (
            f"Latents explode (standard deviation {health.std_mean:.1e}): "
            f"{advice(settings, explosion=True)}"
        )
    if health.std_mean < (COLLAPSED_STD_SPHERE if sphere else COLLAPSED_STD_PLANE):
        if previous is not None and health.std_mean > RECOVERY * previous.std_mean:
            return None
        return (
            f"Complete collapse (standard deviation {health.std_mean:.1e}): all samples map to one "
            f"point. {advice(settings)}"
        )
    if sphere and health.mean_cosine > COLLAPSED_COSINE:
        if previous is not None and 1 - health.mean_cosine > RECOVERY * (1 - previous.mean_cosine):
            return None
        return (
            f"Complete collapse (mean cosine {health.mean_cosine:.4f}): all samples point the same "
            f"way. {advice(settings)}"
        )
    available = min(health.num_samples - 1, health.num_dims)
    # In two or three dimensions a rank below two may be all there is: ask for half.
    enough = max(min(COLLAPSED_RANK, available / 2), COLLAPSED_RANK_SHARE * available)
    if health.effective_rank < enough:
        if previous is not None and health.effective_rank > RECOVERY * previous.effective_rank:
            return None
        return (
            f"Dimensional collapse (effective rank {health.effective_rank:.1f} of {available}): "
            f"samples differ along few directions. {advice(settings)}"
        )
    return None


def advice(settings: Mapping[str, Any] | None, explosion: bool = False) -> str:
    """Say what to change in a configuration whose latents collapse or explode.

    Args:
        settings: the method's own, complete; a method off the grid leaves the optimiser's. None, if
            it is not known which method it is, takes it for one with an entropy.
        explosion: whether they explode.
    """
    given = {"entropy": "any", "entropy_weight": 1.0, "prediction_precision": 1.0}
    known = {**(given if settings is None else settings)}
    known |= known.get("latent_kwargs") or {}
    has_entropy = known.get("entropy", "none") != "none"
    apart, together = [], []
    if has_entropy:
        apart = [name for name in ("entropy_weight",) if known.get(name) is not None]
        precision = "largest_precision" if known.get("learn_precision") else "prediction_precision"
        names = (precision, "match_probability", "first_match_probability")
        together = [name for name in names if known.get(name) is not None]
    elif known.get("target") == "moving_average":
        apart = ["base_tau"]
    apart, together = ([f"method_kwargs.{name}" for name in names] for names in (apart, together))
    if explosion:
        cause = "entropy outweighs prediction, or the" if has_entropy else "the"
        lower = [*(apart if has_entropy else []), "optimizer.lr"]
        more = f", or raise {' or '.join(together)}" if together else ""
        return f"{cause} learning rate is too high. Lower {' or '.join(lower)}{more}."
    apart += ["optimizer.batch_size"] if has_entropy else []
    parts = [f"raise {' or '.join(apart)}"] if apart else []
    parts.append(f"lower {' or '.join([*together, 'optimizer.lr'])}")
    if known.get("entropy") == "none":
        parts.append("give method_kwargs.entropy")
        if known.get("target") in ("same", "detached"):
            parts.append("set method_kwargs.target=moving_average")
    line = ", or ".join(parts)
    return f"{line[0].upper()}{line[1:]}."


def _wide_dtype(features: Tensor) -> torch.dtype:
    return torch.float32 if features.device.type == "mps" else torch.float64
