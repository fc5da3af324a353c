"""Checks of a model, and its layout for the recursions: float64, one group a covariance."""

from __future__ import annotations

from typing import NamedTuple, get_args

import torch
from torch import Tensor

from predictive.filtering.recursions import to_columns
from predictive.filtering.types import Full, Method, Noise, StateSpaceModel, check_mask
from solo_ldm.numerics import widen

# States of the largest recursion that is scanned on a CPU. On one core, with gradients, a scan of
# 1,000 steps took 0.4 times as long as a loop at 2 states, as long at 8, three times at 24.
_MOST_SCANNED = 4
# Asymmetry that rounding of float32 products leaves in symmetric matrices.
_ASYMMETRY = 1e-4


class Prepared(NamedTuple):
    """A model over T steps and B = G · K samples, in statistics precision.

    What steps, groups or columns share has a size of one there: it is broadcast, never repeated.
    """

    transition: Tensor  # (T, G, n, n)
    drift: Tensor  # b − A b, (T, G, n, K)
    process: Tensor  # Q, (T, G, n, n)
    observation_matrix: Tensor  # (T, G, m, n)
    observation_offset: Tensor  # (T, G, m, K)
    observation: Tensor  # R, (T, G, m, m)
    initial_mean: Tensor  # (G, n, K), of full size
    initial_covariance: Tensor  # (G, n, n), of full size
    samples: int
    steps: int


class Data(NamedTuple):
    """Observations with the missing ones replaced by zero."""

    values: Tensor  # (T, G, m, K)
    num_observed: Tensor | int  # dimensions, (B or 1, T)
    known: Tensor | None  # (T, G or 1, m)


def is_parallel(method: Method, groups: int, states: int, device: torch.device) -> bool:
    """Choose scans or loops, or raise a one-line ValueError for an unknown method.

    Recursions of many states, or of their own for many samples, keep a CPU busy in a loop as well,
    and a scan has several times their arithmetic. A small one is bound by the number of calls.
    """
    if method not in get_args(Method):
        raise ValueError(
            f"method: expected one of {', '.join(get_args(Method))}, got {method!r}; "
            "leave it out for the faster one"
        )
    if method == "auto":
        return device.type != "cpu" or (groups == 1 and states <= _MOST_SCANNED)
    return method == "parallel"


def prepare(
    model: StateSpaceModel, samples: int, steps: int, known: Tensor | None = None
) -> Prepared:
    """Check the model against B samples of T steps and lay it out.

    Args:
        model: see `StateSpaceModel`.
        samples: B.
        steps: T.
        known: the mask (B or 1, T, m); one that differs between samples separates covariances.

    Raises:
        ValueError: wrong shapes, non-finite values, variances that are not positive, covariances
            that are not symmetric positive definite.
    """
    for name in ("transition", "observation_matrix"):
        if getattr(model, name).ndim < 2:
            raise ValueError(
                f"{name}: expected a matrix, got shape {tuple(getattr(model, name).shape)}; "
                "a single number is the matrix [[x]]"
            )
    n, m = model.transition.shape[-1], model.observation_matrix.shape[-2]

    def sequence(value: Tensor, core: tuple[int, ...], name: str) -> Tensor:
        return _sequence(value, core, name, samples, steps)

    a = sequence(model.transition, (n, n), "transition")
    d = sequence(model.observation_matrix, (m, n), "observation_matrix")
    b = sequence(model.offset, (n,), "offset")
    q = _noise(model.process_noise, n, "process_noise", samples, steps)
    r = _noise(model.observation_noise, m, "observation_noise", samples, steps)
    c = model.observation_offset
    c = d.new_zeros(1, 1, m) if c is None else sequence(c, (m,), "observation_offset")
    mean = _initial(model.initial_mean, (n,), "initial_mean", samples)
    covariance = _initial(model.initial_covariance, (n, n), "initial_covariance", samples)
    _check_covariance(covariance, "initial_covariance")

    separate = [x.shape[0] for x in (a, d, q, r, covariance)]
    separate += [1 if known is None else known.shape[0]]
    groups, columns = (samples, 1) if max(separate) > 1 else (1, samples)
    point, a = to_columns(b, groups), a.transpose(0, 1)
    return Prepared(
        transition=a,
        drift=point - a @ point,
        process=q.transpose(0, 1),
        observation_matrix=d.transpose(0, 1),
        observation_offset=to_columns(c, groups),
        observation=r.transpose(0, 1),
        initial_mean=to_columns(mean[:, None], groups)[0].expand(groups, n, columns),
        initial_covariance=covariance.expand(groups, n, n),
        samples=samples,
        steps=steps,
    )


