"""Linear ICA: the unmixing that minimises the objective, by L-BFGS from several random starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from solo_ldm.config.arguments import Bounds, checked
from solo_ldm.ica.models import GeneralisedGaussian, OrnsteinUhlenbeck, SourceModel
from solo_ldm.ica.objective import ICAObjective, ica_entropy
from solo_ldm.objective import LDMTerms

Model = Literal["generalised_gaussian", "ornstein_uhlenbeck"]
Unmixing = Literal["square", "orthogonal", "rotation"]
MODELS = get_args(Model)

# Directions of the mixtures with less than this share of the largest variance are rounding error.
_SMALLEST_VARIANCE = 1e-10
_OPTIONS = {"maxiter": 500, "maxfun": 2000, "maxcor": 20, "gtol": 1e-7}
# Relative change of the loss at which the descent ends; an estimate from a subset of the samples
# is less accurate than the exact term.
_EXACT_TOLERANCE, _ESTIMATE_TOLERANCE = 1e-12, 1e-8

# Entropies that go to −∞ as a latent shrinks, at the right rate.
_UNBOUNDED = ("exact", "logdet")


@dataclass(frozen=True)
class Separation:
    """The result of `separate`.

    Args:
        unmixing: W (N, N): sources = (mixtures − mean) Wᵀ.
        mean: of the mixtures (N,).
        sources: the recovered ones (T, N), at the scale of the model (variance one unless learned).
        model: of the sources, fitted.
        loss: nats per sample, with respect to the whitened mixtures (H[q(x)] dropped).
        log_prob: its first term, E[log p(z)].
        entropy: its second: log |det W| of the whitened mixtures, or the estimate.
        restart_losses: final loss of each start; the lowest was taken.
    """

    unmixing: Tensor
    mean: Tensor
    sources: Tensor
    model: SourceModel
    loss: float
    log_prob: float
    entropy: float
    restart_losses: tuple[float, ...]


@checked
def separate(
    mixtures: Tensor,
    model: Model = "generalised_gaussian",
    *,
    unmixing: Unmixing = "square",
    entropy: str = "exact",
    entropy_kwargs: Mapping[str, Any] | None = None,
    entropy_samples: Annotated[int, Bounds(1)] = 1000,
    smallest_shape: float = 1.0,
    restarts: Annotated[int, Bounds(1)] = 3,
    seed: int = 0,
    on_start: Callable[[], None] = lambda: None,
) -> Separation:
    """Find the unmixing whose latents best match the model of independent sources.

    The mixtures are centred and, unless the unmixing is a rotation, whitened; then
    −E[log p(W x)] − H[q(W x)] is minimised in W and in the parameters of the model.

    Args:
        mixtures: x (T, N), T samples of N mixtures of N sources.
        model: generalised_gaussian, or ornstein_uhlenbeck for rows that are equal steps in time.
        unmixing: "square": any invertible W; "orthogonal": W orthogonal on the whitened mixtures,
            so that the sources are exactly uncorrelated; "rotation": W orthogonal on the mixtures
            themselves, for mixings that keep lengths: the variances of the sources are then learned
            and identify them as well (ornstein_uhlenbeck only).
        entropy: see `ica_entropy`.
        entropy_kwargs: settings of the estimator.
        entropy_samples: number of rows that the estimator sees, drawn once.
        smallest_shape: of generalised_gaussian, see `GeneralisedGaussian`.
        restarts: number of random starts.
        seed: of the starts and of those rows.
        on_start: called after each start.

    Returns:
        The separation with the lowest loss.

    Raises:
        ValueError: mixtures of another shape, not finite or linearly dependent; a setting that
            is unknown or out of its range.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517; Liu & Nocedal, Math. Programming 45, 503 (1989).
    """
    _check_choices(model, unmixing, entropy)
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
    runs = []
    for _ in range(restarts):
        start = _Unmixing(random_orthogonal(number, generator), unmixing != "square")
        runs.append(_descend(prepared, ICAObjective(build(), estimator), start, chosen))
        on_start()
    losses = tuple(float(terms.loss) for _, _, terms in runs)
    finite = [start for start, loss in enumerate(losses) if not math.isnan(loss)]
    if not finite:
        raise ValueError(
            "loss: expected a number, got nan from every start; try unmixing=orthogonal"
        )
    source_model, matrix, terms = runs[min(finite, key=losses.__getitem__)]
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


def _check_choices(model: str, unmixing: str, entropy: str) -> None:
    if unmixing == "rotation" and model != "ornstein_uhlenbeck":
        raise ValueError(
            f"unmixing=rotation: expected model=ornstein_uhlenbeck, whose variances are learned, "
            f"got {model}; set unmixing=square or orthogonal"
        )
    if model == "ornstein_uhlenbeck" and unmixing == "square" and entropy not in _UNBOUNDED:
        raise ValueError(
            f"entropy: expected exact or logdet, got {entropy}, which stays finite as a latent "
            "shrinks, while the density of an Ornstein–Uhlenbeck step does not; set one of these, "
            "or unmixing=orthogonal"
        )


def check_mixtures(mixtures: Tensor) -> Tensor:
    """Return mixtures in float64.

    Raises:
        ValueError: they are not (T, N) with T > N ≥ 2, or not finite.
    """
    shape = tuple(mixtures.shape)
    if mixtures.ndim != 2 or shape[1] < 2 or shape[0] <= shape[1]:
        hint = "; transpose it?" if mixtures.ndim == 2 and 2 <= shape[0] < shape[1] else ""
        raise ValueError(
            "mixtures: expected (T, N), more samples T than mixtures N and at least 2 of these, "
            f"got {shape}{hint}"
        )
    if mixtures.is_complex() or not bool(torch.isfinite(mixtures).all()):
        raise ValueError("mixtures: expected finite real numbers; leave out or fill in the others")
    return mixtures.to(torch.float64)


def whitening(mixtures: Tensor) -> Tensor:
    """Return the symmetric matrix that whitens mixtures (T, N).

    Raises:
        ValueError: the mixtures are linearly dependent.
    """
    values, vectors = torch.linalg.eigh(torch.cov(mixtures.T))
    rank = int((values > _SMALLEST_VARIANCE * values[-1].clamp_min(1e-300)).sum())
    if rank < len(values):
        raise ValueError(
            f"mixtures: expected {len(values)} linearly independent ones, got only {rank}; leave "
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
    """Return the fitted model, W and the terms at the local minimum reached from a start."""
    objective.model.initialise(mixtures @ unmixing.start.T)
    learned = [p for p in (*objective.parameters(), *unmixing.parameters()) if p.requires_grad]

    def loss_and_gradient(position: np.ndarray) -> tuple[float, np.ndarray]:
        vector_to_parameters(torch.from_numpy(position.copy()), learned)
        loss = objective(mixtures, unmixing(), chosen).loss
        parts = torch.autograd.grad(loss, learned)
        gradient = torch.cat([part.reshape(-1) for part in parts])
        return float(loss.detach()), gradient.numpy()

    # scipy's L-BFGS: the first use of a torch optimiser imports its compiler, which takes seconds.
    start = parameters_to_vector(learned).detach().numpy()
    tolerance = _EXACT_TOLERANCE if objective.entropy is None else _ESTIMATE_TOLERANCE
    options = {**_OPTIONS, "ftol": tolerance}
    end = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    vector_to_parameters(torch.from_numpy(end.x), learned)
    with torch.no_grad():
        matrix = unmixing()
        return objective.model, matrix, objective(mixtures, matrix, chosen)
