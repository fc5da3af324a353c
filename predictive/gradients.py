"""Whether the gradients of entropies agree while a predictive method trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from predictive.data.module import Batch
from predictive.filtering import Gaussian, log_density
from predictive.method import PredictiveMethod
from predictive.objective import Over, PredictiveObjective
from predictive.predictors import Forecast
from solo_ldm.evaluation.gradients import cosines, gradients_of, inner_products, pairs
from solo_ldm.run.gradient_rows import GradientRows

_ESTIMATORS = ("neighbour", "kernel", "logdet")
_OVERS: tuple[Over, ...] = ("marginal", "joint")
# What is compared: stop-gradient, and estimates of H[z_t] and of H[z_t | z_{t−1}].
ENTROPIES = ("stop_gradient", *(f"{name} {over}" for name in _ESTIMATORS for over in _OVERS))


class CompareEntropyGradients(Callback):
    """Log the cosines between the gradients of the stop-gradient entropy and of its estimators.

    The entropy of the stop-gradient loss is the plug-in estimate −log N(z_t; ẑ_t, S_t) with
    detached predictions. Its gradient over the encoder's parameters is compared with those of the
    nearest-neighbour, kernel and log-determinant estimates of H[z_t] and of H[z_t | z_{t−1}].

    Args:
        every: steps between comparisons.
        path: of gradients.csv, for the cosines of all pairs; None to write none.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517.
    """

    def __init__(self, every: int, path: Path | None = None) -> None:
        self.every = every
        self.rows: list[dict[str, float]] = []
        self.table = None if path is None else GradientRows(path, "step")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what was measured before an interruption."""
        if self.table is not None and trainer.is_global_zero:
            self.table.keep_before(trainer.global_step)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Compare on the first batch of a step, before it."""
        step = trainer.global_step
        seen = bool(self.rows) and self.rows[-1]["step"] == step
        if step % self.every or seen or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, PredictiveMethod)
        # The random numbers of training stay as they are without this callback.
        device = pl_module.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            found = compare_entropies(pl_module, batch)
        self.rows.append({"step": float(step), **_with_stop_gradient(found["encoder"])})
        if self.table is not None:
            rows = {respect: pairs("entropy cosine", ENTROPIES, v) for respect, v in found.items()}
            self.table.add(step, rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the cosines so far, to continue with the run."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the cosines so far."""
        self.rows = state_dict["rows"]


def entropy_gradient_cosines(method: PredictiveMethod, batch: Batch) -> dict[str, float]:
    """Return the cosines between the gradients of the stop-gradient entropy and of others.

    Args: see `compare_entropies`.

    Returns:
        "marginal" and "joint": of the nearest-neighbour estimates of H[z_t] and H[z_t | z_{t−1}];
        "kernel_marginal", "logdet_joint" etc.: of the others.
    """
    return _with_stop_gradient(compare_entropies(method, batch)["encoder"])


def _with_stop_gradient(found: Tensor) -> dict[str, float]:
    # Those of nearest neighbours were the only ones, and are named by what they are over.
    names = (name.removeprefix("neighbour ").replace(" ", "_") for name in ENTROPIES[1:])
    return dict(zip(names, found[0, 1:].tolist(), strict=True))


def compare_entropies(method: PredictiveMethod, batch: Batch) -> dict[str, Tensor]:
    """Return the cosines between the gradients of the entropies `ENTROPIES` on a batch.

    Estimators have their default settings and the same random samples of the latents.

    Args:
        method: whose encoder made the latents.
        batch: on the method's device; that of this process alone.

    Returns:
        (7, 7) each, by what the gradients are with respect to: "latents", or "encoder", its
        parameters; NaN where a gradient is zero.
    """
    forecast = method.forecast(batch)
    known = batch.known & (
        torch.arange(batch.known.shape[1], device=batch.known.device)
        >= max(1, method.objective.first_step)
    )
    device = forecast.latents.device
    values = [plug_in_entropy(forecast, known)]
    for name in _ESTIMATORS:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            objectives = (PredictiveObjective(name, over) for over in _OVERS)
            values += [one.estimate(forecast, known, gathered=False) for one in objectives]
    inputs = {"latents": [forecast.latents], "encoder": list(method.encoder.parameters())}
    return {
        respect: cosines(inner_products(gradients_of(values, one)))
        for respect, one in inputs.items()
    }


def plug_in_entropy(forecast: Forecast, known: Tensor) -> Tensor:
    """Return −E log N(z_t; ẑ_t, S_t), the predictions detached: nats per step, a scalar."""
    mean, factor = forecast.predictions.mean.detach(), forecast.predictions.factor.detach()
    density = log_density(forecast.latents, Gaussian(mean, factor))
    return -torch.where(known, density, 0.0).sum() / known.sum()