def prepare_data(
    model: StateSpaceModel, observations: Tensor, mask: Tensor | None
) -> tuple[Prepared, Data]:
    """Check observations, mask and model together and lay them out.

    Raises:
        ValueError: as `prepare`; observations that are not (B, T, m), or not finite where the mask
            says that they were made; a mask of the wrong shape or type.
    """
    m = model.observation_matrix.shape[-2] if model.observation_matrix.ndim > 1 else "m"
    shape = tuple(observations.shape)
    if not observations.is_floating_point() or len(shape) != 3 or shape[2] != m or 0 in shape:
        raise ValueError(
            f"observations: expected floating-point values (B, T, {m}), B and T at least 1, got "
            f"{shape} of {observations.dtype}; add a batch dimension of 1 to a single recording"
        )
    known = None if mask is None else check_mask(mask, observations)
    # Replaced, not multiplied: NaN · 0 is NaN, in the backward pass as well.
    values = observations if known is None else torch.where(known, observations, 0.0)
    if not is_finite(values):
        raise ValueError(
            "observations: expected finite values, got NaN or infinity; "
            "mark missing values as false in the mask"
        )
    model_ = prepare(model, shape[0], shape[1], known)
    values = to_columns(widen(values), len(model_.initial_mean))
    if known is None:
        return model_, Data(values, shape[2], None)
    # A count in integers times a float would be of single precision.
    return model_, Data(values, known.sum(dim=-1, dtype=values.dtype), known.transpose(0, 1))


def _sequence(value: Tensor, core: tuple[int, ...], name: str, samples: int, steps: int) -> Tensor:
    """Return a parameter as (B or 1, T or 1, *core), finite and in statistics precision."""
    lead = tuple(value.shape[: max(value.ndim - len(core), 0)])
    fits = zip(reversed(lead), (steps, samples), strict=False)
    if (
        tuple(value.shape[len(lead) :]) != core
        or len(lead) > 2
        or any(got not in (1, wanted) for got, wanted in fits)
    ):
        tail = ", ".join(map(str, core))
        raise ValueError(
            f"{name}: expected shape ({tail}), ({steps}, {tail}) or ({samples}, {steps}, {tail}) "
            f"for {samples} samples of {steps} steps, got {tuple(value.shape)}; "
            "put time before the parameter's own dimensions, and the sample before time"
        )
    _check_finite(value, name)
    return widen(value)[(None,) * (2 - len(lead))]


def _noise(noise: Noise, dim: int, name: str, samples: int, steps: int) -> Tensor:
    """Return covariances (B or 1, T or 1, d, d) of a noise."""
    if isinstance(noise, Full):
        covariance = _sequence(noise.covariance, (dim, dim), name, samples, steps)
        _check_covariance(covariance, name)
        return covariance
    variance = _sequence(noise, (dim,), name, samples, steps)
    if not (variance > 0).all():
        raise ValueError(
            f"{name}: expected variances above zero, got {variance.min().item():.3g}; "
            "parametrise by logarithms, or add a small constant"
        )
    return torch.diag_embed(variance)


def _initial(value: Tensor, core: tuple[int, ...], name: str, samples: int) -> Tensor:
    """Return an initial parameter as (B or 1, *core), finite and in statistics precision."""
    batched = value if value.ndim > len(core) else value[None]
    if tuple(batched.shape[1:]) != core or batched.shape[0] not in (1, samples):
        tail = ", ".join(map(str, core))
        raise ValueError(
            f"{name}: expected shape ({tail}) or ({samples}, {tail}) for {samples} samples, "
            f"got {tuple(value.shape)}; it has as many dimensions as the transition"
        )
    _check_finite(value, name)
    return widen(batched)


def is_finite(value: Tensor) -> bool:
    """Return whether no value is NaN or infinite, in the fewest calls."""
    value = value.detach()
    return not (value - value).any()


def _check_finite(value: Tensor, name: str) -> None:
    if not is_finite(value):
        raise ValueError(
            f"{name}: expected finite values, got NaN or infinity; "
            "look for a diverging optimiser, or lower its learning rate"
        )


def _check_covariance(covariance: Tensor, name: str) -> None:
    scale = covariance.diagonal(dim1=-2, dim2=-1).abs().amax(dim=-1)[..., None, None]
    if ((covariance - covariance.mT).abs() > _ASYMMETRY * scale).any():
        raise ValueError(
            f"{name}: expected symmetric covariances, got asymmetric ones; "
            "pass (x + x.mT) / 2, or the square L @ L.mT of a factor"
        )
    if torch.linalg.cholesky_ex(covariance.detach()).info.any():
        smallest = torch.linalg.eigvalsh(covariance.detach()).min().item()
        raise ValueError(
            f"{name}: expected positive definite covariances, got a smallest eigenvalue of "
            f"{smallest:.3g}; add a small multiple of the identity"
        )
