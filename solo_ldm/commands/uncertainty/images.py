"""The images of an evaluation of uncertainty: held-out ones, and others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from omegaconf import DictConfig

from solo_ldm.commands.shared.inputs import spread, taken_by
from solo_ldm.commands.shared.views import Images
from solo_ldm.data.choice import choose_data
from solo_ldm.data.datasets.registry import load_source
from solo_ldm.data.sources.images import ImageSource
from solo_ldm.weights.trained_method import TrainedMethod


def image_sets(cfg: DictConfig, trained: TrainedMethod) -> list[Images]:
    """Return the held-out images of a run, then those outside their distribution.

    These are the inverted ones, and those of another data set where the configuration names one.

    Raises:
        ValueError: in one line: there are no held-out images, or the other set is not there.
    """

    def images(name: str, source: ImageSource, inverted: bool = False) -> Images:
        indexes: np.ndarray = spread(len(source), cfg.num_images)
        how = (trained.data, trained.hardware.device, cfg.batch_size, cfg.seed, inverted)
        return Images(name, source, indexes, *how)

    source = trained.held_out()
    sets = [images("held-out", source), images("inverted", source, inverted=True)]
    if cfg.data.get("dataset") is not None:
        # Pixels are taken as those of the training.
        taken = {"channels": trained.data.data.channels, "range": trained.data.pixel_range}
        taken = {key: value for key, value in taken.items() if cfg.data.get(key) is None}
        other = replace(choose_data(cfg.data, None), **taken)
        run, own = str(trained.folder.path), trained.data
        with taken_by(run, own.num_channels, own.pixel_range):
            source = load_source(other, "val") or load_source(other, "train")
        assert source is not None, "every data set has training images"
        sets.append(images(other.dataset, source))
    return sets
