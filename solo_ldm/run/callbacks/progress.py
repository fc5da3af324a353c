"""What a person sees while a run trains."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from solo_ldm.run.console import redraws

# Seconds between lines where the output is no terminal.
_LINE_EVERY = 10.0


class TrainingClock(Callback):
    """Count the seconds spent training and the source images seen, over all parts of a run.

    Time in validation, checkpoints and other callbacks is included; set-up and evaluation are not.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.images = 0
        self._since: float | None = None

    @property
    def images_per_second(self) -> float:
        """Source images (not views) per second of training, over all processes."""
        return self.images / self.seconds if self.seconds > 0 else float("nan")

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._since is not None:
            self.seconds += now - self._since
        self._since = now

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting."""
        self._since = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the images of the step."""
        self.images += len(batch[0]) * trainer.world_size
        self._tick()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count validation and callbacks."""
        self._tick()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop counting."""
        self._tick()
        self._since = None

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, to be continued with the run."""
        self._tick()
        return {"seconds": self.seconds, "images": self.images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts."""
        self.seconds, self.images = state_dict["seconds"], state_dict["images"]


class ShowProgress(Callback):
    """One bar for the whole run: epoch, loss, accuracy, images per second, time left.

    Where the output is no terminal (a log file, a cluster job), a line every ten seconds instead.

    Args:
        console: where to print.
        clock: counts the images.
        loss: name of the logged loss.
        accuracy: what the logged val_acc1 is the accuracy of.
        unit: what the clock counts.
    """

    def __init__(
        self,
        console: Console,
        clock: TrainingClock,
        loss: str,
        accuracy: str,
        unit: str,
    ) -> None:
        self.console = console
        self.clock = clock
        self.loss = loss
        self.accuracy = accuracy
        self.unit = unit
        self.progress: Progress | None = None
        self.last_line = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar at the epoch that training starts or continues from."""
        if not trainer.is_global_zero:
            return
        self.started, self.images_before = time.perf_counter(), self.clock.images
        self.first_step = trainer.global_step
        if redraws(self.console):
            self.progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[status]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.task = self.progress.add_task(
                "training",
                total=trainer.estimated_stepping_batches,
                completed=trainer.global_step,
                status="",
            )
            self.progress.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar."""
        if self.progress is not None:
            self.progress.update(
                self.task,
                completed=trainer.global_step,
                description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
                status=self._status(trainer),
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print a line where there is no bar."""
        done = trainer.current_epoch + 1
        if not trainer.is_global_zero or self.progress is not None:
            return
        now = time.perf_counter()
        if now - self.last_line < _LINE_EVERY and done != trainer.max_epochs:
            return
        self.last_line = now
        steps = max(1, trainer.global_step - self.first_step)
        left = (
            (trainer.estimated_stepping_batches - trainer.global_step)
            * (now - self.started)
            / steps
        )
        self.console.print(
            f"epoch {done}/{trainer.max_epochs}  {self._status(trainer)}  {left:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )

    def _status(self, trainer: pl.Trainer) -> str:
        shown = trainer.callback_metrics
        rate = (self.clock.images - self.images_before) / (time.perf_counter() - self.started)
        parts = [f"{rate:.0f} {self.unit}/s"]
        if self.loss in shown:
            parts.insert(0, f"loss {float(shown[self.loss]):.3f}")
        if "val_acc1" in shown:
            parts.insert(1, f"{self.accuracy} {100 * float(shown['val_acc1']):.1f}%")
        return "  ".join(parts)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the error is readable."""
        self.on_train_end(trainer, pl_module)
