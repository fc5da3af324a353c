"""The data of a run as Lightning's trainer takes them. Importing Lightning takes seconds."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from solo_ldm.data.module import ImageDataModule


class LightningData(pl.LightningDataModule):
    """Give a trainer the loaders of a run's images, and the images the trainer's processes.

    Args:
        data: the images.
    """

    def __init__(self, data: ImageDataModule) -> None:
        super().__init__()
        self.data = data

    def prepare_data(self) -> None:
        """Fetch what is missing, in one process of each machine."""
        self.data.prepare_data()

    def setup(self, stage: str) -> None:
        """Tell the images which device and process they are for."""
        self.data.trainer = self.trainer

    def train_dataloader(self) -> Any:
        """Return the batches of augmented views."""
        return self.data.train_dataloader()

    def val_dataloader(self) -> Any:
        """Return the batches of plain validation images."""
        return self.data.val_dataloader()
