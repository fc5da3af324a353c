"""One case trained: encoder and predictor from scratch, and how well the sources are recovered."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from solo_ldm.ica.objective import estimators_in_nats, ica_entropy
from solo_ldm.latents import GaussianPlane
from solo_ldm.objective import LDMObjective
from solo_ldm.theorem.alternatives import compare_losses, forward_loss, mean_loss
from solo_ldm.theorem.metrics import Recovery, affine_recovery
from solo_ldm.theorem.problems import NUM_OBSERVED, NUM_SOURCES, Problem

# Estimators with settings that suit latents of three dimensions; others of solo_ldm.entropy keep
# those of ICA. The log-determinant is an upper bound that sees covariances alone: the theorem makes
# no claim about a loss with it.
ENTROPIES: dict[str, dict[str, Any]] = {
    "neighbour": {},
    "kernel": {"kernel_precision": 15.0},
    "logdet": {},
}

# Losses are compared on a part of the held-out pairs, in whole batches of the entropy estimate.
_TRAINED_PAIRS, _HELD_OUT_PAIRS, _JUDGED_PAIRS = 40000, 8000, 2048
_WARM_UP = 0.1
_SIDE, _LINES, _POINTS, _SHOWN = 0.02, 11, 61, 500


@dataclass(frozen=True)
class Grid:
    """Lines of constant s1 and s2 in the plane of the mean s3, and their images.

    Args:
        true: (2, lines, points, 2); first the lines of constant s1, then those of constant s2.
        observed: the best affine map of the observations to (s1, s2), likewise.
        recovered: that of the latents.
    """

    true: np.ndarray
    observed: np.ndarray
    recovered: np.ndarray


@dataclass(frozen=True)
class Trial:
    """The result of a case with a seed.

    Args:
        problem: sources and mixing.
        learned: from the latents, on held-out samples.
        untrained: from the latents before training.
        observed: from the observations.
        gaps: the loss of each alternative of the case less that of the sources.
        learned_gap: the loss of the learned latents and predictor less that of the sources.
        grid: for the picture.
        sources: some held-out samples (B, 3).
        recovered: the same samples from the latents, (B, 3).
        seconds: of the whole trial.
    """

    problem: Problem
    learned: Recovery
    untrained: Recovery
    observed: Recovery
    gaps: dict[str, float]
    learned_gap: float
    grid: Grid
    sources: np.ndarray
    recovered: np.ndarray
    seconds: float


class Skip(nn.Module):
    """A linear map plus a perceptron: y = A x + a + P(x).

    Args:
        num_inputs: units.
        num_hidden: units of each of three hidden layers.
        num_outputs: units.
    """

    def __init__(self, num_inputs: int, num_hidden: int, num_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_outputs)
        hidden: list[nn.Module] = []
        for width in (num_inputs, num_hidden, num_hidden):
            hidden += [nn.Linear(width, num_hidden), nn.SiLU()]
        self.bent = nn.Sequential(*hidden, nn.Linear(num_hidden, num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, num_inputs) to (B, num_outputs)."""
        return self.linear(x) + self.bent(x)


def build_objective(entropy: str, settings: Mapping[str, Any] | None = None) -> LDMObjective:
    """Return −log N(z'; π(z), I) − H per dimension, for latents of as many dimensions as sources.

    Args:
        entropy: a name in `solo_ldm.entropy.ENTROPIES` of an estimator with a value in nats.
        settings: of the estimator, over those of `ENTROPIES`.

    Raises:
        ValueError: another name, or a setting that the estimator lacks or refuses.
    """
    if entropy not in estimators_in_nats():
        known = ", ".join(estimators_in_nats())
        raise ValueError(f"entropy: expected one of {known}, got {entropy!r}")
    estimator: Any = ica_entropy(entropy, {**ENTROPIES.get(entropy, {}), **(settings or {})})
    # Some values count the nats of all dimensions, others those of one, as the log-density does.
    value = torch.zeros((), requires_grad=True)
    nats = estimator.to_nats(value, num_samples=100, dim=NUM_SOURCES)
    weight = float(torch.autograd.grad(nats, value)[0]) / NUM_SOURCES
    # Precision ½ is unit variance of the residuals; another would only change the latents' scale.
    return LDMObjective(GaussianPlane(0.5), estimator, over="pooled", weight=weight)


