"""Reading what commands on weights work on: the weights, images as they take them, features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import nn

from solo_ldm.commands.shared.progress import progress_bar
from solo_ldm.data.config import DataConfig, parse_augmentations
from solo_ldm.data.module import ImageDataModule, Split
from solo_ldm.data.sources.pixels import UnfitImagesError
from solo_ldm.evaluation.features import Features, extract_features
from solo_ldm.evaluation.patches import PATCH_SHARE, PatchMean
from solo_ldm.evaluation.scores import FEATURE_LAYER
from solo_ldm.run.data_identity import identity_of_images
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import Hardware
from solo_ldm.run.record import provenance
from solo_ldm.weights.pretrained import Pretrained, load_pretrained

# Keys of data that decide which images there are.
_CHOOSE_IMAGES = ("dataset", "train_path", "val_path", "fraction", "val_fraction")
_CHOOSE_IMAGES += ("held_out", "score_test", "image_key", "label_key", "caption_key")

SPLITS: dict[Split, str] = {"train": "training", "val": "test"}


def load_weights(cfg: DictConfig, image_size: int | None) -> Pretrained:
    """Read the backbone that a configuration names; see `load_pretrained`.

    Args:
        cfg: holds pretrained_feature_extractor, backbone and augmentations.
        image_size: side of the images in pixels; None takes that of the training, and for
            untrained:NAME that of the augmentations.
    """
    source = str(cfg.pretrained_feature_extractor)
    if image_size is None and source.startswith("untrained:") and cfg.augmentations:
        image_size = parse_augmentations(cfg.augmentations)[0].crop_size
    kwargs = dict(cfg.backbone.kwargs)
    if source.startswith(("timm:", "untrained:")) and cfg.data.channels not in (None, 3):
        kwargs.setdefault("in_chans", cfg.data.channels)
    return load_pretrained(
        source,
        backbone_name=cfg.backbone.name,
        backbone_kwargs=kwargs,
        image_size=image_size,
    )


def load_images(
    config: DataConfig,
    pretrained: Pretrained,
    batch_size: int,
    seed: int,
    device: torch.device,
    view: Mapping[str, Any] | None = None,
) -> ImageDataModule:
    """Return images as a backbone takes them: at its size, normalised as in its training.

    Args:
        config: which images.
        pretrained: the backbone. The data set's mean and std are used where it has none.
        batch_size: images at a time.
        seed: of the order and of the augmentations.
        device: that the images are used on.
        view: how training images are drawn, as in a configuration; its mean and std, where given,
            are used instead of the backbone's.

    Raises:
        ValueError: most images have other channels, or values outside the range, of the backbone's.
    """
    channels = pretrained.num_channels
    if config.channels not in (None, channels):
        raise ValueError(
            f"data.channels: expected {channels}, those of the images that {pretrained.source} "
            f"takes, got {config.channels}; leave it out, and give images of {channels} channels"
        )
    if channels != 3:
        config = replace(config, channels=channels)
    if config.range is None and pretrained.pixel_range is not None:
        config = replace(config, range=list(pretrained.pixel_range))
    drawn: dict[str, Any] = {"num_crops": 1, **(view or {}), "crop_size": pretrained.image_size}
    for key, own in (("mean", pretrained.mean), ("std", pretrained.std)):
        drawn[key] = drawn.get(key) or (list(own) if own else None)
    data = ImageDataModule(config, [drawn], batch_size, seed, device)
    with taken_by(pretrained.source, channels, pretrained.pixel_range):
        data.prepare_data()
    return data


@contextmanager
def taken_by(source: str, channels: int, pixel_range: tuple[float, ...] | None) -> Iterator[None]:
    """Say what weights take where images do not fit it, as no other configuration helps then."""
    try:
        yield
    except UnfitImagesError as error:
        found, _, advice = str(error).rpartition("; ")
        if "data." not in advice and "leave it out" not in advice:
            raise
        taken = "" if pixel_range is None else " and pixels in [{:g}, {:g}]".format(*pixel_range)
        raise ValueError(
            f"{found}; {source} takes {channels} channels{taken}: give images like those that it "
            f"was trained on"
        ) from None


def other_images(pretrained: Pretrained, data: ImageDataModule) -> list[str]:
    """Return a line if the images of a training have changed since; see `images_since`.

    Nothing is said of images that the configuration chose otherwise.
    """
    trained_on, weights = (pretrained.args or {}).get("data"), pretrained.weights
    if weights is None or not isinstance(trained_on, Mapping):
        return []
    if any(getattr(data.data, key) != trained_on.get(key) for key in _CHOOSE_IMAGES):
        return []
    if trained_on.get("no_labels"):
        data = ImageDataModule(replace(data.data, no_labels=True), data.views, data.batch_size)
    checkpoint = weights.parent.name == "checkpoints"
    return images_since(weights.parents[checkpoint], data)


def images_since(run: Path, data: ImageDataModule) -> list[str]:
    """Return a line if images are others than those that a run wrote down when it was trained."""
    if not RunFolder(run).data.exists():
        return []
    folder = RunFolder(run, identity_of_images(data))
    same = folder.has_same_contents in (None, True)
    return [] if same else [f"{folder.differing_data()}; the held-out images may be others"]


def check_labelled(data: ImageDataModule) -> int:
    """Return the number of labelled training images; refuse a split without labels."""
    labelled = {}
    for split, name in SPLITS.items():
        source = data.source(split)
        labelled[split] = 0 if source is None else len(source.labelled)
        if not labelled[split]:
            raise ValueError(
                f"{data.data.dataset}: there are no labelled {name} images to evaluate with; give "
                "class folders (data.train_path, data.val_path, or data.val_fraction above 0), or "
                "another data set (data=NAME)"
            )
    return labelled["train"]


def evaluation_folder(pretrained: Pretrained, dataset: str, name: str) -> Path:
    """Return where an evaluation lies: beside the run of the weights, or else in evaluations/."""
    weights = pretrained.weights
    if weights is None or pretrained.kind not in ("run", "checkpoint") or not pretrained.args:
        of = pretrained.source.rpartition(":")[2].replace("/", "-")
        if pretrained.kind not in ("zoo", "hf-hub", "timm", "untrained") and weights is not None:
            of = weights.stem if weights.stem != "backbone" else weights.resolve().parent.name
        return Path("evaluations") / of / dataset / name
    folder = weights.parent.parent if weights.parent.name == "checkpoints" else weights.parent
    name = name if pretrained.kind == "run" else f"{name}-{weights.stem}"
    own = dataset == pretrained.args.get("data", {}).get("dataset")
    return folder / "evaluation" / (name if own else f"{name}-{dataset}")


def named_with_patches(name: str, cfg: DictConfig) -> str:
    """Return the name of a result, another one for each number and share of patches."""
    number, share = _patches(cfg)
    return f"{name}-{number}-patches-of-{share:g}" if number else name


def _patches(cfg: DictConfig) -> tuple[int | None, float]:
    """Return the number of patches, None for whole images, and their share of the area."""
    return cfg.get("num_patches"), cfg.get("patch_share") or PATCH_SHARE  # not of every command


def rows_of_features(backbone: Any, patches: str = "") -> list[tuple[str, str]]:
    """Return a row of a summary: what features are, where that is not what all have.

    Args:
        backbone: a vision transformer without a class token has the mean of its patches' tokens.
        patches: what is said of patches that were cut out of the images.
    """
    tokens = hasattr(backbone, "patch_embed") and getattr(backbone, "global_pool", None) == "avg"
    layer = "mean of the tokens of patches" if tokens else FEATURE_LAYER
    return [("features", layer + patches)] if tokens or patches else []


@dataclass(frozen=True)
class Evaluation:
    """A backbone and the images that it is evaluated on.

    Args:
        cfg: the completed configuration.
        pretrained: the backbone, and what is known of it.
        data: the images, at its size and normalised as in its training.
        hardware: what it is computed on.
        folder: of the results.
        sha256: of the weights; None where they are of no file.
    """

    cfg: DictConfig
    pretrained: Pretrained
    data: ImageDataModule
    hardware: Hardware
    folder: RunFolder
    sha256: str | None

    @property
    def record(self) -> dict[str, Any]:
        """The origin of the features, for the record of a score."""
        return {
            "epoch": self.pretrained.epoch,
            "feature_layer": FEATURE_LAYER + self._patches,
            "preprocessing": self.data.preprocessing(),
        }

    def origin(self) -> dict[str, Any]:
        """Return the record of weights, images and machine for results.json."""
        return {
            "source": self.pretrained.source,
            "source_kind": self.pretrained.kind,
            "source_sha256": self.sha256,
            "backbone": self.pretrained.backbone_name,
            "dataset": self.data.data.dataset,
            "scored_on": self.data.scored_on,
            "classes": list(self.data.classes),
            "most_frequent_class": self.most_frequent_class,
            "unreadable_images": self.data.unreadable_summary(),
            "clipped_images": self.data.clipped(),
            **provenance(self.hardware),
        }

    @property
    def most_frequent_class(self) -> float:
        """The share of the scored images that are of one class: what a constant answer scores."""
        source = self.data.source("val")
        assert source is not None, "there are labelled images, which was checked"
        labels = source.labels[source.labels >= 0]
        return float(np.bincount(labels).max() / len(labels))

    @property
    def row_of_null(self) -> tuple[str, str]:
        """A row of a summary: what the score is to be compared with."""
        untrained = f"untrained:{self.pretrained.backbone_name}"
        return "null", f"{self.most_frequent_class:.4f}, the most frequent class (and {untrained})"

    def class_names(self, count: int) -> list[str]:
        """Return names of `count` classes; numbers for those that training images lack."""
        return [*self.data.classes, *map(str, range(self.data.num_classes, count))]

    @property
    def _patches(self) -> str:
        number, share = _patches(self.cfg)
        return f", mean of {number} patches of {share:g} of the area" if number else ""

    @property
    def rows_of_features(self) -> list[tuple[str, str]]:
        """What features are, for a summary, where they are no plain output for a whole image."""
        return rows_of_features(self.pretrained.backbone, self._patches)

    def features(self, split: Split, console: Console, backbone: nn.Module) -> Features:
        """Return a backbone's features of the unaugmented images of a split, with a bar."""
        number, share = _patches(self.cfg)
        if number:
            backbone = PatchMean(backbone, number, share)
        loader = self.data.evaluation_dataloader(split)
        with progress_bar(console, f"features of {SPLITS[split]} images") as report:
            return extract_features(backbone, loader, self.hardware.device, partial(report, ""))


def spread(count: int, at_most: int) -> np.ndarray:
    """Return numbers below `count`, `at_most` so many, evenly spread and ascending."""
    return np.linspace(0, count - 1, min(at_most, count)).astype(np.int64)
