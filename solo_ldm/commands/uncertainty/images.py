"""The images of an evaluation of uncertainty: held-out ones, others, and their views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from solo_ldm.commands.shared.inputs import plain_images, spread, taken_by
from solo_ldm.data.backends.base import TrainViews
from solo_ldm.data.backends.torchvision import MultiViewImages
from solo_ldm.data.choice import choose_data
from solo_ldm.data.config import ViewSpec
from solo_ldm.data.datasets.registry import load_source
from solo_ldm.data.sources.images import ImageSource
from solo_ldm.weights.trained_method import TrainedMethod


@dataclass(frozen=True)
class Images:
    """Some images of a source, as a run's method takes them.

    Args:
        name: of the set.
        source: of the images.
        indexes: of those used.
        trained: the run, whose normalisation and device are used.
        cfg: the completed configuration, with batch size and seed.
        inverted: whether every value v is replaced by 1 − v.
    """

    name: str
    source: ImageSource
    indexes: np.ndarray
    trained: TrainedMethod
    cfg: DictConfig
    inverted: bool = False

    def plain(self) -> Iterator[Tensor]:
        """Yield all images as they are evaluated, in batches (B, 3, H, W)."""
        for rows in self._batches():
            yield self._finish(plain_images(self.trained.data, self.source, rows))

    def drawn(self, specs: Sequence[ViewSpec], draw: int) -> Iterator[list[Tensor]]:
        """Draw views of all images, in batches of one (B, 3, H, W) a specification.

        Args:
            specs: how each view is drawn.
            draw: in place of the epoch. The random numbers of a draw are those of every strength.
        """
        views = MultiViewImages(TrainViews(self.source, specs, self.cfg.seed))
        for rows in self._batches():
            keys = [(draw, index) for index in rows.tolist()]
            yield [self._finish(view) for view in views.__getitems__(keys)[1]]

    def _batches(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.indexes), self.cfg.batch_size):
            yield self.indexes[start : start + self.cfg.batch_size]

    def _finish(self, views: Tensor) -> Tensor:
        if self.inverted:
            data = self.trained.data
            mean, std = (torch.tensor(part).view(-1, 1, 1) for part in (data.mean, data.std))
            views = (1.0 - 2.0 * mean) / std - views  # of the value 1 − (mean + std · view)
        return views.to(self.trained.hardware.device)


def image_sets(cfg: DictConfig, trained: TrainedMethod) -> list[Images]:
    """Return the held-out images of a run, then those outside their distribution.

    These are the inverted ones, and those of another data set where the configuration names one.

    Raises:
        ValueError: in one line: there are no held-out images, or the other set is not there.
    """
    source = trained.held_out()
    indexes = spread(len(source), cfg.num_images)
    sets = [Images("held-out", source, indexes, trained, cfg)]
    sets.append(Images("inverted", source, indexes, trained, cfg, inverted=True))
    if cfg.data.get("dataset") is not None:
        # Pixels are taken as those of the training.
        taken = {"channels": trained.data.data.channels, "range": trained.data.pixel_range}
        taken = {key: value for key, value in taken.items() if cfg.data.get(key) is None}
        other = replace(choose_data(cfg.data, None), **taken)
        run, own = str(trained.folder.path), trained.data
        with taken_by(run, own.num_channels, own.pixel_range):
            source = load_source(other, "val") or load_source(other, "train")
        assert source is not None, "every data set has training images"
        indexes = spread(len(source), cfg.num_images)
        sets.append(Images(other.dataset, source, indexes, trained, cfg))
    return sets


def view_specs(trained: TrainedMethod) -> list[ViewSpec]:
    """Return how the view that predicts and the view that is predicted are drawn."""
    data = trained.data
    views = [view for view in data.views for _ in range(view.num_crops)]
    large = [view for view in views if view.crop_size == data.image_size]
    normalised = {"num_crops": 1, "mean": data.mean, "std": data.std}
    return [replace(view, **normalised) for view in (large * 2)[:2]]
