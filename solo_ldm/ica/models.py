"""Models of independent sources: densities p(s) = Π_i p_i(s_i), possibly given the past."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated

import torch
from torch import Tensor, nn

from solo_ldm.config.arguments import Bounds, checked

Decay = Annotated[float, Bounds(above=0, below=1)]
Variance = Annotated[float, Bounds(above=0)]

# Above this a few thousand samples do not distinguish a density from the uniform one.
LARGEST_SHAPE = 20.0

# Smaller |s| are replaced by this: |s|^β has no derivative at 0 where β < 1.
_SMALLEST = 1e-12


class SourceModel(nn.Module, ABC):
    """A distribution of mutually independent sources.

    Args:
        num_sources: N ≥ 1.

    Raises:
        ValueError: no sources.
    """

    @checked
    def __init__(self, num_sources: Annotated[int, Bounds(1)]) -> None:
        super().__init__()
        self.num_sources = num_sources

    @abstractmethod
    def log_prob(self, sources: Tensor) -> Tensor:
        """Return the log-density of each sample of each source, given the earlier samples.

        Args:
            sources: (T, N), of mean zero.

        Returns:
            (T, N) in nats; the sum is the log-density of all samples.
        """

    @abstractmethod
    def initialise(self, sources: Tensor) -> None:
        """Initialise the learned parameters from first estimates of the sources (T, N)."""

    @abstractmethod
    def learned_parameters(self) -> dict[str, list[float]]:
        """Return the learned parameters, a number for each source, by name."""

    def check(self, sources: Tensor) -> None:
        """Raise a one-line ValueError unless `sources` has the shape (T, N), T ≥ 2."""
        if sources.ndim != 2 or sources.shape[1] != self.num_sources or len(sources) < 2:
            raise ValueError(
                f"sources: expected shape (T, {self.num_sources}) with T at least 2, "
                f"got {tuple(sources.shape)}"
            )


class GeneralisedGaussian(SourceModel):
    """Sources with generalised Gaussian densities of variance one, the shapes learned.

    p(s) = β / (2 α Γ(1/β)) · exp(−|s/α|^β),  α = √( Γ(1/β) / Γ(3/β) )

    β = 1 is the Laplace density, 2 the Gaussian, ∞ the uniform one. The variance is one because
    the scale of a source and that of its mixing are not identifiable.

    Args:
        num_sources: N.
        shape: β of each source (one number for all, or N), where learning starts.
        smallest_shape: β stays above this and below `LARGEST_SHAPE`. Densities with β ≥ 1 have
            no cusp, and log-concave. Below 1 the likelihood has a local maximum wherever a few
            samples coincide, and flat parts of real signals attract it.

    Raises:
        ValueError: no sources; a shape outside of the bounds.

    Source:
        Nadarajah, A generalized normal distribution, J. Appl. Stat. 32, 685 (2005); as a model of
        ICA: Lee & Lewicki, ICA 2000; Mikulasch & Zenke, arXiv 2605.03517.
    """

    @checked
    def __init__(
        self,
        num_sources: int,
        shape: float | list[float] = 1.9,
        smallest_shape: Annotated[float, Bounds(above=0)] = 1.0,
    ) -> None:
        super().__init__(num_sources)
        low, high = float(smallest_shape), LARGEST_SHAPE
        wanted = torch.as_tensor(shape, dtype=torch.float64).expand(num_sources)
        if not bool(((wanted > low) & (wanted < high)).all()):
            raise ValueError(f"shape: expected between {low:g} and {high:g}, got {shape}")
        self.smallest_shape = low
        self.position = nn.Parameter(self._position(wanted))

    @property
    def shape(self) -> Tensor:
        """β of each source (N,)."""
        low, width = self._log_range
        return torch.exp(low + width * torch.sigmoid(self.position))

    @property
    def scale(self) -> Tensor:
        """α of each source (N,), in standard deviations of the source."""
        inverse = 1.0 / self.shape
        return torch.exp(0.5 * (torch.lgamma(inverse) - torch.lgamma(3.0 * inverse)))

    def log_prob(self, sources: Tensor) -> Tensor:
        """Return log p(s) of each sample of each source, (T, N), in nats."""
        self.check(sources)
        shape, scale = self.shape, self.scale
        log_normaliser = torch.log(shape / (2.0 * scale)) - torch.lgamma(1.0 / shape)
        magnitude = (sources / scale).abs().clamp_min(_SMALLEST)
        return log_normaliser - magnitude.pow(shape)

    @torch.no_grad()
    def initialise(self, sources: Tensor) -> None:
        """Start at β = 1.5 for sources with heavier tails than a Gaussian's, else at 3."""
        kurtosis = sources.pow(4).mean(dim=0) / sources.square().mean(dim=0).square()
        guess = torch.where(kurtosis > 3.0, 1.5, 3.0).to(torch.float64)
        self.position.copy_(self._position(guess.clamp_min(1.01 * self.smallest_shape)))

    def learned_parameters(self) -> dict[str, list[float]]:
        """Return the shapes."""
        return {"shape": self.shape.tolist()}

    @property
    def _log_range(self) -> tuple[float, float]:
        low = math.log(self.smallest_shape)
        return low, math.log(LARGEST_SHAPE) - low

    def _position(self, shape: Tensor) -> Tensor:
        """Return the unconstrained parameter of a shape."""
        low, width = self._log_range
        return torch.logit((shape.log() - low) / width)


