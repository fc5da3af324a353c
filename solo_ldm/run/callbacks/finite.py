"""A loss or weights that are not finite end a run before a checkpoint could hold them."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

_ADVICE = (
    "lower optimizer.lr, lengthen scheduler.warmup_epochs or set precision=32-true; the last good "
    "checkpoint is kept"
)


class NonFiniteLossError(ValueError):
    """A term of the loss or a weight is no finite number."""


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
        if not terms:  # a chunk of a step that goes on
            return
        stacked = torch.stack([value.float().reshape(()) for value in terms.values()])
        self.pending = (trainer.global_step, list(terms), stacked)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the epoch's last step, and at the weights that a checkpoint would hold."""
        self._look(trainer)
        floats = {k: v for k, v in pl_module.state_dict().items() if v.is_floating_point()}
        finite = torch.stack([value.isfinite().all() for value in floats.values()]).tolist()
        bad = [name for name, ok in zip(floats, finite, strict=True) if not ok]
        if bad:
            raise NonFiniteLossError(
                f"{len(bad)} of {len(floats)} weights are not finite after epoch "
                f"{trainer.current_epoch}, first {bad[0]}; {_ADVICE}"
            )

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Say what a factorisation of values that are not finite, or too large, means."""
        error = torch.linalg.LinAlgError  # pyright: ignore[reportPrivateImportUsage]
        if isinstance(exception, error):
            self._look(trainer)
            reason = str(exception).partition(" (")[0].splitlines()[0]
            raise NonFiniteLossError(
                f"step {trainer.global_step} of epoch {trainer.current_epoch} cannot be computed: "
                f"{reason}; {_ADVICE}"
            ) from exception

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
                f"{', '.join(bad)}; {_ADVICE}"
            )
