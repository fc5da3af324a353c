"""Statistics of a batch that does not fit into memory: chunks are encoded twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from solo_ldm.methods.ldm.whitening import Whitening
from solo_ldm.objective import LDMTerms

Targets = list[Tensor] | None


@dataclass
class _Chunk:
    """A chunk, its latents and targets of each crop, and the random state it was encoded in."""

    batch: Any
    z: list[Tensor]
    targets: Targets
    random: list[Tensor]


class Chunks:
    """Chunks of a batch whose loss is that of all of them together.

    With z_k = f_θ(x_k) of chunk k and L(z_1, …, z_N): each chunk is encoded without a graph, L is
    differentiated by latents, and each chunk is encoded again, in the same random state, to carry
    its part on,

    ∂L/∂θ = Σ_k (∂z_k/∂θ)ᵀ ∂L/∂z_k

    which is the gradient of the large batch, with the memory of a chunk. Batch normalisation takes
    the statistics of each chunk, as it does with accumulation; its averages move once a chunk.

    Args:
        number: N, of chunks between two steps of the optimiser.

    Source:
        Gao, Zhang, Han & Callan (GradCache), arXiv 2101.06983.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._kept: list[_Chunk] = []

    def ends(self, trainer: Any, batch_idx: int) -> bool:
        """Return whether the optimiser steps after this chunk."""
        return (batch_idx + 1) % self.number == 0 or trainer.is_last_batch

    def keep(self, method: Any, batch: Any) -> dict[str, Any]:
        """Encode a chunk without a graph, and return a step without terms.

        Args:
            method: a `solo_ldm.methods.ldm.body.LDMBody`.
            batch: as of its `training_step`.
        """
        indexes, crops, labels = batch
        crops = [crops] if isinstance(crops, Tensor) else crops
        random = _random_state(crops[0].device)
        with torch.no_grad(), averages_held(method):
            z = method.latents(crops)
        # Autocast would use the weights that it has cast here, without gradients, again.
        torch.clear_autocast_cache()
        # Images wait in the memory of the host.
        waiting = [indexes, [crop.to("cpu") for crop in crops], labels]
        self._kept.append(_Chunk(waiting, z, method.targets(crops, z), random))
        nothing = 0.0 * next(method.projector.parameters()).sum()
        return {"loss": nothing, "terms": {}, "z": [], "feats": []}

    def finish(
        self, method: Any, encode: Callable[[Any], dict[str, Any]]
    ) -> tuple[LDMTerms, list[Tensor], dict[str, Any], Tensor]:
        """Differentiate the kept chunks, one at a time.

        Args:
            method: whose chunks they are.
            encode: returns "z", "loss", the classifier's, and what else there is of a batch.

        Returns:
            The terms and the latents of all chunks, what `encode` returned of the last one, and
            what is left to differentiate, N times as large: Lightning divides it by the number of
            chunks.
        """
        kept, self._kept = self._kept, []
        views = [
            torch.cat(parts).requires_grad_()
            for parts in zip(*(chunk.z for chunk in kept), strict=True)
        ]
        known = [chunk.targets for chunk in kept if chunk.targets is not None]
        targets = [torch.cat(parts) for parts in zip(*known, strict=True)] if known else None
        terms = method.match(views, targets)
        # Predictor and objective see the latents of all chunks: their gradients are whole already.
        others = [] if method.predictor is None else list(method.predictor.parameters())
        others += list(method.objective.parameters())
        others = [one for one in others if one.requires_grad]
        found = torch.autograd.grad(terms.loss, [*views, *others], allow_unused=True)
        terms = LDMTerms(*(term.detach() for term in terms))
        gradients = [
            torch.zeros_like(view) if one is None else one
            for view, one in zip(views, found, strict=False)
        ]
        sizes = [len(chunk.z[0]) for chunk in kept]
        shares = list(zip(*(gradient.split(sizes) for gradient in gradients), strict=True))
        for chunk, share in zip(kept[:-1], shares, strict=False):
            _, carried = _carry_on(chunk, share, encode, len(kept))
            method.trainer.strategy.backward(carried, None)
            del carried  # and its graph
        out, left = _carry_on(kept[-1], shares[-1], encode, len(kept))
        for parameter, gradient in zip(others, found[len(views) :], strict=True):
            if gradient is not None:
                left = left + (parameter * gradient).sum()
        return terms, views, out, self.number * left


def _carry_on(
    chunk: _Chunk, share: Sequence[Tensor], encode: Callable[[Any], dict[str, Any]], count: int
) -> tuple[dict[str, Any], Tensor]:
    """Encode a chunk again, and return what it gave and a scalar with the gradients `share`."""
    indexes, crops, labels = chunk.batch
    device = share[0].device
    with _random_state_of(chunk.random, device):
        out = encode([indexes, [crop.to(device) for crop in crops], labels])
    pairs = zip(out["z"], share, strict=True)
    carried = torch.stack([(z * gradient).sum() for z, gradient in pairs]).sum()
    return out, carried + out["loss"] / count


@contextmanager
def averages_held(network: nn.Module) -> Iterator[None]:
    """Let normalisation use the statistics of the batch without moving its running averages."""
    normal = [one for one in network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    white = [one for one in network.modules() if isinstance(one, Whitening)]
    tracked = [one.track_running_stats for one in normal]
    momenta = [one.momentum for one in white]
    try:
        for one in normal:
            one.track_running_stats = False
        for one in white:
            one.momentum = 0.0
        yield
    finally:
        for one, before in zip(normal, tracked, strict=True):
            one.track_running_stats = before
        for one, momentum in zip(white, momenta, strict=True):
            one.momentum = momentum


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


@contextmanager
def _random_state_of(states: Sequence[Tensor], device: torch.device) -> Iterator[None]:
    """Draw as in an earlier state, and go on as if nothing had been drawn."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.set_rng_state(states[0])
        if len(states) > 1:
            torch.cuda.set_rng_state(states[1], device)
        yield
