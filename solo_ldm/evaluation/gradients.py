"""Whether objectives ask for the same step: cosines of their gradients, at given weights.

With respect to latents a comparison is about the objectives alone. With respect to the parameters θ
of the network that made them, z = f_θ(x), it is about the steps that training would take: gradients
are then the same ones pulled back, (∂z/∂θ)ᵀ ∂H/∂z, one backward pass an objective.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from solo_ldm.objective import LDMObjective

# Columns that are widened at a time.
_BLOCK = 1 << 20


class Row(NamedTuple):
    """A number about one or two objectives.

    Args:
        quantity: "entropy cosine" or "loss cosine" of two, or "entropy share" of one.
        first: name of an objective.
        second: of the other one, or empty.
        value: the number.
    """

    quantity: str
    first: str
    second: str
    value: float


@dataclass(frozen=True, eq=False)
class GradientSimilarity:
    """Gradients of C objectives beside each other, in float64 on the CPU.

    Args:
        names: of the objectives, (C,).
        entropy: cosines between the gradients of their entropies H alone, (C, C).
        loss: cosines between the gradients of their whole losses, −log p − w H, (C, C).
        entropy_share: of the gradient of each loss, what its entropy contributes along it,
            ⟨∇loss, −w ∇H⟩ / ‖∇loss‖², (C,). The rest, up to 1, is of −log p; where the two oppose
            each other one is above 1 and the other below 0.
    """

    names: tuple[str, ...]
    entropy: Tensor
    loss: Tensor
    entropy_share: Tensor

    def rows(self) -> list[Row]:
        """Return each number by what it is of; a pair comes once."""
        shares = zip(self.names, self.entropy_share.tolist(), strict=True)
        return [
            *pairs("entropy cosine", self.names, self.entropy),
            *pairs("loss cosine", self.names, self.loss),
            *(Row("entropy share", name, "", share) for name, share in shares),
        ]


def compare_objectives(
    z1: Tensor,
    z2: Tensor,
    objectives: Mapping[str, LDMObjective],
    inputs: Iterable[Tensor] | None = None,
    log_prob: Tensor | None = None,
) -> GradientSimilarity:
    """Compare the gradients of objectives on the same two views.

    The loss of an objective is −λ A − w H, with A the mean log-density for a precision of 1, λ the
    prediction precision of its latent model, w and H its weight and entropy. C + 1 gradients are
    taken: that of A is shared.

    Args:
        z1: latents of the first view (B, D), on the support of the objectives, with a graph or
            leaves that require gradients. Graphs are kept.
        z2: latents of the second view (B, D).
        objectives: by name, on one latent model whose log-density is proportional to its precision.
        inputs: what is differentiated, e.g. the parameters of the encoder; z1 and z2 if not given.
        log_prob: A, a scalar, where a predictor or a target takes part in it; that of z1 and z2 if
            not given.

    Returns:
        Cosines and shares; NaN where a gradient is zero and has no direction.

    Raises:
        ValueError: no objectives, different latent models, nothing to differentiate, or latents
            that an objective refuses.

    Source:
        The comparison of entropies by their gradients in Mikulasch & Zenke, arXiv 2605.03517; the
        authors' code takes them with respect to all parameters of the network.
    """
    kinds = {type(one.latent) for one in objectives.values()}
    if len(kinds) != 1:
        found = ", ".join(sorted(kind.__name__ for kind in kinds)) or "none"
        raise ValueError(f"objectives: expected some on one latent model, got {found}")
    precisions = [getattr(one.latent, "prediction_precision", 1.0) for one in objectives.values()]
    terms = [one(z1, z2) for one in objectives.values()]
    if log_prob is None:
        log_prob = terms[0].log_prob / precisions[0]
    values = [log_prob, *(one.entropy for one in terms)]
    products = inner_products(gradients_of(values, (z1, z2) if inputs is None else inputs))
    weights = torch.tensor([one.weight for one in objectives.values()], dtype=torch.float64)
    # Losses are sums of A and entropies, and so are their gradients: a row of coefficients each.
    of_entropy = torch.cat([torch.zeros(len(terms), 1).double(), torch.diag(-weights)], dim=1)
    of_loss = of_entropy.clone()
    of_loss[:, 0] = -torch.tensor(precisions, dtype=torch.float64)
    losses = of_loss @ products @ of_loss.T
    shared = (of_loss @ products @ of_entropy.T).diagonal()
    share = shared / losses.diagonal()
    return GradientSimilarity(
        names=tuple(objectives),
        entropy=cosines(products[1:, 1:]),
        loss=cosines(losses),
        entropy_share=torch.where(share.isfinite(), share, torch.nan),
    )


def gradients_of(values: Sequence[Tensor], inputs: Iterable[Tensor]) -> Tensor:
    """Return the gradients of scalars over the same inputs, laid out flat.

    Args:
        values: K scalars with a graph, which is kept.
        inputs: what is differentiated, P numbers in all; those that need no gradient are left out,
            those that a scalar does not reach count as zero.

    Returns:
        (K, P), in the type of the inputs.

    Raises:
        ValueError: nothing to differentiate, or a value that is no scalar.
    """
    known = [one for one in inputs if one.requires_grad]
    if not known:
        raise ValueError("inputs: expected at least one that requires a gradient, got none")
    rows = []
    for value in values:
        if value.numel() != 1:
            raise ValueError(f"gradients: expected scalars, got a shape {tuple(value.shape)}")
        parts: Sequence[Tensor | None] = [None] * len(known)
        if value.requires_grad:
            parts = torch.autograd.grad(value, known, retain_graph=True, allow_unused=True)
        pairs = zip(parts, known, strict=True)
        flat = [torch.zeros_like(one) if part is None else part for part, one in pairs]
        rows.append(torch.cat([part.detach().flatten() for part in flat]))
    return torch.stack(rows)


def inner_products(gradients: Tensor) -> Tensor:
    """Return ⟨g_a, g_b⟩ of gradients (K, P) as (K, K), summed in float64, on the CPU."""
    size = len(gradients)
    total = torch.zeros(size, size, dtype=torch.float64)
    for block in gradients.split(_BLOCK, dim=1):
        wide = block.cpu().double() if block.device.type == "mps" else block.double()
        total += (wide @ wide.T).cpu()
    return total


def cosines(products: Tensor) -> Tensor:
    """Return cos(g_a, g_b) of the inner products (K, K) of gradients; NaN where one is zero."""
    norms = products.diagonal().sqrt()
    return (products / norms / norms[:, None]).clamp(-1.0, 1.0)


def pairs(quantity: str, names: Sequence[str], values: Tensor) -> list[Row]:
    """Return the numbers (K, K) of K objectives' pairs, each pair once."""
    count = range(len(names))
    return [
        Row(quantity, names[i], names[j], float(values[i, j]))
        for i in count
        for j in count[i + 1 :]
    ]
