"""The sliced Gaussian test of LeJEPA (SIGReg), read as an entropy."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from solo_ldm.config.arguments import Bounds, Count, Positive, checked
from solo_ldm.distributed import own_rows, total
from solo_ldm.entropy.base import EntropyEstimator
from solo_ldm.latents.base import Support
from solo_ldm.numerics import product
from solo_ldm.pairs import row_blocks

# Complex numbers of a sample and slice that are held at a time, in bytes.
_BYTES_A_NUMBER = 64
# Seeds of the slices: one a step, far from the small seeds that runs begin with.
_FIRST_SEED = 0x511CE


class SlicedGaussianEntropy(EntropyEstimator):
    """Minus how far random one-dimensional projections (slices) are from those of the maximum.

    H = −(1/M) Σ_m B ∫_{−T}^{T} |φ̂_m(t) − φ_m(t)|² exp(−t²/2) dt
    φ̂_m(t) = (1/B) Σ_i exp(i t u_mᵀz_i)

    u_m are M directions of unit length, and φ_m is the characteristic function that the slice has
    where the entropy is largest:

    plane:   φ_m(t) = exp(−t²/2), of the standard Gaussian: the largest entropy at unit variances.
        This is SIGReg, a mean of Epps–Pulley statistics.
    sphere:  slices are of √D z, and φ_m that of the uniform distribution on the sphere, or on the
        product of two spheres for the joint entropy. It tends to the Gaussian's as D grows.

    By Cramér and Wold's theorem the statistic of all slices and frequencies is zero for that
    distribution alone. The integral is a trapezoidal sum over `num_points` frequencies in [0, T].

    Slices are drawn from the number of the step (`at_step`) and nothing else: the same in every
    process, for every pair of views of the step, and after a resume. A call has no side effects.

    Args:
        support: "plane" or "sphere".
        num_slices: M.
        num_points: frequencies of the sum, at least 2.
        largest_frequency: T, in units of 1 / z.

    Raises:
        ValueError: no slices, fewer than 2 points, T not above zero; fewer than two samples.

    Source:
        Balestriero & LeCun, LeJEPA, arXiv 2511.08544 (SIGReg); Epps & Pulley, Biometrika 70 (1983).
        The uniform sphere's characteristic function: Mardia & Jupp, Directional Statistics (2000),
        section 9.3; taking it as the target is ours.
    """

    not_in_nats = "the statistic of a test does not determine an entropy"

    @checked
    def __init__(
        self,
        support: Support = "plane",
        num_slices: Count = 1024,
        num_points: Annotated[int, Bounds(2)] = 17,
        largest_frequency: Positive = 3.0,
    ) -> None:
        super().__init__(support)
        self.num_slices, self.num_points = num_slices, num_points
        self.largest_frequency = largest_frequency
        self._step = 0

    def at_step(self, step: int) -> None:
        """Set the training step, from whose number the slices are drawn."""
        self._step = int(step)

    def slices(self, dim: int) -> Tensor:
        """Return the directions of the step (dim, M), columns of unit length, on the CPU.

        Args:
            dim: of the latents; of both views together for the joint entropy.
        """
        return _directions(dim, self.num_slices, _FIRST_SEED + self._step)

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        """Return the value of samples (B, D) as a scalar; see the class for the equation."""
        directions = self.slices(z.shape[1]).to(z)
        times = torch.arange(self.num_points, dtype=z.dtype, device=z.device)
        times = times * (self.largest_frequency / (self.num_points - 1))
        # Twice the half line: the integrand is even.
        weights = torch.exp(-0.5 * times.square()) * (2.0 * times[1])
        weights[-1] *= 0.5  # at the other end, t = 0, both functions are one
        if self.support == "sphere":
            dim = z.shape[1] // num_views
            # Of the parts of a direction on each sphere; their product has independent factors.
            lengths = directions.view(num_views, dim, -1).norm(dim=1)
            lengths = lengths if num_views > 1 else torch.ones_like(lengths[:, :1])
            each = _uniform_sphere(times[:, None, None] * lengths, dim, self.largest_frequency)
            targets = each.prod(dim=1)
            own = z[own_rows(len(z))] * dim**0.5
        else:
            targets = torch.exp(-0.5 * times.square())[:, None]
            own = z[own_rows(len(z))]
        projected = product(own, directions)
        value: Tensor = _EppsPulley.apply(projected, times, weights, targets)  # pyright: ignore
        return -value


# An operator of its own: torch.compile cannot look into a generator.
@torch.library.custom_op(
    "solo_ldm::directions",
    mutates_args=(),
    schema="(SymInt dim, SymInt count, SymInt seed) -> Tensor",
)
def _directions(dim: int, count: int, seed: int) -> Tensor:
    # On the CPU: what a GPU draws depends on its model, and processes may differ in theirs.
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(dim, count, generator=generator), dim=0)


@_directions.register_fake
def _(dim: int, count: int, seed: int) -> Tensor:
    return torch.empty(dim, count)


class _EppsPulley(torch.autograd.Function):
    """Mean over slices of B Σ_k w_k |φ̂(t_k) − φ(t_k)|², keeping no more than the projections.

    exp(i t_k x) is the k-th power of exp(i t_1 x), as frequencies are multiples of the first: a
    product a frequency in place of a sine and a cosine. Slices are taken some at a time.

    Args:
        x: projections of this process's samples (B, M).
        times: t_k, (K,), equally spaced from 0.
        weights: w_k, (K,).
        targets: φ(t_k), real, (K, M) or (K, 1).
    """

    @staticmethod
    def forward(ctx, x: Tensor, times: Tensor, weights: Tensor, targets: Tensor) -> Tensor:
        sums = x.new_empty(2, len(times), x.shape[1])
        for some in row_blocks(slice(0, x.shape[1]), len(x), _BYTES_A_NUMBER):
            power, turn = _first_powers(x[:, some], times)
            for k in range(len(times)):
                mean = power.mean(dim=0)
                sums[0, k, some], sums[1, k, some] = mean.real, mean.imag
                power.mul_(turn)
        # The samples of all processes count alike, as each has as many.
        shares = total(torch.ones_like(times[0]))
        gap = total(sums) / shares
        gap[0] -= targets
        ctx.save_for_backward(x, times, weights, gap, shares)
        return len(x) * shares * (weights[:, None] * gap.square()).sum(dim=(0, 1)).mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore
        x, times, weights, gap, shares = ctx.saved_tensors
        gradient = torch.zeros_like(x)
        for some in row_blocks(slice(0, x.shape[1]), len(x), _BYTES_A_NUMBER):
            power, turn = _first_powers(x[:, some], times)
            for k, (time, weight) in enumerate(zip(times, weights, strict=True)):
                # d|gap|²/dx_i = (2 t / B) Re(conj(gap) · i exp(i t x_i)), and B cancels.
                conjugate = torch.complex(gap[0, k, some], -gap[1, k, some])
                gradient[:, some] -= (2.0 * weight * time) * (conjugate * power).imag
                power.mul_(turn)
        # Gradients are added up over processes, of which this share counts for all.
        return gradient * (grad_outputs[0] * shares / x.shape[1]), None, None, None


def _first_powers(x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return exp(i t x) at t = 0 and at the first frequency."""
    turn = torch.polar(torch.ones_like(x), times[1] * x)
    return torch.ones_like(turn), turn


def _uniform_sphere(times: Tensor, dim: int, largest: float) -> Tensor:
    """Return E exp(i t uᵀx) of x uniform on the sphere of radius √D in ℝᴰ, u of unit length.

    ₀F₁(; D/2; −D t²/4), by its series. Term k is below (t²/2)^k / k!: alternating terms of up to
    exp(t²/2) cost digits, of which the weight exp(−t²/2) of the frequency hides as many.

    Args:
        times: t, any shape.
        dim: D.
        largest: the largest t.
    """
    square = -0.25 * dim * times.square()
    term, total = torch.ones_like(times), torch.ones_like(times)
    for k in range(30 + int(2.0 * largest**2)):
        term = term * square / ((k + 1.0) * (0.5 * dim + k))
        total = total + term
    return total
