"""Arithmetic shared by latent models and entropy estimators: torch alone, no state.

Statistics of latents (distances, covariances, log-sum-exp) are taken in float64. On a CPU a
float64 Gram matrix costs about 1.6 times the float32 one, and in return distances between
near-duplicates keep their digits, although they are differences of large numbers. Graphics cards
that multiply float64 at a 64th of the speed get the same digits from products of float32
(`product`). Devices without float64 (Apple's MPS) use float32.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor


class _Widen(torch.autograd.Function):
    """Cast up in the forward pass; in the backward pass cast down and saturate.

    A gradient that float16 cannot hold becomes the largest finite value of its sign rather than
    an infinity, so that near-duplicates in half precision do not end a run.
    """

    @staticmethod
    def forward(ctx, x: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.source_dtype = x.dtype
        return x.to(dtype)

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        largest = torch.finfo(ctx.source_dtype).max
        return grad_outputs[0].to(ctx.source_dtype).clamp_(-largest, largest), None


def widen(x: Tensor) -> Tensor:
    """Return `x` in the precision used for statistics: float64, or float32 where there is none.

    Args:
        x: any floating-point tensor.

    Returns:
        The same values; gradients flow back in the type of `x`, saturated to its finite range.
    """
    dtype = torch.float32 if x.device.type == "mps" else torch.float64
    if x.dtype == dtype or not x.requires_grad:
        return x.to(dtype)
    return _Widen.apply(x, dtype)  # pyright: ignore[reportReturnType]


def at_least_single(x: Tensor) -> Tensor:
    """Return `x` in float32 if it is narrower, so that gradients of several uses add up safely."""
    if x.dtype in (torch.float32, torch.float64):
        return x
    return _Widen.apply(x, torch.float32)  # pyright: ignore[reportReturnType]


def narrow(value: Tensor, like: Tensor) -> Tensor:
    """Cast a statistic back: to float32 for inputs of at most 32 bits, else to the input's type."""
    return value.to(torch.float64 if like.dtype == torch.float64 else torch.float32)


def standardise(x: Tensor, ridge: float) -> Tensor:
    """Return (x − mean) / √(variance + ε) of each column, mean and variance over the batch.

    Args:
        x: (B, D), already in statistics precision (see `widen`).
        ridge: ε > 0, in squared units of x.

    Returns:
        (B, D); the variance has divisor B, as in batch normalisation.
    """
    centred = x - x.mean(dim=0)
    return centred * (centred.square().mean(dim=0) + ridge).rsqrt()


def safe_log(probabilities: Tensor) -> Tensor:
    """Return log p, and in place of the logarithm of (almost) nothing that of 1e-30.

    p log p is then 0 at 0 with a finite gradient, although log 0 is none.

    Args:
        probabilities: p, already in statistics precision (see `widen`).
    """
    return probabilities.clamp_min(1e-30).log()


# Parts of a factor, of 7 bits and a sign each, and how many terms float32 sums of them without
# rounding: 2⁷ · 2⁷ · 2¹⁰ = 2²⁴.
_PARTS, _BITS, _EXACT_TERMS = 4, 7, 1024


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return the matrix product AB of wide factors, to about float64's digits of float32 inputs.

    Where float64 is slow, each factor is split into parts of 7 bits, scaled by row of A and column
    of B. Their products are exact in float32 (and in TF32) and are added up in float64. Entries are
    then right to about 1e-8 of the largest of their row times that of their column.

    Args:
        a: A (n, k), in statistics precision (see `widen`).
        b: B (k, m), likewise.

    Source:
        Ozaki, Ogita, Oishi & Rump, Numer. Algorithms 59 (2012) 95; float64 rates: CUDA C++
        Programming Guide, throughput of native arithmetic instructions.
    """
    if a.dtype != torch.float64 or fast_double(a.device):
        return a @ b
    return _SplitProduct.apply(a, b)  # pyright: ignore[reportReturnType]


def product_into(result: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Put scale · AB into `result` and return it, without gradients; see `product`."""
    if a.dtype != torch.float64 or fast_double(a.device):
        return torch.addmm(result, a, b, beta=0.0, alpha=scale, out=result)
    return result.copy_(split_product(a, b)).mul_(scale)


def fast_double(device: torch.device) -> bool:
    """Return whether a device multiplies float64 at half the speed of float32 or so."""
    if device.type != "cuda" or torch.version.hip is not None:
        return True
    return torch.cuda.get_device_capability(device) in ((6, 0), (7, 0), (8, 0), (9, 0), (10, 0))


class _SplitProduct(torch.autograd.Function):
    """`split_product` in both directions."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return split_product(a, b)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None]:  # pyright: ignore
        a, b = ctx.saved_tensors
        left, right = ctx.needs_input_grad
        return (
            split_product(grad_outputs[0], b.T) if left else None,
            split_product(a.T, grad_outputs[0]) if right else None,
        )


def statistics_precision(device: torch.device) -> str:
    """Return, in words, how statistics are calculated on a device."""
    if device.type == "mps":
        return "float32"
    return "float64" if fast_double(device) else "float64 from products of float32"


def split_product(a: Tensor, b: Tensor) -> Tensor:
    """Return AB from float32 products alone; see `product`."""
    result = a.new_zeros(a.shape[0], b.shape[1])
    for start in range(0, a.shape[1], _EXACT_TERMS):
        terms = slice(start, start + _EXACT_TERMS)
        left, row_scale = _parts(a[:, terms], 1)
        right, column_scale = _parts(b[terms], 0)
        for i, j in itertools.product(range(_PARTS), repeat=2):
            if i + j < _PARTS:  # smaller products are below the last part
                scaled = (left[i] @ right[j]).to(a.dtype) * row_scale * column_scale
                result += scaled * 2.0 ** (-_BITS * (i + j + 2))
    return result


def _parts(x: Tensor, dim: int) -> tuple[list[Tensor], Tensor]:
    """Return whole numbers up to 2⁷ as float32, most significant first, and the scale of vectors.

    x = scale · Σ_i part_i · 2^(−7 (i + 1)), to 2^(−7 · parts) of the scale.
    """
    largest = x.abs().amax(dim=dim, keepdim=True)
    scale = torch.exp2(torch.ceil(torch.log2(torch.where(largest > 0.0, largest, 1.0))))
    rest, parts = x / scale, []
    for _ in range(_PARTS):
        rest = rest * 2.0**_BITS
        whole = rest.round()
        parts.append(whole.float())
        rest = rest - whole
    return parts, scale


def check_samples(z: Tensor, minimum: int, what: str, remedy: str) -> None:
    """Raise a one-line ValueError unless `z` is a (B, D) floating tensor with B ≥ `minimum`."""
    if z.ndim != 2 or not z.is_floating_point():
        raise ValueError(
            f"{what} expects floating-point samples of shape (B, D), "
            f"got {tuple(z.shape)} of {z.dtype}"
        )
    if z.shape[0] < minimum:
        raise ValueError(
            f"{what} needs at least {minimum} samples, got a batch of {z.shape[0]}: {remedy}"
        )


def check_pair(z1: Tensor, z2: Tensor) -> None:
    """Raise a one-line ValueError unless the two views have the same shape (B, D)."""
    if z1.shape != z2.shape or z1.ndim != 2:
        raise ValueError(
            "two views of the same samples are expected, both (B, D); "
            f"got {tuple(z1.shape)} and {tuple(z2.shape)}"
        )
