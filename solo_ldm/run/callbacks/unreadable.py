"""Images that could not be read, named once an epoch."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from solo_ldm.data.module import ImageDataModule


class NoteUnreadable(Callback):
    """Print after each epoch which images could not be read for the first time."""

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
