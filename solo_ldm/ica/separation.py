"""Linear ICA: the unmixing that minimises the objective, by L-BFGS from several starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from solo_ldm.ica.models import GeneralisedGaussian, OrnsteinUhlenbeck, SourceModel
from solo_ldm.ica.objective import ICAObjective, ica_entropy
from solo_ldm.objective import LDMTerms

Unmixing = Literal["square", "orthogonal", "rotation"]
MODELS = ("generalised_gaussian", "ornstein_uhlenbeck")

# A direction of the mixtures with less than this share of their largest variance is rounding.
_SMALLEST_VARIANCE = 1e-10
_OPTIONS = {"maxiter": 500, "maxfun": 2000, "maxcor": 20, "gtol": 1e-7}
# Relative changes of the loss at which descent ends: an estimate from a part of the samples is not
# worth more.
_EXACT_TOLERANCE, _ESTIMATE_TOLERANCE = 1e-12, 1e-8

# Entropies that fall without bound as a latent shrinks, as fast as they should.
_UNBOUNDED = ("exact", "logdet")


@dataclass(frozen=True)
class Separation:
    """Sources told apart.

    Args:
        unmixing: W (N, N): sources = (mixtures − mean) Wᵀ.
        mean: of the mixtures (N,).
        sources: the recovered ones (T, N), at the scale of the model (variance one, or its own).
        model: with what it learned of the sources.
        loss: nats per sample, with respect to the whitened mixtures (H[q(x)] dropped).
        log_prob: its first term, E[log p(z)].
        entropy: its second: log |det W| of the whitened mixtures, or the estimate.
        restart_losses: the loss that every start ended with; the lowest was taken.
    """

    unmixing: Tensor
    mean: Tensor
    sources: Tensor
    model: SourceModel
    loss: float
    log_prob: float
    entropy: float
    restart_losses: tuple[float, ...]


def separate(
    mixtures: Tensor,
    model: str = "generalised_gaussian",
    *,
    unmixing: Unmixing = "square",
    entropy: str = "exact",
    entropy_kwargs: Mapping[str, Any] | None = None,
    entropy_samples: int = 1000,
    smallest_shape: float = 1.0,
    restarts: int = 3,
    seed: int = 0,
) -> Separation:
    """Find the unmixing under which the latents are distributed most like independent sources.

    The mixtures are centred and, unless the unmixing is a rotation, whitened; then
    −E[log p(W x)] − H[q(W x)] is minimised in W and in what the model learns.

    Args:
        mixtures: x (T, N), T samples of N mixtures of N sources.
        model: generalised_gaussian, or ornstein_uhlenbeck for rows that are equal steps in time.
        unmixing: "square": any invertible W; "orthogonal": an orthogonal one of the whitened
            mixtures, sources then being exactly uncorrelated; "rotation": an orthogonal one of the
            mixtures themselves, for mixings that keep lengths: the variance of a source is then
            learned and tells it apart (ornstein_uhlenbeck alone).
        entropy: a name in `ICA_ENTROPIES`.
        entropy_kwargs: the estimator's own settings.
        entropy_samples: how many rows an estimator is given, drawn once.
        smallest_shape: of generalised_gaussian, see `GeneralisedGaussian`.
        restarts: random starts.
        seed: of the starts and of those rows.

    Returns:
        The separation with the lowest loss.

    Raises:
        ValueError: mixtures of another shape, not finite or linearly dependent; a setting that
            does not exist or does not fit.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517; Liu & Nocedal, Math. Programming 45, 503 (1989).
    """
    _check_choices(model, unmixing, entropy, restarts, entropy_samples)
    estimator = ica_entropy(entropy, entropy_kwargs)
    mixtures = check_mixtures(mixtures)
    mean = mixtures.mean(dim=0)
    sphere = whitening(mixtures)
    if unmixing == "rotation":
        sphere = torch.eye(mixtures.shape[1], dtype=torch.float64)
    prepared = (mixtures - mean) @ sphere.T
    number = prepared.shape[1]

    def build() -> SourceModel:
        if model == "generalised_gaussian":
            return GeneralisedGaussian(number, smallest_shape=smallest_shape)
        return OrnsteinUhlenbeck(number, learn_variance=unmixing == "rotation")

    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(prepared), generator=generator)[:entropy_samples]
    runs = [
        _descend(
            prepared,
            ICAObjective(build(), estimator),
            _Unmixing(random_orthogonal(number, generator), unmixing != "square"),
            chosen,
        )
        for _ in range(restarts)
    ]
    losses = tuple(float(terms.loss) for _, _, terms in runs)
    finite = [number for number, loss in enumerate(losses) if loss == loss]
    if not finite:
        raise ValueError("the loss of every start became nan: try unmixing=orthogonal")
    source_model, matrix, terms = runs[min(finite, key=lambda number: losses[number])]
    whole = matrix @ sphere
    return Separation(
        unmixing=whole,
        mean=mean,
        sources=(mixtures - mean) @ whole.T,
        model=source_model,
        loss=float(terms.loss),
        log_prob=float(terms.log_prob),
        entropy=float(terms.entropy),
        restart_losses=losses,
    )


def _check_choices(
    model: str, unmixing: str, entropy: str, restarts: int, entropy_samples: int
) -> None:
    if model not in MODELS:
        raise ValueError(f"model: expected one of {', '.join(MODELS)}, got {model!r}")
    if unmixing not in get_args(Unmixing):
        listed = ", ".join(get_args(Unmixing))
        raise ValueError(f"unmixing: expected one of {listed}, got {unmixing!r}")
    if unmixing == "rotation" and model != "ornstein_uhlenbeck":
        raise ValueError(
            "unmixing=rotation is for model=ornstein_uhlenbeck, whose variances are learned; "
            "set unmixing=square or orthogonal"
        )
    if model == "ornstein_uhlenbeck" and unmixing == "square" and entropy not in _UNBOUNDED:
        raise ValueError(
            f"entropy={entropy} stays finite as a latent shrinks, while the density of an "
            "Ornstein–Uhlenbeck step does not: set entropy=exact or logdet, or unmixing=orthogonal"
        )
    for name, number in (("restarts", restarts), ("entropy_samples", entropy_samples)):
        if number < 1:
            raise ValueError(f"{name}: expected at least 1, got {number}")


def check_mixtures(mixtures: Tensor) -> Tensor:
    """Return mixtures in float64.

    Raises:
        ValueError: they are not (T, N) with T > N ≥ 2, or not finite.
    """
    shape = tuple(mixtures.shape)
    if mixtures.ndim != 2 or shape[1] < 2 or shape[0] <= shape[1]:
        hint = ": transpose it?" if mixtures.ndim == 2 and 2 <= shape[0] < shape[1] else ""
        raise ValueError(
            "mixtures: expected (T, N), more samples T than mixtures N and at least 2 of these, "
            f"got {shape}{hint}"
        )
    if mixtures.is_complex() or not bool(torch.isfinite(mixtures).all()):
        raise ValueError("mixtures: expected finite real numbers: leave out or fill in the others")
    return mixtures.to(torch.float64)


def whitening(mixtures: Tensor) -> Tensor:
    """Return the symmetric matrix that makes the covariance of mixtures (T, N) the identity.

    Raises:
        ValueError: the mixtures are linearly dependent.
    """
    values, vectors = torch.linalg.eigh(torch.cov(mixtures.T))
    rank = int((values > _SMALLEST_VARIANCE * values[-1].clamp_min(1e-300)).sum())
    if rank < len(values):
        raise ValueError(
            f"mixtures: {len(values)} were given but only {rank} are linearly independent: leave "
            f"out {len(values) - rank} of them"
        )
    return (vectors / values.sqrt()) @ vectors.T


def random_orthogonal(size: int, generator: torch.Generator) -> Tensor:
    """Return a rotation drawn uniformly, in float64."""
    matrix = torch.randn(size, size, generator=generator, dtype=torch.float64)
    rotation, triangle = torch.linalg.qr(matrix)
    rotation = rotation * triangle.diagonal().sign()
    rotation[0] *= torch.linalg.det(rotation).sign()
    return rotation


class _Unmixing(nn.Module):
    """W = start + change, or start times the rotation exp(change − changeᵀ)."""

    def __init__(self, start: Tensor, orthogonal: bool) -> None:
        super().__init__()
        self.start, self.orthogonal = start, orthogonal
        self.change = nn.Parameter(torch.zeros(start.shape, dtype=start.dtype))

    def forward(self) -> Tensor:
        if not self.orthogonal:
            return self.start + self.change
        lower = self.change.tril(-1)
        return torch.matrix_exp(lower - lower.T) @ self.start


def _descend(
    mixtures: Tensor, objective: ICAObjective, unmixing: _Unmixing, chosen: Tensor
) -> tuple[SourceModel, Tensor, LDMTerms]:
    """Return the model, W and the terms at the minimum that a start leads to."""
    objective.model.start_at(mixtures @ unmixing.start.T)
    learned = [p for p in (*objective.parameters(), *unmixing.parameters()) if p.requires_grad]

    def loss_and_gradient(position: np.ndarray) -> tuple[float, np.ndarray]:
        vector_to_parameters(torch.from_numpy(position.copy()), learned)
        loss = objective(mixtures, unmixing(), chosen).loss
        parts = torch.autograd.grad(loss, learned)
        gradient = torch.cat([part.reshape(-1) for part in parts])
        return float(loss.detach()), gradient.numpy()

    # scipy's L-BFGS: the first use of one of torch's optimisers takes seconds, for its compiler.
    start = parameters_to_vector(learned).detach().numpy()
    tolerance = _EXACT_TOLERANCE if objective.entropy is None else _ESTIMATE_TOLERANCE
    options = {**_OPTIONS, "ftol": tolerance}
    end = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    vector_to_parameters(torch.from_numpy(end.x), learned)
    with torch.no_grad():
        matrix = unmixing()
        return objective.model, matrix, objective(mixtures, matrix, chosen)
