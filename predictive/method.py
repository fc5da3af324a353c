"""Predictive latent distribution matching as a Lightning module."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig
from torch import Tensor

from predictive.data.module import Batch
from predictive.decoding.online import INPUTS, DecoderConfig, OnlineDecoders
from predictive.encoder import Encoder
from predictive.objective import PredictiveObjective
from predictive.predictors import PREDICTORS, Forecast, Predictor
from solo_ldm.optim.optimizers import configured_optimizer


class PredictiveMethod(pl.LightningModule):
    """An encoder, a predictor of its latents, their objective, and online probes.

    Each part learns at its own rate: `optimizer.lr` times `optimizer.multipliers.PART`, with the
    parts "encoder" and those of the predictor (see its `parameter_groups`).

    Args:
        cfg: the completed configuration (see `predictive.configuration`), rates already scaled.
        input_dim: features of an observation.
        target_dims: features of each target of the data.

    Raises:
        ValueError: in one line: a setting that a part refuses.
    """

    def __init__(self, cfg: DictConfig, input_dim: int, target_dims: dict[str, int]) -> None:
        super().__init__()
        self.cfg = cfg
        settings: dict[str, Any] = dict(cfg.predictor)
        latent_dim = settings.pop("latent_dim")
        self.encoder = Encoder(input_dim, latent_dim, **cfg.encoder)
        self.predictor: Predictor = PREDICTORS[cfg.method](
            latent_dim=latent_dim, input_dim=input_dim, **settings
        )
        self.objective = PredictiveObjective(**cfg.objective)
        if self.encoder.backbone is not None:
            self.encoder.eval()  # which keeps its statistics of batches
        with torch.no_grad():
            # A short pass gives the predictor's variables and their sizes.
            trial = self(torch.zeros(1, 2, input_dim))
        self.encoder.train()
        source_dims = {name: value.shape[2] for name, value in trial.variables().items()}
        self.decoders = OnlineDecoders(
            {name: DecoderConfig(**dict(one)) for name, one in cfg.decoders.items()},
            source_dims,
            {**target_dims, INPUTS: input_dim},
        )
        self._held_out: dict[str, Tensor] = {}

    def forward(
        self, inputs: Tensor, observed: Tensor | None = None, there: Tensor | None = None
    ) -> Forecast:
        """Encode inputs (B, T, F) and predict their latents.

        Args:
            inputs: (B, T, F).
            observed: true where an input was observed, (B, T); None for all.
            there: true where a backbone has a frame to see, (B, T); None for all.
        """
        return self.predictor(self.encoder(inputs, observed, there), inputs, observed)

    def forecast(self, batch: Batch) -> Forecast:
        """Return the forecast of a batch; a ValueError in one line where training diverged."""
        try:
            there = None if self.encoder.backbone is None else batch.known
            return self(batch.inputs, batch.known if batch.missing else None, there)
        except ValueError as error:
            if not self.global_step:
                raise
            reason = str(error).partition(";")[0]
            raise ValueError(
                f"step {self.global_step} cannot be computed: {reason}; lower optimizer.lr or "
                "optimizer.multipliers; the last good checkpoint is kept"
            ) from error

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Return {"loss"} for the optimiser and detached "terms" for callbacks."""
        self.objective.at_step(self.global_step)
        forecast = self.forecast(batch)
        terms = self.objective(forecast, batch.known)
        estimates = self.decoders(forecast.variables())
        losses = self.decoders.losses(estimates, batch)
        logged = {
            "train_ldm_loss": terms.loss.detach(),
            "train_log_prob": terms.log_prob.detach(),
            "train_entropy": terms.entropy.detach(),
            "z_std": forecast.latents.detach()[batch.known].std(dim=0).mean(),
        }
        decoding = {f"train_{name}_mse": loss.detach() for name, loss in losses.items()}
        self.log_dict(
            {**logged, **decoding},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=len(batch.inputs),
        )
        return {"loss": terms.loss + sum(losses.values()), "terms": logged}

    def on_validation_epoch_start(self) -> None:
        """Reset the sums of the epoch before."""
        self._held_out = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add up the sums that R² of the online probes needs."""
        estimates = self.decoders(self.forecast(batch).variables())
        for name, estimate in estimates.items():
            sums = _sums(estimate, self.decoders.target(name, batch))
            self._held_out[name] = self._held_out.get(name, torch.zeros_like(sums)) + sums

    def on_validation_epoch_end(self) -> None:
        """Log R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)² of each online probe over held-out bins."""
        for name, (count, total, square, residual) in self._held_out.items():
            spread = (square - total.square() / count.clamp_min(1)).sum()
            self.log(f"val_{name}_r2", (1.0 - residual.sum() / spread).float())

    def configure_optimizers(self) -> Any:
        """Build the optimiser with a group of parameters for each part, and the schedule."""
        cfg = self.cfg.optimizer
        parts = {"encoder": list(self.encoder.parameters()), **self.predictor.parameter_groups()}
        groups: list[dict[str, Any]] = [
            {
                "name": name,
                "params": parameters,
                "lr": cfg.lr * cfg.multipliers.get(name, 1.0),
                # Decay of a filter's parameters changes its model rather than simplifies it.
                **({"weight_decay": 0.0} if name == "filter" else {}),
            }
            for name, parameters in parts.items()
        ]
        if learned := list(self.objective.parameters()):
            groups.append({"name": "objective", "params": learned, "weight_decay": 0.0})
        for name, decoder in self.decoders.decoders.items():
            rate = self.decoders.configs[name].lr * cfg.rate_scale
            groups.append({"name": f"decoder-{name}", "params": decoder.parameters(), "lr": rate})
        return configured_optimizer(self, groups, lr=cfg.lr, scale=cfg.rate_scale)


def _sums(estimate: Tensor, target: Tensor) -> Tensor:
    """Return count, Σ y, Σ y² and Σ (y − ŷ)² over known bins, (4, k), in float64."""
    known = torch.isfinite(target)
    y = torch.where(known, target, 0.0).double()
    error = torch.where(known, estimate.double() - y, 0.0)
    parts = [known.double(), y, y.square(), error.square()]
    return torch.stack([part.sum(dim=(0, 1)) for part in parts])
