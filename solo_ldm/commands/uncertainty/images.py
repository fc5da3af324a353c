"""The images of an evaluation of uncertainty: held-out ones, others, and their views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from solo_ldm.commands.shared.inputs import plain_images, spread
from solo_ldm.data.backends.base import TrainViews
from solo_ldm.data.backends.torchvision import MultiViewImages
from solo_ldm.data.choice import choose_data
from solo_ldm.data.config import ViewSpec
from solo_ldm.data.datasets.registry import load_source
from solo_ldm.data.sources.images import ImageSource
from solo_ldm.weights.trained_method import TrainedMethod


@dataclass(frozen=True)
class Images:
    """Some images of a source, as the run sees them.

    Args:
        name: of the set.
        source: of the images.
        indexes: of those used.
        first: how the view that predicts is drawn.
        second: how the view that is predicted is drawn.
        inverted: whether every value v is replaced by 1 − v.
    """

    name: str
    source: ImageSource
    indexes: np.ndarray
    first: ViewSpec
    second: ViewSpec
    inverted: bool = False


def image_sets(cfg: DictConfig, run: TrainedMethod) -> tuple[Images, list[Images]]:
    """Return the held-out images of a run, and those outside their distribution.

    Args:
        cfg: the completed configuration; its data names another set, or none.
        run: the trained method.

    Raises:
        ValueError: in one line: there are no held-out images, or the other set is not there.
    """
    source = run.data.source("val")
    if source is None:
        raise ValueError(
            f"{run.cfg.data.dataset}: there are no held-out images to predict; the run needs "
            "labelled images with data.val_fraction or data.val_path"
        )
    views = [view for view in run.data.views for _ in range(view.num_crops)]
    large = [view for view in views if view.crop_size == run.data.image_size]
    first, second = (
        ViewSpec(**{**vars(view), "num_crops": 1, "mean": run.data.mean, "std": run.data.std})
        for view in (large[0], large[min(1, len(large) - 1)])
    )
    inside = Images("held-out", source, spread(len(source), cfg.num_images), first, second)
    outside = [Images("inverted", source, inside.indexes, first, second, inverted=True)]
    if cfg.data.get("dataset") is not None:
        other = choose_data(cfg.data, None)
        source = load_source(other, "val") or load_source(other, "train")
        assert source is not None, "every data set has training images"
        indexes = spread(len(source), cfg.num_images)
        outside.append(Images(other.dataset, source, indexes, first, second))
    return inside, outside


def batches(images: Images, size: int) -> Iterator[np.ndarray]:
    """Yield the numbers of the images, `size` at a time."""
    for start in range(0, len(images.indexes), size):
        yield images.indexes[start : start + size]


def evaluation_views(run: TrainedMethod, images: Images, rows: np.ndarray) -> Tensor:
    """Return images as they are evaluated (B, 3, H, W), on the run's device."""
    return _finish(run, images, plain_images(run.data, images.source, rows))


def drawn_views(
    run: TrainedMethod,
    images: Images,
    specs: list[ViewSpec],
    rows: np.ndarray,
    draw: int,
    cfg: DictConfig,
) -> list[Tensor]:
    """Draw views of images, one (B, 3, H, W) a specification, on the run's device.

    Args:
        run: whose normalisation and device are used.
        images: the set.
        specs: how each view is drawn.
        rows: numbers of the images.
        draw: in place of the epoch. The random numbers of a draw are those of every strength.
        cfg: the completed configuration, with the seed.
    """
    views = MultiViewImages(TrainViews(images.source, specs, cfg.seed))
    keys = [(draw, index) for index in rows.tolist()]
    return [_finish(run, images, view) for view in views.__getitems__(keys)[1]]


def _finish(run: TrainedMethod, images: Images, views: Tensor) -> Tensor:
    if images.inverted:
        mean, std = (torch.tensor(part).view(3, 1, 1) for part in (run.data.mean, run.data.std))
        views = (1.0 - 2.0 * mean) / std - views  # of the value 1 − (mean + std · view)
    return views.to(run.hardware.device)
