"""Images that could not be read or were clipped, named once an epoch."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from solo_ldm.data.module import ImageDataModule


class NoteUnreadable(Callback):
    """Print after each epoch which images could not be read, or were clipped, until then."""

    def __init__(self, data: ImageDataModule, console: Console) -> None:
        self._data = data
        self._console = console
        self._said = self._said_clipped = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print a line if there are new ones."""
        names = self._data.share_unreadable().get("train", [])
        if len(names) > self._said:
            self._said = len(names)
            self._console.print(describe_unreadable(names), style="yellow", soft_wrap=True)
        clipped = self._data.clipped().get("train", 0)
        if clipped > self._said_clipped:
            self._said_clipped = clipped
            line = f"{clipped} of {self._data.num_train_images} images hold values outside of "
            line += f"data.range={list(self._data.pixel_range or ())}, which are clipped"
            self._console.print(line, style="yellow", soft_wrap=True)


def describe_unreadable(names: list[str]) -> str:
    """Return a line that counts images that could not be read, and names the first few."""
    count = "1 image" if len(names) == 1 else f"{len(names)} images"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{count} could not be read, others stand in: {', '.join(names[:3])}{more}"
