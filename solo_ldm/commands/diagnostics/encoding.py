"""Images through the networks: what is held out, trained on, drawn in views, and outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from sklearn.datasets import load_sample_images
from torch import Tensor

from solo_ldm.commands.diagnostics.subject import Subject
from solo_ldm.commands.shared.inputs import spread
from solo_ldm.commands.shared.views import Images
from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.registry import load_source
from solo_ldm.data.sources.images import ArrayImages, ImageSource
from solo_ldm.evaluation.features import Features

# Of these, scikit-learn's digits are no strangers.
_DIGITS = ("digits", "mnist", "svhn")


@dataclass(frozen=True)
class Encoded:
    """What a network makes of all images, features and latents in one vector each.

    Args:
        train: labelled training images.
        test: labelled held-out images, all of them.
        shown: those of the held-out images that everything but linear-features is measured on.
        views: (N, q, D) of them; None where views are not known.
        outside: (M, D) of others by their name.
    """

    train: Features
    test: Features
    shown: Features
    views: Tensor | None
    outside: Mapping[str, Tensor]

    def space(self, columns: slice) -> Encoded:
        """Return the same of the features or the latents alone."""

        def only(one: Features) -> Features:
            return Features(one.features[:, columns], one.labels)

        return Encoded(
            only(self.train),
            only(self.test),
            only(self.shown),
            None if self.views is None else self.views[..., columns],
            {name: one[:, columns] for name, one in self.outside.items()},
        )


def encode(subject: Subject, console: Console) -> dict[str, Encoded]:
    """Run the networks over all images; return what each makes of them, by its name."""
    work = subject.work
    inside, *others = _images(subject)
    parts: dict[str, Any] = {}
    for name, encoder in subject.encoders.items():
        train, test = (work.features(split, console, encoder) for split in ("train", "val"))
        chosen = torch.from_numpy(spread(len(test.features), work.cfg.num_images))
        shown = Features(test.features[chosen], test.labels[chosen])
        parts[name] = {"train": train, "test": test, "shown": shown, "views": None, "outside": {}}
    with torch.inference_mode(), console.status("views and other images"):
        for images in others:
            made = _batches(subject, ([plain] for plain in images.plain()))
            for name, (found,) in made.items():
                parts[name]["outside"][images.name] = found
        if subject.specs:
            drawn: dict[str, list[Tensor]] = {name: [] for name in subject.encoders}
            for draw in range((work.cfg.num_views + 1) // 2):
                made = _batches(subject, inside.drawn(subject.specs, draw))
                for name, views in made.items():
                    drawn[name] += views
            for name, views in drawn.items():
                parts[name]["views"] = torch.stack(views[: work.cfg.num_views], dim=1)
    return {name: Encoded(**part) for name, part in parts.items()}


def jacobian_images(subject: Subject) -> Tensor:
    """Return the held-out images whose Jacobian is taken, on the device."""
    inside, *_ = _images(subject)
    indexes = inside.source.labelled
    few = indexes[spread(len(indexes), subject.work.cfg.num_jacobian_images)]
    return torch.cat(list(replace(inside, indexes=few).plain()))


def _batches(subject: Subject, batches: Iterable[list[Tensor]]) -> dict[str, list[Tensor]]:
    """Return what each network makes of each kind of image in batches of several kinds."""
    made: dict[str, list[list[Tensor]]] = {name: [] for name in subject.encoders}
    for batch in batches:
        for name, encoder in subject.encoders.items():
            made[name].append([encoder(images).cpu().float() for images in batch])
    return {
        name: [torch.cat(parts) for parts in zip(*batch, strict=True)]
        for name, batch in made.items()
    }


def _images(subject: Subject) -> list[Images]:
    """Return the held-out images, the same inverted, and others that the training never saw."""
    work, data = subject.work, subject.work.data

    def images(source: ImageSource, indexes: np.ndarray, name: str, inverted: bool) -> Images:
        how = (data, work.hardware.device, work.cfg.batch_size, work.cfg.seed, inverted)
        return Images(name, source, indexes[spread(len(indexes), work.cfg.num_images)], *how)

    own = data.source("val")
    assert own is not None, "it has labelled images"
    sets = [images(own, own.labelled, name, name == "inverted") for name in ("own", "inverted")]
    for name, source in _strangers(subject):
        sets.append(images(source, np.arange(len(source)), name, False))
    return sets


def _strangers(subject: Subject) -> Iterator[tuple[str, ImageSource]]:
    """Yield digits or, where those are no strangers, pieces of scikit-learn's photographs."""
    data = subject.work.data
    if data.num_channels not in (1, 3):
        return  # of other channels nothing is there
    if data.data.dataset not in _DIGITS:
        digits = DataConfig("digits", val_fraction=0.0, channels=data.data.channels)
        source = load_source(digits, "train")
        assert source is not None, "it comes with scikit-learn"
        yield "digits", source
        return
    photographs: Any = load_sample_images()
    size = data.image_size
    pieces = [
        piece
        for photograph in photographs.images
        for rows in np.split(photograph[: len(photograph) // size * size], len(photograph) // size)
        for piece in np.split(
            rows[:, : rows.shape[1] // size * size], rows.shape[1] // size, axis=1
        )
    ]
    pixels = np.stack(pieces)
    if data.num_channels == 1:
        pixels = np.rint(pixels.mean(axis=3, keepdims=True)).astype(np.uint8)
    about = ((), data.mean, data.std, data.data.channels)
    yield "photographs", ArrayImages(pixels, "photographs", np.full(len(pixels), -1), *about)