def run_trial(
    problem: Problem,
    *,
    steps: int = 1500,
    batch_size: int = 256,
    lr: float = 0.02,
    hidden: int = 64,
    entropy: str = "neighbour",
    entropy_kwargs: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    on_step: Callable[[], None] = lambda: None,
) -> Trial:
    """Train an encoder and a predictor on observations alone, and compare with the sources.

    Args:
        problem: sources and mixing; its seed is also that of the networks and the samples.
        steps: of Adam, with a warm-up and a cosine decay to zero.
        batch_size: pairs of successive samples in a step.
        lr: peak learning rate.
        hidden: units of each hidden layer.
        entropy: see `build_objective`.
        entropy_kwargs: settings of the estimator.
        device: to train on.
        on_step: called after each step.

    Raises:
        ValueError: a setting that is unknown or out of its range; latents that are not finite.
    """
    started = time.perf_counter()
    objective = build_objective(entropy, entropy_kwargs)
    if batch_size < objective.fewest_samples:
        raise ValueError(
            f"batch_size: expected at least {objective.fewest_samples}, got {batch_size}"
        )
    generator = torch.Generator().manual_seed(problem.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(problem.seed)
        encoder = Skip(NUM_OBSERVED, hidden, NUM_SOURCES).to(device)
        predictor = Skip(NUM_SOURCES, hidden, NUM_SOURCES).to(device)
    x1, x2 = (problem.observe(s).to(device) for s in problem.pairs(_TRAINED_PAIRS, generator))
    held_out = problem.pairs(_HELD_OUT_PAIRS, generator)
    seen, seen_next = (problem.observe(s).to(device) for s in held_out)
    with torch.no_grad():
        untrained = affine_recovery(encoder(seen), held_out[0])
    learned = [*encoder.parameters(), *predictor.parameters()]
    optimiser = torch.optim.Adam(learned, lr=lr)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = lr * _share(step / steps)
        rows = torch.randint(_TRAINED_PAIRS, (batch_size,), generator=generator).to(device)
        z1, z2 = encoder(x1[rows]), encoder(x2[rows])
        loss = forward_loss(objective, z1, z2, predictor(z1))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        on_step()
    with torch.no_grad():
        z1, z2 = encoder(seen), encoder(seen_next)
        recovery = affine_recovery(z1, held_out[0])
        judged = [part[:_JUDGED_PAIRS] for part in (z1, z2, predictor(z1))]
        learned_loss = mean_loss(objective, *judged)
    before, after = (part[:_JUDGED_PAIRS] for part in held_out)
    true_loss, gaps = compare_losses(problem, objective, (before, after))
    observed = affine_recovery(seen, held_out[0])
    return Trial(
        problem=problem,
        learned=recovery,
        untrained=untrained,
        observed=observed,
        gaps=gaps,
        learned_gap=learned_loss - true_loss,
        grid=_grid(problem, held_out[0], observed, recovery, encoder, device),
        sources=held_out[0][:_SHOWN].numpy(),
        recovered=recovery.align(z1[:_SHOWN]),
        seconds=time.perf_counter() - started,
    )


def _share(progress: float) -> float:
    """Return the learning rate as a share of its peak."""
    if progress < _WARM_UP:
        return (progress + 1e-3) / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (progress - _WARM_UP) / (1.0 - _WARM_UP))


@torch.no_grad()
def _grid(
    problem: Problem,
    sources: Tensor,
    observed: Recovery,
    recovery: Recovery,
    encoder: nn.Module,
    device: str | torch.device,
) -> Grid:
    """Return a grid over the range of all but the outermost sources."""
    low, high = torch.quantile(sources[:, :2], torch.tensor([_SIDE, 1.0 - _SIDE]), dim=0)
    lines, points = torch.linspace(0, 1, _LINES), torch.linspace(0, 1, _POINTS)
    across, along = torch.meshgrid(lines, points, indexing="ij")
    both = torch.stack([torch.stack([across, along], -1), torch.stack([along, across], -1)])
    plane = low + (high - low) * both
    middle = sources[:, 2].mean().expand(*plane.shape[:-1], 1)
    seen = problem.observe(torch.cat([plane, middle], dim=-1).reshape(-1, NUM_SOURCES))
    shape = (*plane.shape[:-1], NUM_SOURCES)
    mapped = recovery.align(encoder(seen.to(device))).reshape(shape)[..., :2]
    return Grid(plane.numpy(), observed.align(seen).reshape(shape)[..., :2], mapped)
