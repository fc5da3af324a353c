"""Time one training step through the Kalman filter against the authors' way of computing it.

    python benchmarks/kalman.py [--reference CHECKOUT] [--rounds 5] [--device cpu]

A step is the filter, the stop-gradient loss −Σ_t log p(z_t | z_<t) and its gradients with respect
to transition, offset, noises and observations. The direct peer loops over time in float32 with a
covariance for every sample and inverts every matrix, as the authors' code does; --reference times
that code itself, with latents in place of its encoder. Where dynamax is installed (pip install
dynamax), its filter in JAX is a peer on the CPU, jitted, in float32, without the time to compile.
Peers take turns, so that ratios hold on noisy machines, and the losses are printed, since all
compute the same model.
"""

from __future__ import annotations

import importlib
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from common import Figures, parser, wide_console
from rich.progress import Progress
from torch import Tensor

from predictive.filtering import StateSpaceModel, log_density, predict_observations
from solo_ldm.run.record import cpu_name

# Batch, steps, latents, states.
SIZES = ((8, 100, 5, 10), (64, 400, 8, 16), (32, 100, 24, 24), (1, 10_000, 8, 16))
DIRECT, REFERENCE, DYNAMAX = "direct, step by step", "the authors' code", "dynamax"
_MOST_DIRECT = 1000  # steps of the direct peer, which takes minutes for more


class Leaves(NamedTuple):
    """What gradients are taken with respect to."""

    observations: Tensor  # (B, T, m)
    transition: Tensor  # (n, n)
    offset: Tensor  # (n,)
    log_process: Tensor  # log-variances, (n,)
    log_noise: Tensor  # (m,)
    log_noises: Tensor  # the same, of every sample and step, (B, T, m)


def random_leaves(
    batch: int, steps: int, latents: int, states: int, device: torch.device
) -> Leaves:
    """Return leaves of a stable model with noises of variance one."""
    values = Leaves(
        torch.randn(batch, steps, latents),
        0.9 * torch.linalg.qr(torch.randn(states, states)).Q,
        0.1 * torch.randn(states),
        torch.zeros(states),
        torch.zeros(latents),
        torch.zeros(batch, steps, latents),
    )
    return Leaves(*(x.to(device).requires_grad_() for x in values))


def filter_loss(leaves: Leaves, log_noise: Tensor) -> Tensor:
    """Return the loss with our filter; the noise is common to the samples, or not."""
    z, states, latents = leaves.observations, len(leaves.offset), leaves.observations.shape[2]
    model = StateSpaceModel(
        z.new_zeros(states),
        torch.eye(states, device=z.device),
        leaves.transition,
        leaves.offset,
        torch.eye(latents, states, device=z.device),
        leaves.log_process.exp(),
        log_noise.exp(),
    )
    return -log_density(z.detach(), predict_observations(model, z)).sum(dim=1).mean()


def direct_loss(leaves: Leaves) -> Tensor:
    """Return the loss from the textbook's equations, one step and one covariance at a time."""
    z, a = leaves.observations, leaves.transition
    (batch, steps, latents), states = z.shape, len(leaves.offset)
    identity = torch.eye(states, device=z.device).expand(batch, -1, -1)
    d = torch.eye(latents, states, device=z.device).expand(batch, -1, -1)
    a = a.expand(batch, -1, -1)
    mean, covariance = z.new_zeros(batch, states), identity
    loss = z.new_zeros(batch)
    for t in range(steps):
        process = torch.diag_embed(leaves.log_process.exp().expand(batch, -1))
        noise = torch.diag_embed(leaves.log_noise.exp().expand(batch, -1))
        mean = (a @ (mean - leaves.offset)[..., None])[..., 0] + leaves.offset
        covariance = a @ covariance @ a.mT + process
        innovation = d @ covariance @ d.mT + noise
        predicted = (d @ mean[..., None])[..., 0]
        gain = covariance @ d.mT @ torch.inverse(innovation)
        residual = (z[:, t].detach() - predicted)[..., None]
        distance = residual.mT @ torch.inverse(innovation) @ residual
        log_det = torch.logdet(innovation) + latents * math.log(2 * math.pi)
        loss = loss + 0.5 * (distance[..., 0, 0] + log_det)
        mean = mean + (gain @ (z[:, t] - predicted)[..., None])[..., 0]
        covariance = (identity - gain @ d) @ covariance
    return loss.mean()


def load_reference(checkout: Path) -> tuple[Any, Callable[..., Tensor]]:
    """Return the authors' encoder and loss, without the imports of their package as a whole.

    Raises:
        FileNotFoundError: the checkout has no predictive-models/probssl.
    """
    root = checkout / "predictive-models" / "probssl"
    if not root.is_dir():
        raise FileNotFoundError(
            f"--reference expects a checkout with predictive-models/probssl, got {checkout}: "
            "clone fmi-basel/latent_distribution_matching"
        )
    for name in ("", ".methods", ".losses", ".losses.ssl", ".utils", ".backbones"):
        package = ModuleType(f"probssl{name}")
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[package.__name__] = package
    # What the encoder's module imports and the encoder does not use.
    for name, attributes in {
        "methods.base": ("BaseMethod",),
        "utils.misc": ("omegaconf_select", "get_padded_view"),
        "losses.ssl.procrusteSSL": (
            "procusteSSL_loss_func",
            "stopgrad_entropy_term",
            "kl_entropy_term",
        ),
    }.items():
        stub = ModuleType(f"probssl.{name}")
        stub.__dict__.update(dict.fromkeys(attributes, object))
        sys.modules[stub.__name__] = stub
    encoder = importlib.import_module("probssl.methods.kalmanSSL").KalmanSSLEncoder
    return encoder, importlib.import_module("probssl.losses.ssl.kalmanSSL").kalmanSSL_loss_func


