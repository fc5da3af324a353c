"""The rank of a network's Jacobian: in how many directions its output moves with its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from solo_ldm.numerics import widen

# Of the Jacobians that are held at a time, in statistics precision.
CHUNK_BYTES = 2**28


class JacobianRanks(NamedTuple):
    """Ranks of the Jacobians at N inputs.

    Args:
        numerical: (N,) singular values above σ_1 · max(D, P) · ε.
        participation: (N,) (Σ σ²)² / Σ σ⁴, 1 to min(D, P); 0 where all σ are zero.
    """

    numerical: Tensor
    participation: Tensor


def jacobian_singular_values(
    network: nn.Module | Callable[[Tensor], Tensor],
    images: Tensor,
    chunk_bytes: int = CHUNK_BYTES,
) -> Tensor:
    """Compute the singular values of J = ∂f/∂x at each of N inputs.

    Rows of J are D backward passes of some inputs at a time. Singular values are the roots of the
    eigenvalues of JJᵀ or JᵀJ, whichever is smaller, in float64, where squaring costs no digits that
    a float32 network has.

    Args:
        network: maps inputs (N, ...) to outputs (N, D), each by itself: in evaluation mode.
        images: (N, ...) of P numbers each, on the device of the network.
        chunk_bytes: of the Jacobians that are held at a time; at least one is.

    Returns:
        (N, min(D, P)) descending, in units of the output over units of the input, on the CPU.

    Raises:
        ValueError: in one line: a network in training mode, whose batch normalisation would mix
            inputs, an output that is not (N, D), or no input.
    """
    if isinstance(network, nn.Module) and any(part.training for part in network.modules()):
        raise ValueError(
            "network: expected evaluation mode, got training mode, in which an output may depend "
            "on the other inputs; call network.eval()"
        )
    if not len(images):
        raise ValueError("images: expected at least one, got none")
    with torch.no_grad():
        output: Any = network(images[:1])
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"network: expected one vector per input, (1, D), got {got}")
    num_outputs, num_inputs = output.shape[1], images[0].numel()
    size = max(1, chunk_bytes // (8 * num_outputs * num_inputs))
    return torch.cat([_singular_values(network, some, num_outputs) for some in images.split(size)])


def _singular_values(
    network: Callable[[Tensor], Tensor], images: Tensor, num_outputs: int
) -> Tensor:
    inputs = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        outputs = network(inputs)
        # Outputs of other inputs have no gradient with regard to this one: the sum separates them.
        sums = outputs.sum(dim=0).unbind()
    jacobian = images.new_empty(len(images), num_outputs, images[0].numel())
    for row, one in enumerate(sums):
        (gradient,) = torch.autograd.grad(one, inputs, retain_graph=row + 1 < num_outputs)
        jacobian[:, row] = gradient.flatten(1)
    wide = widen(jacobian)
    gram = wide @ wide.mT if num_outputs < wide.shape[2] else wide.mT @ wide
    return torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().flip(1).cpu()


def jacobian_ranks(
    singular_values: Tensor, largest_side: int, precision: torch.dtype = torch.float32
) -> JacobianRanks:
    """Count the directions of Jacobians by their singular values.

        numerical      #{ k : σ_k > σ_1 · max(D, P) · ε }
        participation  (Σ_k σ_k²)² / Σ_k σ_k⁴

    The numerical rank counts what is more than rounding, however small; the participation ratio
    counts directions by how much of the output's variance they carry.

    Args:
        singular_values: (N, K) descending, of `jacobian_singular_values`.
        largest_side: max(D, P), the larger of the numbers of outputs and inputs.
        precision: that the network was computed in; ε is its rounding.

    Returns:
        Both ranks of each input, in float64.

    Raises:
        ValueError: in one line: another shape, or values that are not finite.

    Source: the tolerance is that of numpy.linalg.matrix_rank.
    """
    if singular_values.ndim != 2 or not singular_values.isfinite().all():
        raise ValueError(
            f"singular values: expected (inputs, K), finite, got {tuple(singular_values.shape)}"
        )
    values = singular_values.double()
    limit = values[:, :1] * largest_side * torch.finfo(precision).eps
    squares = values.square()
    # Scaled, so that fourth powers are in range.
    squares = squares / squares[:, :1].clamp(min=torch.finfo(torch.float64).tiny)
    participation = squares.sum(dim=1).square() / squares.square().sum(dim=1).clamp(min=1e-300)
    return JacobianRanks((values > limit).sum(dim=1).double(), participation)
