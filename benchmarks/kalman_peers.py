"""Other libraries' Kalman filters, and textbook code, with the same loss as ours."""

from __future__ import annotations

import importlib
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Leaves(NamedTuple):
    """What gradients are taken with respect to."""

    observations: Tensor  # (B, T, m)
    transition: Tensor  # (n, n)
    offset: Tensor  # (n,)
    log_process: Tensor  # log-variances, (n,)
    log_noise: Tensor  # (m,)
    log_noises: Tensor  # the same, of every sample and step, (B, T, m)


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


def reference_step(
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


def dynamax_step(leaves: Leaves) -> tuple[Callable[[], float], float]:
    """Return a compiled step of dynamax, the loss and its gradients, and the seconds to compile."""
    import jax  # pyright: ignore[reportMissingImports]
    import jax.numpy as jnp  # pyright: ignore[reportMissingImports]
    from dynamax.linear_gaussian_ssm import (  # pyright: ignore[reportMissingImports]
        inference,
        lgssm_filter,
    )

    values = [jnp.asarray(x.detach().numpy()) for x in leaves[:5]]
    states, latents = len(leaves.offset), len(leaves.log_noise)

    def loss(z: Any, a: Any, b: Any, process: Any, noise: Any) -> Any:
        # Its first state is the one of the first observation, ours the one before.
        drift, covariance = b - a @ b, jnp.diag(jnp.exp(process))
        first = inference.ParamsLGSSMInitial(drift, a @ a.T + covariance)
        dynamics = inference.ParamsLGSSMDynamics(a, drift, jnp.zeros((states, 0)), covariance)
        emissions = inference.ParamsLGSSMEmissions(
            jnp.eye(latents, states),
            jnp.zeros(latents),
            jnp.zeros((latents, 0)),
            jnp.diag(jnp.exp(noise)),
        )
        parameters = inference.ParamsLGSSM(first, dynamics, emissions)
        return -jax.vmap(lambda one: lgssm_filter(parameters, one).marginal_loglik)(z).mean()

    start = time.perf_counter()
    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3, 4))).lower(*values).compile()
    seconds = time.perf_counter() - start
    return lambda: float(jax.block_until_ready(step(*values))[0]), seconds


def pyro_loss(leaves: Leaves) -> Tensor:
    """Return the loss from Pyro's Gaussian hidden Markov model, which scans in parallel."""
    from pyro.distributions import (  # pyright: ignore[reportMissingImports]
        GaussianHMM,
        MultivariateNormal,
    )

    z, a, b = leaves.observations, leaves.transition, leaves.offset
    (steps, latents), states = z.shape[1:], len(b)
    model = GaussianHMM(
        MultivariateNormal(torch.zeros_like(b), torch.eye(states, device=z.device)),
        a.mT,
        MultivariateNormal(b - a @ b, torch.diag(leaves.log_process.exp())),
        torch.eye(states, latents, device=z.device),
        MultivariateNormal(z.new_zeros(latents), torch.diag(leaves.log_noise.exp())),
        duration=steps,
    )
    return -model.log_prob(z).mean()


def torch_kf_loss(leaves: Leaves) -> Tensor:
    """Return the loss from the steps of torch-kf, with one covariance for all samples."""
    from torch_kf import GaussianState, KalmanFilter  # pyright: ignore[reportMissingImports]

    z, a, b = leaves.observations, leaves.transition, leaves.offset
    latents, states = z.shape[2], len(b)
    model = KalmanFilter(
        a,
        torch.eye(latents, states, device=z.device),
        torch.diag(leaves.log_process.exp()),
        torch.diag(leaves.log_noise.exp()),
    )
    drift = (b - a @ b)[:, None]
    state = GaussianState(torch.zeros_like(drift), torch.eye(states, device=z.device))
    densities = []
    for measured in z[..., None].unbind(1):
        state = model.predict(state)
        state.mean = state.mean + drift
        predicted = model.project(state)
        densities.append(predicted.log_likelihood(measured))
        state = model.update(state, measured, projection=predicted)
    return -torch.stack(densities).sum(dim=0).mean()