def reference_loss(
    leaves: Leaves, encoder_class: Any, loss_function: Callable[..., Tensor]
) -> Callable[[], Tensor]:
    """Return the loss of the authors' code with our parameters and latents."""
    z, states = leaves.observations, len(leaves.offset)
    steps, latents = z.shape[1:]
    encoder = encoder_class(latents, latents, states).to(z.device)
    encoder.F_inf = torch.nn.Identity()
    encoder.A, encoder.b_z = map(torch.nn.Parameter, (leaves.transition, leaves.offset))
    # Its logarithms of variances are zero, as ours, and so is that of their common scale.
    torch.nn.init.zeros_(encoder.joint_sigma_scaling)

    def loss() -> Tensor:
        found = encoder(z.clone())  # it writes into its latents
        names = ("inferences", "predictions", "inferences_covariances", "prediction_covariances")
        constant = 0.5 * steps * latents * math.log(2 * math.pi)  # which the authors drop
        return loss_function(*(found[name] for name in names)) + constant

    return loss


def dynamax_step(leaves: Leaves) -> Callable[[], float]:
    """Return a jitted step of dynamax: the loss, and its gradients with respect to the leaves."""
    import jax  # pyright: ignore[reportMissingImports]
    import jax.numpy as jnp  # pyright: ignore[reportMissingImports]
    from dynamax.linear_gaussian_ssm import (  # pyright: ignore[reportMissingImports]
        inference,
        lgssm_filter,
    )

    z, transition, offset, process, noise, _ = (jnp.asarray(x.detach().numpy()) for x in leaves)
    states, latents = len(offset), len(noise)

    def loss(z: Any, a: Any, b: Any, process: Any, noise: Any) -> Any:
        first = inference.ParamsLGSSMInitial(jnp.zeros(states), jnp.eye(states))
        dynamics = inference.ParamsLGSSMDynamics(
            a, b - a @ b, jnp.zeros((states, 0)), jnp.diag(jnp.exp(process))
        )
        emissions = inference.ParamsLGSSMEmissions(
            jnp.eye(latents, states),
            jnp.zeros(latents),
            jnp.zeros((latents, 0)),
            jnp.diag(jnp.exp(noise)),
        )
        parameters = inference.ParamsLGSSM(first, dynamics, emissions)
        return -jax.vmap(lambda one: lgssm_filter(parameters, one).marginal_loglik)(z).mean()

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3, 4)))

    def stepped() -> float:
        value, _ = jax.block_until_ready(step(z, transition, offset, process, noise))
        return float(value)

    return stepped


def measure(
    peers: dict[str, Callable[[], Any]], rounds: int, seconds: float, progress: Progress
) -> dict[str, tuple[float, float]]:
    """Return the median milliseconds and the loss of each peer."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    losses: dict[str, float] = {}
    task = progress.add_task("", total=rounds * len(peers))
    for _ in range(rounds):
        for name, loss in peers.items():
            progress.update(task, description=name, advance=1)
            if name not in losses:
                losses[name] = _step(loss, [])  # not timed: the first is slower
            spent = 0.0
            while spent < seconds:
                _step(loss, times[name])
                spent += 1e-3 * times[name][-1]
    return {name: (statistics.median(times[name]), losses[name]) for name in peers}


def _step(loss: Callable[[], Any], times: list[float]) -> float:
    _wait()
    start = time.perf_counter()
    value = loss()
    if isinstance(value, Tensor):
        value.backward()
    _wait()
    times.append(1e3 * (time.perf_counter() - start))
    return float(value.detach() if isinstance(value, Tensor) else value)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of milliseconds a training step and ratios to the direct peer."""
    options = parser(__doc__)
    options.add_argument("--reference", type=Path, help="a checkout of the authors' code")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=0.3, help="of a peer in each round")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = options.parse_args(arguments)
    torch.manual_seed(0)
    reference = None if args.reference is None else load_reference(args.reference)

    console = wide_console()
    device = torch.device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    console.print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    heads = ["batch", "steps", "latents", "states", "filter", "loss", "ms"]
    heads += [f"times faster than {DIRECT}", f"than {REFERENCE}", f"than {DYNAMAX}"]
    has_dynamax = device.type == "cpu" and find_spec("dynamax") is not None
    rows = []
    with Progress(console=console, transient=True) as progress:
        for size in SIZES:
            leaves = random_leaves(*size, device)
            peers: dict[str, Callable[[], Any]] = {
                "ours, common noise": lambda x=leaves: filter_loss(x, x.log_noise),
                "ours, a noise a sample and step": lambda x=leaves: filter_loss(x, x.log_noises),
            }
            if size[1] <= _MOST_DIRECT:
                peers[DIRECT] = lambda x=leaves: direct_loss(x)
                if reference is not None:
                    peers[REFERENCE] = reference_loss(leaves, *reference)
            if has_dynamax:
                peers[DYNAMAX] = dynamax_step(leaves)
            found = measure(peers, args.rounds, args.seconds, progress)
            for peer, (took, loss) in found.items():
                ratios = [
                    f"{found[other][0] / took:.1f}" if other in found else "not timed"
                    for other in (DIRECT, REFERENCE, DYNAMAX)
                ]
                rows.append([*size, peer, f"{loss:.3f}", f"{took:.1f}", *ratios])
    Figures(heads, rows).show(console, args.csv)


if __name__ == "__main__":
    main()
