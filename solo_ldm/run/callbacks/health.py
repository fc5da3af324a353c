"""Label-free health of the latents while they are trained."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor
from torch.nn.functional import cosine_similarity

from solo_ldm.evaluation.spectrum import Health, diagnose, effective_rank, health
from solo_ldm.latents import LatentModel

# Epochs in a row that latents must be ill before a warning: many runs start near a collapse.
_PATIENCE = 3


class CollapseWarning(UserWarning):
    """Latents have collapsed or exploded."""


class WatchHealth(Callback):
    """Log label-free health of the latents once an epoch and warn when they collapse.

    Logged: z_std (mean over dimensions), z_std_min, z_effective_rank, z_mean_cosine (between
    different samples), z_alignment (mean cosine between the two views of a sample) and
    feats_effective_rank, all from the last samples of the epoch; and what the latent model has to
    say of them (`LatentModel.health`), such as z_prototypes_in_use.

    Args:
        num_samples: how many latents to keep.
        on_sphere: whether they have unit length.
        settings: of the method, which warnings give advice about.
    """

    def __init__(
        self, num_samples: int, on_sphere: bool, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.num_samples = num_samples
        self.on_sphere = on_sphere
        self.settings = settings
        self.kept: deque[tuple[Tensor, Tensor, Tensor]] = deque()
        self.previous: Health | None = None
        self.epochs_ill = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the epoch before."""
        self.kept.clear()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keep the latents of the step, and drop the oldest that are not needed."""
        z = outputs["z"]
        if not z:  # a chunk of a step that goes on
            return
        self.kept.append((z[0], z[min(1, len(z) - 1)], outputs["feats"][0]))
        while (len(self.kept) - 1) * len(z[0]) >= self.num_samples:
            self.kept.popleft()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute, log and judge."""
        z1, z2, feats = (torch.cat(parts).float() for parts in zip(*self.kept, strict=True))
        state = health(z1)
        metrics = {
            "z_std": state.std_mean,
            "z_std_min": state.std_min,
            "z_effective_rank": state.effective_rank,
            "z_mean_cosine": state.mean_cosine,
            "z_alignment": cosine_similarity(z1, z2).mean().item(),
            "feats_effective_rank": effective_rank(feats),
        }
        latent = getattr(getattr(pl_module, "objective", None), "latent", None)
        if isinstance(latent, LatentModel):
            metrics |= {f"z_{name}": value for name, value in latent.health(z1).items()}
        pl_module.log_dict(metrics, rank_zero_only=True)
        warning = diagnose(state, self.previous, self.on_sphere, self.settings)
        self.previous = state
        self.epochs_ill = 0 if warning is None else self.epochs_ill + 1
        ended = trainer.current_epoch + 1 == trainer.max_epochs
        if warning is not None and (self.epochs_ill == _PATIENCE or ended):
            rank_zero_warn(
                f"epoch {trainer.current_epoch + 1}: {warning}", category=CollapseWarning
            )
