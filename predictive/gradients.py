"""Whether the gradients of two entropies agree while a predictive method trains."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from predictive.data.module import Batch
from predictive.decoding.identifiability import cosine_similarity_of_gradients
from predictive.filtering import Gaussian, log_density
from predictive.method import PredictiveMethod
from predictive.objective import PredictiveObjective
from predictive.predictors import Forecast


class CompareEntropyGradients(Callback):
    """Log the cosine between the gradients of the nearest-neighbour and stop-gradient entropies.

    The entropy of the stop-gradient loss is the plug-in estimate −log N(z_t; ẑ_t, S_t) with
    detached predictions. Its gradient over the encoder's parameters is compared with those of the
    nearest-neighbour estimates of H[z_t] and of H[z_t | z_{t−1}].

    Args:
        every: steps between comparisons.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.rows: list[dict[str, float]] = []

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
            found = entropy_gradient_cosines(pl_module, batch)
        self.rows.append({"step": float(step), **found})

    def state_dict(self) -> dict[str, Any]:
        """Return the cosines so far, to continue with the run."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the cosines so far."""
        self.rows = state_dict["rows"]


def entropy_gradient_cosines(method: PredictiveMethod, batch: Batch) -> dict[str, float]:
    """Return the cosines between the gradients of the entropies on a batch.

    Args:
        method: whose encoder's parameters are differentiated.
        batch: on the method's device; that of this process alone.

    Returns:
        "marginal" and "joint": of H[z_t] and of H[z_t | z_{t−1}] with the plug-in entropy.
    """
    forecast = method.forecast(batch)
    known = batch.known & (
        torch.arange(batch.known.shape[1], device=batch.known.device)
        >= max(1, method.objective.first_step)
    )
    plug_in = plug_in_entropy(forecast, known)
    found = {}
    for over in ("marginal", "joint"):
        estimate = PredictiveObjective("neighbour", over).estimate(forecast, known, gathered=False)
        found[over] = cosine_similarity_of_gradients(estimate, plug_in, method.encoder.parameters())
    return found


def plug_in_entropy(forecast: Forecast, known: Tensor) -> Tensor:
    """Return −E log N(z_t; ẑ_t, S_t), the predictions detached: nats per step, a scalar."""
    mean, factor = forecast.predictions.mean.detach(), forecast.predictions.factor.detach()
    density = log_density(forecast.latents, Gaussian(mean, factor))
    return -torch.where(known, density, 0.0).sum() / known.sum()
