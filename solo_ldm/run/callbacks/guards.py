"""Callbacks that keep a run honest: reproducible randomness, finite losses, latents in health."""

from __future__ import annotations

from collections import deque
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_warn
from rich.console import Console
from torch import Tensor
from torch.nn.functional import cosine_similarity

from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.spectrum import Health, diagnose, effective_rank, health

# Epochs in a row that latents must be ill before a warning: many runs start near a collapse.
_PATIENCE = 3


class NonFiniteLossError(ValueError):
    """A term of the loss is no finite number."""


class CollapseWarning(UserWarning):
    """Latents have collapsed or exploded."""


class EpochSeed(Callback):
    """Seed the global generators from (seed, epoch, rank) at the start of each epoch.

    What is random in the network (dropout, drop-path) then does not depend on where a run was
    interrupted, nor on what ran before the epoch.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed torch on every device."""
        mixed = hash((self.seed, trainer.current_epoch, trainer.global_rank))
        torch.manual_seed(mixed % 2**63)


class StopAtNonFinite(Callback):
    """Stop at the first non-finite term of the loss, before a checkpoint could take it up.

    The terms of a step are looked at one step later, when the device has long computed them, so
    that looking does not stall it; the last step of an epoch is looked at when the epoch ends.
    """

    def __init__(self) -> None:
        self.pending: tuple[int, list[str], Tensor] | None = None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the previous step's terms and put this step's aside."""
        self._look(trainer)
        terms = outputs["terms"]
        stacked = torch.stack([value.float().reshape(()) for value in terms.values()])
        self.pending = (trainer.global_step, list(terms), stacked)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the epoch's last step."""
        self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        if self.pending is None:
            return
        step, names, values = self.pending
        self.pending = None
        finite = torch.isfinite(values).tolist()
        bad = [
            f"{name}={value}"
            for name, value, ok in zip(names, values.tolist(), finite, strict=True)
            if not ok
        ]
        if bad:
            raise NonFiniteLossError(
                f"the loss is not finite at step {step} of epoch {trainer.current_epoch}: "
                f"{', '.join(bad)}; lower optimizer.lr, lengthen scheduler.warmup_epochs or set "
                "precision=32-true; the last good checkpoint is kept"
            )


class WatchHealth(Callback):
    """Log label-free health of the latents once an epoch and warn when they collapse.

    Logged: z_std (mean over dimensions), z_std_min, z_effective_rank, z_mean_cosine (between
    different samples), z_alignment (mean cosine between the two views of a sample) and
    feats_effective_rank, all from the last samples of the epoch.

    Args:
        num_samples: how many latents to keep.
        on_sphere: whether they have unit length.
    """

    def __init__(self, num_samples: int, on_sphere: bool) -> None:
        self.num_samples = num_samples
        self.on_sphere = on_sphere
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
        pl_module.log_dict(metrics, rank_zero_only=True)
        warning = diagnose(state, self.previous, self.on_sphere)
        self.previous = state
        self.epochs_ill = 0 if warning is None else self.epochs_ill + 1
        ended = trainer.current_epoch + 1 == trainer.max_epochs
        if warning is not None and (self.epochs_ill == _PATIENCE or ended):
            rank_zero_warn(
                f"epoch {trainer.current_epoch + 1}: {warning}", category=CollapseWarning
            )


class NoteUnreadable(Callback):
    """Say after each epoch which images could not be read for the first time.

    Args:
        data: the run's data.
        console: where to print.
    """

    def __init__(self, data: ImageDataModule, console: Console) -> None:
        self._data = data
        self._console = console
        self._said = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print a line if there are new ones."""
        names = self._data.share_unreadable().get("train", [])
        if len(names) > self._said:
            self._said = len(names)
            self._console.print(f"[yellow]{describe_unreadable(names)}[/]", soft_wrap=True)


def describe_unreadable(names: list[str]) -> str:
    """Return a line that counts images that could not be read, and names the first few."""
    count = "1 image" if len(names) == 1 else f"{len(names)} images"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{count} could not be read, others stand in: {', '.join(names[:3])}{more}"