class OrnsteinUhlenbeck(SourceModel):
    """Stationary Ornstein–Uhlenbeck processes at equal steps, their decays learned.

    s_1 ~ N(0, v);  s_t | s_{t−1} ~ N(a s_{t−1}, v (1 − a²));  a = exp(−Δt/τ)

    Every marginal is Gaussian: sources are identified by their decay a. v is one, as the scale of a
    source and that of its mixing are not identifiable, unless the unmixing is known to be a
    rotation; then v is learned and identifies sources as well.

    Args:
        num_sources: N.
        learn_variance: learn v of each source; else it is one.
        decay: a of each source (one number for all, or N), where learning starts.
        variance: v of each source, likewise.

    Raises:
        ValueError: no sources; a decay outside of (0, 1); a variance that is not above zero.

    Source:
        Gillespie, Phys. Rev. E 54, 2084 (1996); as a model of ICA: Mikulasch & Zenke,
        arXiv 2605.03517; Pearlmutter & Parra, NeurIPS 9 (1996).
    """

    @checked
    def __init__(
        self,
        num_sources: int,
        learn_variance: bool = False,
        decay: Decay | list[Decay] = 0.5,
        variance: Variance | list[Variance] = 1.0,
    ) -> None:
        super().__init__(num_sources)
        decays = torch.as_tensor(decay, dtype=torch.float64).expand(num_sources)
        variances = torch.as_tensor(variance, dtype=torch.float64).expand(num_sources)
        self.learn_variance = learn_variance
        self.logit_decay = nn.Parameter(torch.logit(decays))
        self.log_variance = nn.Parameter(variances.log(), requires_grad=self.learn_variance)

    @property
    def decay(self) -> Tensor:
        """a = exp(−Δt/τ) of each source (N,)."""
        return torch.sigmoid(self.logit_decay)

    @property
    def variance(self) -> Tensor:
        """v of each source (N,), in squared units of the sources."""
        return self.log_variance.exp()

    def time_constants(self, step: float = 1.0) -> Tensor:
        """Return τ of each source (N,), in the unit of `step`, the time between samples."""
        # log a = −softplus(−logit a) is accurate where a is near one.
        return step / nn.functional.softplus(-self.logit_decay)

    def log_prob(self, sources: Tensor) -> Tensor:
        """Return log p(s_t | s_{t−1}) of each sample of each source, (T, N), in nats."""
        self.check(sources)
        decay, log_variance = self.decay, self.log_variance
        # 1 − a² = (1 − a)(1 + a), and 1 − a = sigmoid(−logit a) without cancellation.
        share = torch.sigmoid(-self.logit_decay) * (1.0 + decay)
        first = log_normal(sources[:1], log_variance)
        rest = log_normal(sources[1:] - decay * sources[:-1], log_variance + share.log())
        return torch.cat([first, rest])

    @torch.no_grad()
    def initialise(self, sources: Tensor) -> None:
        """Start at each source's correlation with its own past, and at its variance."""
        power = sources.square().mean(dim=0)
        correlation = (sources[1:] * sources[:-1]).mean(dim=0) / power
        self.logit_decay.copy_(torch.logit(correlation.clamp(0.01, 0.999)))
        if self.learn_variance:
            self.log_variance.copy_(power.log())

    def learned_parameters(self) -> dict[str, list[float]]:
        """Return the decays, and the variances where they are learned."""
        learned = {"decay": self.decay.tolist()}
        if self.learn_variance:
            learned["variance"] = self.variance.tolist()
        return learned


def log_normal(value: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log-density of a centred Gaussian, elementwise, in nats."""
    square = value.square() * torch.exp(-log_variance)
    return -0.5 * (square + log_variance + math.log(2.0 * math.pi))
